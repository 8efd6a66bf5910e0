"""A grid of words or numbers in shaded cells, as SVG."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

from mechpaint.display.svg import Canvas, Diagram
from mechpaint.models.token_text import visible_token

MOST_CELLS = 3_000
_WIDTH, _HEIGHT, _LETTER, _SIZE = 78, 20, 6.6, 11
_MOST_LETTERS = 11
_ABOVE, _BELOW = (0, 114, 178), (213, 94, 0)


@dataclass(frozen=True, slots=True)
class Cell:
    """One cell.

    Args:
        text: What stands in it.
        shade: From 0, white, to 1, dark blue; down to -1, dark orange.
        tooltip: What is shown when one points at it.
        marked: Whether it has a frame.
    """

    text: str
    shade: float
    tooltip: str
    marked: bool = False


def grid(
    rows: Sequence[str],
    columns: Sequence[str],
    cells: Sequence[Sequence[Cell]],
    alt: str,
    tooltips: Sequence[str] = (),
) -> Diagram:
    """Draw cells with names before rows and above columns.

    Args:
        rows: A name for each row.
        columns: A name for each column.
        cells: A list of cells for each row.
        alt: Text alternative.
        tooltips: What is shown when one points at a column's name.
    """
    canvas = Canvas()
    left = min(160.0, 14 + _LETTER * max(_letters(name) for name in rows))
    for x, name in enumerate(columns):
        tip = tooltips[x] if tooltips else name
        canvas.cell(left + x * _WIDTH, 2, _WIDTH, _HEIGHT, "none", cut(visible_token(name), _MOST_LETTERS), tip)
    for y, name in enumerate(rows):
        top = 4 + (y + 1) * _HEIGHT
        canvas.text(left - 6, top + _HEIGHT / 2, cut(name, 22), _SIZE, "end")
        for x, cell in enumerate(cells[y]):
            fill, ink = _colours(cell.shade)
            shown = cut(visible_token(cell.text), _MOST_LETTERS)
            canvas.cell(left + x * _WIDTH, top, _WIDTH, _HEIGHT, fill, shown, cell.tooltip, ink, cell.marked)
    width = left + len(columns) * _WIDTH + 6
    return canvas.diagram(width, 8 + (len(rows) + 1) * _HEIGHT, alt, least=width)


def cut(text: str, most: int) -> str:
    """A text that takes at most so many letters' width, with an ellipsis where it was cut."""
    if _letters(text) <= most:
        return text
    while text and _letters(text) > most - 1:
        text = text[:-1]
    return f"{text}…"


def _letters(text: str) -> int:
    """The width of a text in letters: those of East Asia are twice as wide."""
    return sum(2 if unicodedata.east_asian_width(letter) in "WF" else 1 for letter in text)


def _colours(shade: float) -> tuple[str, str]:
    """The colour of a cell and of what stands in it: black or white, whichever has the better contrast."""
    share = min(1.0, abs(shade))
    dark = _ABOVE if shade >= 0 else _BELOW
    red, green, blue = (round(255 + (part - 255) * share) for part in dark)
    light = (0.2126, 0.7152, 0.0722)
    luminance = sum(
        weight * ((part / 255 + 0.055) / 1.055) ** 2.4 for weight, part in zip(light, (red, green, blue), strict=True)
    )
    return f"#{red:02x}{green:02x}{blue:02x}", "#000" if luminance > 0.18 else "#fff"
