"""Reports: a self-contained HTML page, Markdown, figures and tables as files. Only pages with views run a script.

All content stays text: HTML is escaped, Markdown is kept from becoming markup or links, cells that a spreadsheet would
read as formulas get an apostrophe in `tables/*.csv`, and control characters become visible symbols
(`mechpaint.display.sanitize`). `results.parquet` holds the raw data.
"""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from mechpaint.display.figures import png_of, svg_of
from mechpaint.display.sanitize import safe, sanitize
from mechpaint.display.svg import Diagram
from mechpaint.display.views import Script, View
from mechpaint.files import write_text, written
from mechpaint.statistics.bootstrap import Estimate

if TYPE_CHECKING:
    from matplotlib.figure import Figure as MatplotlibFigure

__all__ = [
    "Figure",
    "Report",
    "Section",
    "Table",
]

_MOST_ROWS = 20
"""A longer table is folded."""
_MARKUP = r"[\\`*]|(?<!\w)_|_(?!\w)"
"""Markup characters of Markdown. W_K and [0.1, 0.2] stay as they are."""
_PROSE = 60
"""A table with a longer cell is prose: on narrow screens its cells are stacked."""


@dataclass(frozen=True)
class Figure:
    """A drawing with its caption.

    Args:
        name: File name without extension: letters, digits and hyphens.
        title: Heading.
        caption: The finding, shown below the drawing.
        alt: Text alternative for readers who do not see it.
        drawing: A matplotlib figure, or a diagram of `mechpaint.circuits`.
    """

    name: str
    title: str
    caption: str
    alt: str
    drawing: MatplotlibFigure | Diagram

    def _repr_html_(self) -> str:
        """Render the drawing with title and caption for notebooks."""
        drawing = self.drawing
        svg = drawing.svg.encode() if isinstance(drawing, Diagram) else svg_of(drawing, self.name)
        source = "data:image/svg+xml;base64," + base64.b64encode(svg).decode()
        title, caption, alt = map(safe, (self.title, self.caption, self.alt))
        return (
            f"<figure><figcaption><strong>{title}</strong></figcaption>"
            f'<img src="{source}" alt="{alt}" style="max-width:100%"><figcaption>{caption}</figcaption></figure>'
        )


Cell: TypeAlias = "str | Estimate"
"""What a table's cell holds; `str` gives its text."""


@dataclass(frozen=True)
class Mark:
    """The sign of a table's row: what it stands for, and the row's anchor and first cell."""

    anchor: str
    sign: str
    verdict: str
    text: str

    @property
    def label(self) -> str:
        """What the sign says, in words."""
        return f"{self.verdict}: {self.text}"


@dataclass(frozen=True)
class Table:
    """A table of texts and estimates.

    Args:
        name: File name without extension: letters, digits and hyphens.
        title: Heading.
        caption: Description of the contents.
        columns: Column names.
        rows: Rows, each with one cell per column.
        signs: Decorative signs that the page puts before cells with exactly this text, such as verdicts. The first
            screen shows the sign of each row, as a link to it.
    """

    name: str
    title: str
    caption: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    signs: Mapping[str, str] = field(default_factory=dict[str, str])

    @property
    def texts(self) -> list[list[str]]:
        """The texts of all rows."""
        return [[str(cell) for cell in row] for row in self.rows]

    @property
    def long(self) -> bool:
        """True if the page folds the table."""
        return len(self.rows) > _MOST_ROWS

    @property
    def marks(self) -> list[Mark]:
        """The sign of each row that has one."""
        found = [(row[0], next((cell for cell in row[1:] if cell in self.signs), None)) for row in self.texts]
        return [
            Mark(self.anchor(i), self.signs[cell], cell, first)
            for i, (first, cell) in enumerate(found)
            if cell is not None
        ]

    @property
    def counts(self) -> list[tuple[str, int]]:
        """The number of rows with each sign, in the order of the signs."""
        marked = [mark.verdict for mark in self.marks]
        return [(verdict, marked.count(verdict)) for verdict in self.signs if verdict in marked]

    def anchor(self, row: int) -> str:
        """The anchor of a row in the page: no section's name has an underscore."""
        return f"{self.name}_{row}"

    @property
    def prose(self) -> bool:
        """True if some cell is long enough to be prose."""
        return any(len(str(cell)) > _PROSE for row in self.rows for cell in row)


