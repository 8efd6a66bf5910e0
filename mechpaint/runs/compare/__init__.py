"""Runs compared: what they have in common, how it differs, and what they do not have in common.

The page is written as a run's own is, to `compare/<fingerprint of the runs>` in the folder of all runs.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mechpaint.analysis import ModelAnalysis, RouteAnalysis, SearchAnalysis
from mechpaint.display.summary import Summarized, Summary
from mechpaint.errors import RunError
from mechpaint.report import Report, Section, Table, write_report
from mechpaint.runs.compare.inputs import ComparedRun, compared_runs, unlike_settings
from mechpaint.runs.compare.score_differences import scored_report
from mechpaint.runs.compare.table_differences import measured_report
from mechpaint.statistics.results import ModelFacts

if TYPE_CHECKING:
    from mechpaint.plugins import Registry

__all__ = ["Compared", "RunError", "compare"]
FOLDER = "compare"
"""Where comparisons are, in the folder of all runs."""


@dataclass(frozen=True)
class Compared(Summarized):
    """Runs that were compared.

    Attributes:
        folder: Where the page is, with its figures and tables.
        page: The page.
        report: What it says.
    """

    folder: Path
    page: Path
    report: Report

    def _summary(self) -> Summary:
        table = next((section for section in self.report.sections if isinstance(section, Table)), None)
        facts = [*(("", paragraph) for paragraph in self.report.summary), ("report", str(self.page))]
        return Summary(self.report.title, facts, table.columns if table else (), table.rows if table else ())


def compare(
    runs: Sequence[Path], out: Path = Path("runs"), registry: Registry | None = None, command: str = ""
) -> Compared:
    """Compare runs with the first of them, and write a page of it.

    Runs of `RouteAnalysis` may be of different analyses, models, tasks and hook sets: what they have in common is
    compared item by item. Of other kinds, runs of the same analysis are compared row by row.

    Args:
        runs: Run folders, two or more.
        out: The folder of all runs; the page goes to `compare/` in it.
        registry: What there is; by default what mechpaint and installed plugins bring.
        command: How to do it again, for the page.

    Raises:
        RunError: Less than two runs, one twice, a search, runs of different analyses that score no routes, or
            runs without anything in common.
        RunError: A folder that is no run folder, or one of an earlier mechpaint.
        IncompleteRun: A run with cells that are missing or damaged.
        CannotWrite: The disk is full or cannot be written.
    """
    sides = compared_runs(runs, registry)
    _check(sides)
    report = _report(sides)
    folder = out / FOLDER / _fingerprint(sides)
    details = [(f"run {side.name}", f"{side.run_name}: {side.run.command}") for side in sides]
    return Compared(folder, write_report(report, folder, details, command or _python(sides, out)), report)


def _check(sides: Sequence[ComparedRun]) -> None:
    folders = [side.run.folder.resolve() for side in sides]
    if len(folders) < 2 or len(set(folders)) < len(folders):
        named = ", ".join(side.run_name for side in sides) or "none"
        raise RunError(f"expected two runs or more, each once, got: {named}")
    searches = [side.run_name for side in sides if isinstance(side.analysis, SearchAnalysis)]
    if searches:
        raise RunError(
            f"searches cannot be compared, since each scores routes of its own; got {', '.join(searches)}. To compare "
            "routes that were found, score them with an analysis that names them"
        )
    kinds = {type(side.analysis) for side in sides}
    if len(kinds) > 1 and not all(isinstance(side.analysis, RouteAnalysis) for side in sides):
        names = ", ".join(f"{side.run_name}" for side in sides)
        raise RunError(
            f"cannot compare runs of different analyses, unless all of them score routes on tasks; got {names}"
        )


def _report(sides: Sequence[ComparedRun]) -> Report:
    scored = isinstance(sides[0].analysis, RouteAnalysis)
    made = scored_report(sides) if scored else measured_report(sides)
    more = besides(sides)
    if not made.sections and not more:
        raise RunError(
            f"nothing to compare: {', '.join(side.run_name for side in sides)} have no "
            + ("task and hook set" if scored else "rows of numbers under the same labels")
            + " in common"
        )
    # row by row says less than what the analysis has to say of its runs
    sections = [*made.sections, *more] if scored else [*more, *made.sections]
    names = " and ".join(side.name for side in sides) if len(sides) == 2 else f"{len(sides)} runs"
    return Report(
        f"{' and '.join(dict.fromkeys(side.analysis.name for side in sides))} compared: {names}",
        made.summary,
        [*sections, *unlike_settings(sides), *made.apart],
        made.warnings,
    )


def _fingerprint(sides: Sequence[ComparedRun]) -> str:
    named = "\n".join(side.run_name for side in sides)
    return hashlib.sha256(named.encode()).hexdigest()[:16]


def _python(sides: Sequence[ComparedRun], out: Path) -> str:
    folders = ", ".join(f"Path({str(side.run.folder)!r})" for side in sides)
    return f"mechpaint.runs.compare.compare([{folders}], Path({str(out)!r}))"


def besides(sides: Sequence[ComparedRun]) -> Sequence[Section]:
    """The sections of `RouteAnalysis.beside` or `ModelAnalysis.beside`; none for runs of different analyses.

    Args:
        sides: The runs.
    """
    analysis = sides[0].analysis
    if any(type(side.analysis) is not type(analysis) for side in sides):
        return ()
    if isinstance(analysis, RouteAnalysis):
        return analysis.beside([side.run.manifest.results(side.table) for side in sides])
    if isinstance(analysis, ModelAnalysis):
        models = [side.run.manifest.model for side in sides]
        tables = [(s.table, facts) for s, facts in zip(sides, models, strict=True) if isinstance(facts, ModelFacts)]
        return analysis.beside(tables)
    return ()
