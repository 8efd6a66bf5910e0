"""Reports: figures as files, and one page of HTML that needs nothing else. Only a page with views runs a script."""

from __future__ import annotations

import base64
import io
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from mechpaint.circuits.view import Script, View
from mechpaint.files import write_text, written

if TYPE_CHECKING:
    from matplotlib.figure import Figure as MatplotlibFigure


@dataclass(frozen=True)
class Figure:
    """A drawing with what it says.

    Args:
        name: Its file name without an ending.
        title: A heading.
        caption: What was found; shown under it.
        alt: What it shows, for those who do not see it.
        drawing: A matplotlib figure.
    """

    name: str
    title: str
    caption: str
    alt: str
    drawing: MatplotlibFigure


@dataclass(frozen=True)
class Table:
    """Rows of text under column heads.

    Args:
        name: Its file name without an ending.
        title: A heading.
        caption: What is in it.
        columns: The heads.
        rows: As many cells as heads.
    """

    name: str
    title: str
    caption: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]


Section: TypeAlias = "Figure | Table | View"


@dataclass(frozen=True)
class Report:
    """What an analysis has to say.

    Args:
        title: The page's title.
        summary: Paragraphs that come first.
        sections: Figures, tables and views, in order, each with a name of its own.
        warnings: What a reader must know before believing it.
    """

    title: str
    summary: Sequence[str]
    sections: Sequence[Section]
    warnings: Sequence[str] = field(default_factory=tuple[str, ...])

    def __post_init__(self) -> None:
        names = [section.name for section in self.sections]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:  # they would be the same file, and the same place in the page
            raise ValueError(f"expected sections with names of their own, got more than one called {twice[0]!r}")


def write_report(report: Report, folder: Path, details: Sequence[tuple[str, str]], command: str) -> Path:
    """Write `figures/*.svg`, `figures/*.png`, `tables/*.csv`, `report.md` and `report.html`; give the last one's path.

    Args:
        report: What to write.
        folder: The run folder.
        details: What it was run with, as pairs of a name and a value.
        command: How to run it again.
    """
    import jinja2

    drawings: dict[str, str] = {}
    for section in report.sections:
        if isinstance(section, Figure):
            drawings[section.name] = _draw(section, folder / "figures")
        elif isinstance(section, Table):
            write_text(folder / "tables" / f"{section.name}.csv", _csv(section))
    views = [section for section in report.sections if isinstance(section, View)]
    write_text(folder / "report.md", _markdown(report, command))
    template = jinja2.Environment(
        loader=jinja2.PackageLoader("mechpaint", "."), autoescape=True, undefined=jinja2.StrictUndefined
    ).get_template("report.html.j2")
    page = template.render(
        report=report,
        drawings=drawings,
        details=details,
        command=command,
        script=Script.of(views) if views else None,
        kind=_kind,
    )
    write_text(folder / "report.html", page)
    return folder / "report.html"


def _kind(section: Section) -> str:
    return type(section).__name__


def _draw(figure: Figure, folder: Path) -> str:
    """Write SVG and PNG, the same bytes for the same results, and give the SVG as a data address."""
    import matplotlib as mpl

    # Agg and SVG canvases are asked for by name: no window system is ever touched
    with mpl.rc_context({"svg.hashsalt": figure.name}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")  # what the font lacks is drawn as a box
        svg = io.BytesIO()
        figure.drawing.savefig(svg, format="svg", metadata={"Date": None}, bbox_inches="tight")
        png = io.BytesIO()
        figure.drawing.savefig(png, format="png", dpi=160, metadata={"Software": None}, bbox_inches="tight")
    for suffix, content in ((".svg", svg), (".png", png)):
        with written(folder / f"{figure.name}{suffix}") as path:
            path.write_bytes(content.getvalue())
    return "data:image/svg+xml;base64," + base64.b64encode(svg.getvalue()).decode()


def _csv(table: Table) -> str:
    import csv

    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows([table.columns, *table.rows])
    return out.getvalue()


def _markdown(report: Report, command: str) -> str:
    lines = [
        f"# {report.title}",
        "",
        *(f"{p}\n" for p in report.summary),
        *(f"> **Note.** {w}\n" for w in report.warnings),
    ]
    for section in report.sections:
        lines += [f"## {section.title}", "", section.caption, ""]
        if isinstance(section, Figure):
            lines += [f"![{section.alt}](figures/{section.name}.svg)", ""]
        elif isinstance(section, View):
            lines += [f"*In report.html, interactive:* {section.alt}", ""]
        else:
            lines += [
                _row(section.columns),
                _row(["---"] * len(section.columns)),
                *map(_row, section.rows),
                "",
            ]
    return "\n".join([*lines, "## Reproduce it", "", f"```\n{command}\n```", ""])


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"
