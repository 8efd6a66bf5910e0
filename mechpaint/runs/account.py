"""What a run says of itself besides its records: enough to draw its report without its model and data."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, cast

from mechpaint.analysis import (
    Analysis,
    Experiment,
    ModelAnalysis,
    ModelFacts,
    Results,
    RouteAnalysis,
    SearchAnalysis,
    SearchFacts,
    TaskFacts,
)
from mechpaint.errors import InputError
from mechpaint.lmeval.tables import lm_eval_tables
from mechpaint.runs.cells import labelled_schema
from mechpaint.runs.jsonable import Unreadable, fields_to_json, from_json, made, to_json

if TYPE_CHECKING:
    import pandas as pd

    from mechpaint.report import Report

ACCOUNT = "account.json"
"""The file in a run folder that has it."""


class AccountError(InputError):
    """A run whose report cannot be drawn anew: why, and what to do."""


@dataclass(frozen=True)
class Account:
    """What a report is drawn from, besides the records.

    Args:
        analysis: What was run.
        model: What it needs to know of the model; None for an `Experiment`.
        tasks: What it needs to know of the tasks; none for analyses without tasks.
        details: What the page tells of how it was run, as names and values.
        search: What a search needs to know besides; None for all others.
    """

    analysis: Analysis
    model: ModelFacts | None
    tasks: tuple[TaskFacts, ...]
    details: tuple[tuple[str, str], ...]
    search: SearchFacts | None = None

    def results(self, table: pd.DataFrame) -> Results:
        """Records with what is known of them.

        Args:
            table: All records of a `RouteAnalysis`.

        Raises:
            ValueError: It is no run of a `RouteAnalysis`.
        """
        if self.model is None or not isinstance(self.analysis, RouteAnalysis):
            raise ValueError(f"the analysis {self.analysis.name!r} scores no routes")
        return Results(table, self.model.routes, self.tasks, self.model.name, self.model.n_layers)

    def report(self, table: pd.DataFrame) -> Report:
        """What the analysis says of its records, and the tables of lm-eval's metrics where tasks are lm-eval's.

        Args:
            table: All records.
        """
        analysis = self.analysis
        if isinstance(analysis, RouteAnalysis):
            results = self.results(table)
            drawn = analysis.report(results)
            return replace(drawn, sections=[*drawn.sections, *lm_eval_tables(results)])
        if isinstance(analysis, ModelAnalysis) and self.model is not None:
            return analysis.report(table, self.model)
        if isinstance(analysis, SearchAnalysis) and self.model is not None and self.search is not None:
            from mechpaint.runs.searched import parted

            return analysis.report(*parted(table, self.model, self.tasks, self.search))
        return cast(Experiment, analysis).report(table)

    def telling(self, more: list[tuple[str, str]]) -> Account:
        """The same with more details.

        Args:
            more: Names and values.
        """
        return replace(self, details=(*self.details, *more))

    def text(self) -> str:
        """As JSON, for `Account.read`."""
        told = {
            "analysis": self.analysis.name,
            "settings": fields_to_json(self.analysis),
            "model": to_json(self.model),
            "tasks": to_json(self.tasks),
            "details": to_json(self.details),
            **({} if self.search is None else {"search": to_json(self.search)}),
        }
        return json.dumps(told, indent=1) + "\n"

    @classmethod
    def read(cls, text: str, analyses: Mapping[str, type[Analysis]]) -> Account:
        """The account that `text` gave.

        Args:
            text: What it gave.
            analyses: The analyses there are, by name.

        Raises:
            AccountError: It is not one, or of an analysis that is not there, or that has other settings by now.
        """
        try:
            told: Any = json.loads(text)
            name = str(told["analysis"])
            if name not in analyses:
                raise AccountError(
                    f"there is no analysis {name!r}; there are: {', '.join(analyses)}. If it is a plugin's, load that "
                    "(--plugin FILE.py)"
                )
            model, tasks, details = (from_json(told[part]) for part in ("model", "tasks", "details"))
            search = from_json(told.get("search"))
            return cls(made(analyses[name], told["settings"]), model, tasks, details, search)
        except Unreadable as error:
            raise AccountError(f"cannot read what the run says of itself: {error}") from error
        except (ValueError, TypeError, KeyError) as error:
            if isinstance(error, InputError):
                raise
            raise AccountError(f"cannot read what the run says of itself, {ACCOUNT}: {error}") from error


def schema_of(analysis: Analysis) -> Any:
    """The pyarrow schema of an analysis's records.

    Args:
        analysis: The analysis.

    Raises:
        ValueError: Its columns are none that a table can have.
    """
    if isinstance(analysis, RouteAnalysis):
        from mechpaint.runs.scored import SCHEMA

        return SCHEMA
    if isinstance(analysis, SearchAnalysis):
        from mechpaint.runs.searched import SEARCH_SCHEMA

        return SEARCH_SCHEMA
    return labelled_schema(cast("ModelAnalysis | Experiment", analysis).columns)
