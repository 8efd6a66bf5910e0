"""Runs compared: what they have in common, how it differs, and what they do not have in common.

The page is written as a run's own is, to `compare/<fingerprint of the runs>` in the folder of all runs.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from mechpaint.analysis import ModelAnalysis, RouteAnalysis, SearchAnalysis
from mechpaint.display.summary import Summarized, Summary
from mechpaint.errors import RunError
from mechpaint.report import Report, Section, Table, write_report
from mechpaint.runs.compare.inputs import ComparedRun, compared_runs, unlike_settings
from mechpaint.runs.compare.score_differences import scored_report
from mechpaint.runs.compare.table_differences import measured_report
from mechpaint.runs.run import Run

FOLDER = "compare"
"""Where comparisons are, in the folder of all runs."""


@dataclass(frozen=True)
class Comparison(Summarized):
    """Runs that were compared.

    Attributes:
        path: The folder of the page, its figures and tables.
        page: The page.
        report: What it says.
    """

    path: Path
    page: Path
    report: Report

    def _summary(self) -> Summary:
        table = next((section for section in self.report.sections if isinstance(section, Table)), None)
        facts = [*(("", paragraph) for paragraph in self.report.summary), ("report", str(self.page))]
        return Summary(self.report.title, facts, table.columns if table else (), table.texts if table else ())


def compare_runs(runs: Sequence[Run], out: Path, command: str = "") -> Comparison:
    """Compare runs with the first of them, and write a page; see `mechpaint.compare`.

    Runs of `RouteAnalysis` may be of different analyses, models, tasks and hook sets: what they have in common is
    compared item by item. Of other kinds, runs of the same analysis are compared row by row.
    """
    inputs = compared_runs(runs)
    _check(inputs)
    report = _report(inputs)
    folder = out / FOLDER / _fingerprint(inputs)
    details = [(f"run {each.name}", f"{each.run.name}: {each.run.manifest.command}") for each in inputs]
    return Comparison(folder, write_report(report, folder, details, command or _python(inputs, out)), report)


def _check(inputs: Sequence[ComparedRun]) -> None:
    folders = [each.run.path.resolve() for each in inputs]
    if len(folders) < 2 or len(set(folders)) < len(folders):
        named = ", ".join(each.run.name for each in inputs) or "none"
        raise RunError(f"expected two runs or more, each once, got: {named}")
    searches = [each.run.name for each in inputs if isinstance(each.analysis, SearchAnalysis)]
    if searches:
        raise RunError(
            f"searches cannot be compared, since each scores routes of its own; got {', '.join(searches)}. To compare "
            "routes that were found, score them with an analysis that names them"
        )
    kinds = {type(each.analysis) for each in inputs}
    if len(kinds) > 1 and not all(isinstance(each.analysis, RouteAnalysis) for each in inputs):
        names = ", ".join(f"{each.run.name}" for each in inputs)
        raise RunError(
            f"cannot compare runs of different analyses, unless all of them score routes on tasks; got {names}"
        )


def _report(inputs: Sequence[ComparedRun]) -> Report:
    scored = isinstance(inputs[0].analysis, RouteAnalysis)
    made = scored_report(inputs) if scored else measured_report(inputs)
    more = beinputs(inputs)
    if not made.sections and not more:
        raise RunError(
            f"nothing to compare: {', '.join(each.run.name for each in inputs)} have no "
            + ("task and hook set" if scored else "rows of numbers under the same labels")
            + " in common"
        )
    # records row by row are for analyses that have nothing of their own to say of several runs
    sections = [*made.sections, *more] if scored else more or made.sections
    summary = made.summary if scored or not more else ()
    names = " and ".join(each.name for each in inputs) if len(inputs) == 2 else f"{len(inputs)} runs"
    return Report(
        f"{' and '.join(dict.fromkeys(each.analysis.name for each in inputs))} compared: {names}",
        summary,
        [*sections, *unlike_settings(inputs), *made.apart],
        made.warnings,
    )


def _fingerprint(inputs: Sequence[ComparedRun]) -> str:
    named = "\n".join(each.run.name for each in inputs)
    return hashlib.sha256(named.encode()).hexdigest()[:16]


def _python(inputs: Sequence[ComparedRun], out: Path) -> str:
    """The call in Python that compares them again."""
    return f"mechpaint.compare({[str(each.run.path) for each in inputs]}, out={str(out)!r})"


def beinputs(inputs: Sequence[ComparedRun]) -> Sequence[Section]:
    """The sections of `RouteAnalysis.beside` or `ModelAnalysis.beside`; none for runs of different analyses."""
    analysis = inputs[0].analysis
    if any(type(each.analysis) is not type(analysis) for each in inputs):
        return ()
    if isinstance(analysis, RouteAnalysis):
        return analysis.beside([each.run.inputs.results(each.run.table) for each in inputs])
    if isinstance(analysis, ModelAnalysis):
        models = [each.run.inputs.model for each in inputs]
        pairs = zip(inputs, models, strict=True)
        tables = [(each.run.table, replace(facts, name=each.name)) for each, facts in pairs if facts is not None]
        return analysis.beside(tables)
    return ()