Section: TypeAlias = "Figure | Table | View"
"""A part of a report."""


@dataclass(frozen=True)
class Report:
    """The report of an analysis.

    Args:
        title: Title of the page.
        summary: What was found, in a sentence; then paragraphs for after the first screen, such as how.
        sections: Figures, tables and views, in order, with unique names.
        warnings: Caveats that readers must know first.
        highlights: Key findings, as pairs of a name and a value.
        question: What was asked, in a line.
        answer: The name of the figure that answers it: it stands on the first screen.

    Raises:
        ValueError: A section name with other characters, or used twice; an `answer` that is no figure's name.
    """

    title: str
    summary: Sequence[str]
    sections: Sequence[Section]
    warnings: Sequence[str] = field(default_factory=tuple[str, ...])
    highlights: Sequence[tuple[str, str]] = field(default_factory=tuple[tuple[str, str], ...])
    question: str = ""
    answer: str | None = None

    def __post_init__(self) -> None:
        names = [section.name for section in self.sections]
        for name in names:
            if not re.fullmatch(r"[A-Za-z0-9-]+", name):  # it names files and anchors
                raise ValueError(f"a section cannot be called {name!r}: expected letters, digits and hyphens")
        names += [f"view-{section.name}" for section in self.sections if isinstance(section, View)]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:  # they would share a file or an anchor
            raise ValueError(f"expected sections with names of their own, got more than one called {twice[0]!r}")
        if self.answer is not None and self.first is None:
            raise ValueError(f"expected the name of a figure as answer, got {self.answer!r}")

    @property
    def first(self) -> Figure | None:
        """The figure of the first screen."""
        figures = (section for section in self.sections if isinstance(section, Figure))
        return next((figure for figure in figures if figure.name == self.answer), None)

    @property
    def rest(self) -> list[Section]:
        """The other sections."""
        return [section for section in self.sections if section is not self.first]

    @property
    def marked(self) -> list[Table]:
        """The tables whose rows have signs."""
        return [section for section in self.sections if isinstance(section, Table) and section.marks]


@dataclass(frozen=True)
class _Image:
    """A drawing in the page: the SVG as a data URL, and its size in CSS pixels."""

    source: str
    width: int
    height: int

    @property
    def aspect(self) -> float:
        """Width over height."""
        return round(self.width / self.height, 3)


def write_report(report: Report, folder: Path, details: Sequence[tuple[str, str]], command: str) -> Path:
    """Write figures, tables, `report.md` and `report.html`; return the path of the latter."""
    import jinja2

    images: dict[str, _Image] = {}
    for section in report.sections:
        if isinstance(section, Figure):
            images[section.name] = _draw(section, folder / "figures")
        elif isinstance(section, Table):
            write_text(folder / "tables" / f"{section.name}.csv", _csv(section))
    views = [section for section in report.sections if isinstance(section, View)]
    write_text(folder / "report.md", _markdown(report, command))
    template = jinja2.Environment(
        loader=jinja2.PackageLoader("mechpaint.display", "."),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=_summary,
        trim_blocks=True,
        lstrip_blocks=True,
    ).get_template("report.html.j2")
    page = template.render(
        report=report,
        images=images,
        read={view.name: _read(view) for view in views if view.rows},
        details=Table("settings", "Settings", "Settings and versions of the run.", ("setting", "value"), details),
        command=command,
        script=Script.of(views) if views else None,
        kind=_kind,
    )
    write_text(folder / "report.html", page)
    return folder / "report.html"


def _read(view: View) -> Table:
    """The table that says the same as a view."""
    return Table(view.name, view.title, "The same as a table.", view.columns, view.rows)


