"""Diagrams: SVG pictures with text alternatives, and their canvas."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from mechpaint.display.sanitize import safe
from mechpaint.files import write_text

Length: TypeAlias = int | float
"""Pixels."""

INK = "#1c1e21"
SOFT = "#6b7280"
_FONT = "system-ui, sans-serif"


@dataclass(frozen=True)
class Diagram:
    """An SVG picture, which displays itself in notebooks and can be the drawing of a report's `Figure`.

    Args:
        svg: A self-contained `<svg>` element.
        alt: Text alternative for readers who do not see it.
    """

    svg: str
    alt: str

    def save(self, path: str | Path) -> Path:
        """Write an SVG file atomically.

        Args:
            path: A path such as `"route.svg"`.

        Returns:
            The path.

        Raises:
            CannotWrite: A full disk, or a path that cannot be written.
        """
        path = Path(path)
        write_text(path, self.svg)
        return path

    @property
    def html(self) -> str:
        """The picture for a page, scrolling if it does not fit."""
        return f'<div style="max-width:100%;overflow-x:auto">{self.svg}</div>'

    def _repr_html_(self) -> str:
        return self.html

    def __str__(self) -> str:
        return self.alt


class Canvas:
    """A canvas; lengths in pixels, y downwards."""

    def __init__(self) -> None:
        self._drawn: list[str] = []

    def box(self, x: Length, y: Length, width: Length, height: Length, fill: str, label: str) -> None:
        """Draw a box with its upper left corner at x, y, and a centred label."""
        self._drawn.append(
            f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="5" fill="{fill}" stroke="{INK}"/>'
        )
        self.text(x + width / 2, y + height / 2, label)

    def cell(
        self,
        x: Length,
        y: Length,
        width: Length,
        height: Length,
        fill: str,
        label: str,
        tooltip: str,
        ink: str = INK,
        marked: bool = False,
    ) -> None:
        """Draw one cell of a grid, with a tooltip; a marked one has a frame."""
        edge = f'stroke="{INK}" stroke-width="2"' if marked else 'stroke="#fff" stroke-width="1"'
        inset = 1.5 if marked else 0.0
        self._drawn.append(
            f'<g><title>{safe(tooltip)}</title><rect x="{x + inset:g}" y="{y + inset:g}" width="{width - 2 * inset:g}" '
            f'height="{height - 2 * inset:g}" fill="{fill}" {edge}/>'
        )
        self.text(x + width / 2, y + height / 2, label, 11, ink=ink)
        self._drawn.append("</g>")

    def frame(self, x: Length, y: Length, width: Length, height: Length) -> None:
        """Draw a dashed frame around a group."""
        self._drawn.append(
            f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="8" fill="none" stroke="{SOFT}" '
            'stroke-dasharray="4 3"/>'
        )

    def node(self, x: Length, y: Length, radius: Length, label: str) -> None:
        """Draw a labelled circle around x, y."""
        self._drawn.append(f'<circle cx="{x:g}" cy="{y:g}" r="{radius:g}" fill="#fff" stroke="{INK}"/>')
        self.text(x, y, label, size=12)

    def text(self, x: Length, y: Length, text: str, size: Length = 13, anchor: str = "middle", ink: str = INK) -> None:
        """Draw text centred at height y."""
        self._drawn.append(
            f'<text x="{x:g}" y="{y:g}" dy="0.35em" font-size="{size:g}" text-anchor="{anchor}" fill="{ink}">'
            f"{safe(text)}</text>"
        )

    def path(self, d: str, width: Length = 1.4, ink: str = INK, fill: str = "none", opacity: Length = 1) -> None:
        """Draw an SVG path."""
        self._drawn.append(
            f'<path d="{d}" fill="{fill}" stroke="{ink}" stroke-width="{width:.3g}" stroke-opacity="{opacity:.3g}"/>'
        )

    def arrow(self, x: Length, y: Length, to_x: Length) -> None:
        """Draw an arrow to the right."""
        self.path(f"M{x:g} {y:g}H{to_x - 5:g}")
        self.head(to_x, y)

    def head(self, x: Length, y: Length, ink: str = INK) -> None:
        """Draw an arrowhead that points right."""
        self._drawn.append(f'<path d="M{x:g} {y:g}l-7 -4v8z" fill="{ink}"/>')

    def diagram(self, width: Length, height: Length, alt: str, least: Length = 560) -> Diagram:
        """Finish the diagram, on white so that dark pages keep it legible; below `least` it scrolls, not shrinks."""
        drawn = "".join(self._drawn)
        style = f"width:100%;min-width:{min(width, least):g}px;max-width:{width:g}px;height:auto"
        return Diagram(
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" width="{width:g}" '
            f'height="{height:g}" role="img" aria-label="{safe(alt)}" font-family="{_FONT}" '
            f'style="{style}"><rect width="100%" height="100%" rx="8" fill="#fff"/>{drawn}</svg>',
            alt,
        )
