"""Summaries of objects, as HTML in notebooks and through rich in terminals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mechpaint.display.sanitize import safe, sanitize

if TYPE_CHECKING:
    from rich.console import RenderableType

    from mechpaint.display.svg import Diagram

_MOST_ROWS = 40
_CELL = "text-align:left;padding:.15rem .8rem .15rem 0;vertical-align:top"


@dataclass(frozen=True)
class Summary:
    """The title, facts (name and value) and table of an object, with a picture for notebooks."""

    title: str
    facts: Sequence[tuple[str, str]] = ()
    columns: Sequence[str] = ()
    rows: Sequence[Sequence[str]] = ()
    picture: Diagram | None = None

    @property
    def more(self) -> str:
        """The line below a truncated table."""
        return f"… and {len(self.rows) - _MOST_ROWS:,} more" if len(self.rows) > _MOST_ROWS else ""

    def html(self) -> str:
        """Render as HTML, with all text escaped."""
        facts = "".join(
            f'<tr><th scope="row" style="{_CELL}">{safe(name)}</th><td style="{_CELL}">{safe(value)}</td></tr>'
            for name, value in self.facts
        )
        head = "".join(f'<th scope="col" style="{_CELL}">{safe(column)}</th>' for column in self.columns)
        body = "".join(
            "<tr>" + "".join(f'<td style="{_CELL}">{safe(cell)}</td>' for cell in row) + "</tr>"
            for row in self.rows[:_MOST_ROWS]
        )
        return (
            f"<div><p><strong>{safe(self.title)}</strong></p>"
            + (self.picture.html if self.picture is not None else "")
            + (f"<table><tbody>{facts}</tbody></table>" if facts else "")
            + (f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>" if body else "")
            + (f"<p>{self.more}</p>" if self.more else "")
            + "</div>"
        )

    def rich(self) -> RenderableType:
        """Render for rich, with all text literal."""
        from rich.console import Group
        from rich.text import Text

        from mechpaint.display.terminal import Rows

        def text(content: str, style: str = "") -> Text:
            return Text(sanitize(content), style=style)  # terminals obey control characters

        parts: list[RenderableType] = [text(self.title, "bold")]
        if self.facts:
            parts.append(Rows((), self.facts, "dim"))
        if self.rows:
            parts.append(Rows(self.columns, self.rows[:_MOST_ROWS]))
        if self.more:
            parts.append(text(self.more, "dim"))
        return Group(*parts)


class Summarized:
    """The base of objects that display a `_summary`."""

    __slots__ = ()

    def _summary(self) -> Summary:
        raise NotImplementedError

    def _repr_html_(self) -> str:
        return self._summary().html()

    def __rich__(self) -> RenderableType:
        return self._summary().rich()
