"""The inputs of a report besides the records: enough to draw it without the model and the tasks' data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, cast

from mechpaint.analysis import Analysis, Experiment, ModelAnalysis, RouteAnalysis, SearchAnalysis
from mechpaint.errors import InputError, RunError
from mechpaint.runs.serialize import Unreadable, deserialize, fields_of, from_fields, serialize
from mechpaint.statistics.results import ModelFacts, Results, SearchFacts, TaskFacts
from mechpaint.tasks.lm_eval.tables import lm_eval_tables

if TYPE_CHECKING:
    import pandas as pd

    from mechpaint.report import Report


@dataclass(frozen=True)
class ReportInputs:
    """The analysis, and what its report needs to know of the model, the tasks and the search, if it has any."""

    analysis: Analysis
    model: ModelFacts | None
    tasks: tuple[TaskFacts, ...]
    details: tuple[tuple[str, str], ...]
    search: SearchFacts | None = None

    def results(self, table: pd.DataFrame) -> Results:
        """The records of a `RouteAnalysis`, with the facts about its routes and tasks."""
        if self.model is None or not isinstance(self.analysis, RouteAnalysis):
            raise ValueError(f"the analysis {self.analysis.name!r} scores no routes")
        return Results(table, self.model.routes, self.tasks, self.model.name, self.model.n_layers)

    def report(self, table: pd.DataFrame) -> Report:
        """Draw the report of all records, with the tables of lm-eval's metrics where tasks are lm-eval's."""
        analysis = self.analysis
        if isinstance(analysis, RouteAnalysis):
            results = self.results(table)
            drawn = analysis.report(results)
            return replace(drawn, sections=[*drawn.sections, *lm_eval_tables(results)])
        if isinstance(analysis, ModelAnalysis) and self.model is not None:
            return _with_warning(analysis.report(table, self.model), table)
        if isinstance(analysis, SearchAnalysis) and self.model is not None and self.search is not None:
            from mechpaint.runs.schemas import parted

            return analysis.report(*parted(table, self.model, self.tasks, self.search))
        return _with_warning(cast(Experiment, analysis).report(table), table)

    def with_details(self, more: list[tuple[str, str]]) -> ReportInputs:
        """The same with more details."""
        return replace(self, details=(*self.details, *more))

    def serialized(self) -> dict[str, Any]:
        """As JSON, for `deserialized`."""
        parts = {"model": self.model, "tasks": self.tasks, "details": self.details, "search": self.search}
        return {"settings": fields_of(self.analysis), **{name: serialize(part) for name, part in parts.items()}}

    @classmethod
    def deserialized(cls, name: str, data: Mapping[str, Any], analyses: Mapping[str, type[Analysis]]) -> ReportInputs:
        """Make them again, with the analysis of that name."""
        if name not in analyses:
            raise RunError(
                f"there is no analysis {name!r}; there are: {', '.join(analyses)}. If it is a plugin's, load that "
                "(--plugin FILE.py)"
            )
        try:
            analysis = from_fields(analyses[name], data["settings"])
            model, tasks, details, search = (
                deserialize(data[part]) for part in ("model", "tasks", "details", "search")
            )
        except (ValueError, TypeError, KeyError) as error:
            if isinstance(error, InputError) and not isinstance(error, Unreadable):
                raise
            raise RunError(f"cannot read what the report is drawn from: {error}") from error
        return cls(analysis, model, tasks, details, search)


def _with_warning(report: Report, table: pd.DataFrame) -> Report:
    """Say how many values are no numbers, unless the report says so itself."""
    values = table.select_dtypes("float")
    broken = int(values.isna().to_numpy().sum())
    if not broken or any("nan" in text.lower().split() for text in report.warnings):
        return report
    warning = (
        f"{broken:,} of {values.size:,} values are no numbers: activations or losses overflowed, or there was nothing "
        "to measure. They are shown as nan, count as neither right nor wrong, and decide no claim."
    )
    return replace(report, warnings=[*report.warnings, warning])