def _kind(section: Section) -> str:
    return type(section).__name__


def _summary(value: object) -> object:
    """Sanitize plain strings for the page. Markup, not a plain `str`, is the views' script."""
    return sanitize(value) if type(value) is str else value


def _draw(figure: Figure, folder: Path) -> _Image:
    """Write a figure as SVG and, from matplotlib, PNG: the same bytes for the same results."""
    if isinstance(figure.drawing, Diagram):
        files = {".svg": figure.drawing.svg.encode()}
    else:
        files = {".svg": svg_of(figure.drawing, figure.name), ".png": png_of(figure.drawing)}
    for suffix, content in files.items():
        with written(folder / f"{figure.name}{suffix}") as path:
            path.write_bytes(content)
    svg = files[".svg"]
    width, height = _size(svg)
    return _Image("data:image/svg+xml;base64," + base64.b64encode(svg).decode(), width, height)


def _size(svg: bytes) -> tuple[int, int]:
    """Read width and height in CSS pixels; matplotlib gives points."""
    root = svg.partition(b"<svg ")[2].partition(b">")[0].decode()
    lengths = re.findall(r'\b(?:width|height)="([\d.]+)(pt)?"', root)
    width, height = (round(float(length) * (4 / 3 if unit else 1)) for length, unit in lengths)
    return width, height


def _csv(table: Table) -> str:
    import csv

    out = io.StringIO()
    rows = [[_no_formula(sanitize(str(cell))) for cell in row] for row in (table.columns, *table.rows)]
    csv.writer(out, lineterminator="\n").writerows(rows)
    return out.getvalue()


def _no_formula(cell: str) -> str:
    """Put an apostrophe before what a spreadsheet would compute, except numbers and intervals."""
    computes = cell.startswith(("=", "@", "\t")) or (
        cell.startswith(("+", "-")) and not re.fullmatch(r"[-+0-9.,;:eE%±→∞()\[\] ]+", cell)
    )
    return f"'{cell}" if computes else cell


def _markdown(report: Report, command: str) -> str:
    lines = [
        f"# {_text(report.title)}",
        "",
        *([f"{_text(report.question)}\n"] if report.question else []),
        *(f"{_text(p)}\n" for p in report.summary[:1]),
        *(f"- {_text(name)}: {_text(value)}" for name, value in report.highlights),
        *([""] if report.highlights else []),
        *(f"> **Note.** {_text(w)}\n" for w in report.warnings),
        *(f"{_text(p)}\n" for p in report.summary[1:]),
    ]
    first = [] if report.first is None else [report.first]
    for section in [*first, *report.rest]:
        lines += [f"## {_text(section.title)}", "", _text(section.caption), ""]
        if isinstance(section, Figure):
            lines += [f"![{_alt(section.alt)}](figures/{section.name}.svg)", ""]
        elif isinstance(section, View):
            lines += [f"*In report.html, interactive:* {_text(section.alt)}", ""]
        else:
            lines += [
                _row(section.columns),
                _row(["---"] * len(section.columns)),
                *map(_row, section.rows),
                "",
            ]
    fence = "`" * max(3, 1 + max(map(len, re.findall("`+", command)), default=0))
    return "\n".join([*lines, "## Reproduce it", "", f"{fence}\n{sanitize(command)}\n{fence}", ""])


def _text(text: str, acts: str = _MARKUP + r"|(?<=\])[(\[:]") -> str:
    """Escape text for one line of Markdown: no markup, links or pictures."""
    line = " ".join(sanitize(text).split("\n"))
    return re.sub(acts, r"\\\g<0>", line).replace("&", "&amp;").replace("<", "&lt;")


def _alt(text: str) -> str:
    """Escape text for use between brackets."""
    return _text(text, _MARKUP + r"|[\[\]]")


def _row(cells: Sequence[Cell]) -> str:
    return "| " + " | ".join(_text(str(cell)).replace("|", "\\|") for cell in cells) + " |"
