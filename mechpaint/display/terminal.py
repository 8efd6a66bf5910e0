"""What terminals show: tables that lose nothing at any width, and lines where there is a terminal to show them on."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from mechpaint.display.sanitize import sanitize

_FOLDED = 16
"""Longer words may be folded, so that a path keeps no table from being one."""

_GAP = 2


def on_terminal() -> bool:
    """Whether stderr is a terminal. What cannot say so is none: `None`, a logger's object, a closed file."""
    try:
        return bool(sys.stderr.isatty())
    except (AttributeError, OSError, ValueError):
        return False


def status(words: str) -> AbstractContextManager[Any]:
    """A line on stderr for as long as a block takes, where that is a terminal."""
    if not on_terminal():
        return nullcontext()
    return Console(stderr=True, force_jupyter=False).status(Text(sanitize(words)))


@dataclass(frozen=True)
class Rows:
    """A table for rich whose cells fold where it is narrow; where it is too narrow for that, a line for each cell.

    All text is literal. Without columns there is no header, and the first cell of a row names the others.
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[str | Text]]
    style: str = ""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        rows = [[_text(cell) for cell in row] for row in self.rows]
        head = [_text(column) for column in self.columns]
        widths = _widths([*([head] if head else []), *rows], options.max_width)
        yield from self._lines(head, rows) if widths is None else [self._table(head, rows, widths)]

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        return Measurement(1, options.max_width)

    def _table(self, head: Sequence[Text], rows: Sequence[Sequence[Text]], widths: Sequence[int]) -> Table:
        table = Table(box=None, padding=(0, _GAP, 0, 0), show_header=bool(head))
        for i, width in enumerate(widths):
            style = "" if head or i else self.style
            table.add_column(head[i] if head else "", width=width, overflow="fold", style=style)
        for row in rows:
            table.add_row(*row)
        return table

    def _lines(self, head: Sequence[Text], rows: Sequence[Sequence[Text]]) -> RenderResult:
        for i, row in enumerate(rows):
            if head:
                yield from [Text("")] * bool(i)
                yield from (_line(name, cell) for name, cell in zip(head, row, strict=True))
            else:
                first = Text(row[0].plain, row[0].style or self.style)
                yield Text.assemble(first, ": ", Text(", ").join(row[1:]))


def _line(name: Text, cell: Text) -> Text:
    return Text.assemble(name, ": ", cell, no_wrap=cell.no_wrap, overflow="ignore" if cell.no_wrap else "fold")


def _text(cell: str | Text) -> Text:
    text = cell.copy() if isinstance(cell, Text) else Text(sanitize(cell))
    if not text.no_wrap:  # such as a name to be copied
        text.overflow, text.no_wrap = "fold", False
    return text


def _widths(rows: Sequence[Sequence[Text]], most: int) -> list[int] | None:
    """The widths of columns: those of their text if there is room, else at least of their words; None if none is."""
    columns = list(zip(*rows, strict=True))
    wanted = [max(map(cell_len, "\n".join(cell.plain for cell in cells).split("\n"))) for cells in columns]
    widths = [max([2, *(width for cell in cells for width in _least(cell))]) for cells in columns]
    spare = most - sum(widths) - _GAP * len(widths)
    if spare < 0:
        return None
    while spare and (narrow := [i for i, width in enumerate(widths) if width < wanted[i]]):
        widths[min(narrow, key=widths.__getitem__)] += 1
        spare -= 1
    return widths


def _least(cell: Text) -> list[int]:
    """The widths that a cell needs."""
    if cell.no_wrap:
        return [cell.cell_len]
    return [min(cell_len(word), _FOLDED) for word in cell.plain.split()]
