"""Facts and records: what a report is drawn from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    import pandas as pd

    from mechpaint.routes.route import Route
    from mechpaint.statistics.metrics import Metric

Columns: TypeAlias = Mapping[str, type]
"""What is in a table: each column's name, and its type, which is str, int, float or bool."""
Record: TypeAlias = Mapping[str, Any]
"""One row of a table: a value for each of its columns. What is missing is NaN, not None."""
Advance: TypeAlias = Callable[[int], None]
"""Says that so many more ticks of work are done. A run that is to stop does so where this is called."""


def _mean() -> Metric:
    from mechpaint.statistics.metrics import Mean  # numpy is not needed to say what analyses there are

    return Mean()


@dataclass(frozen=True)
class ReportedMetric:
    """A metric that the records of a task have in `metrics`, as those of lm-eval's tasks do.

    Args:
        name: What it is called.
        filter: Of which filter's results; `none` where a task has no filters.
        aggregation: What makes the task's value of its items', by a name: see `mechpaint.lmeval.aggregations`.
        higher_is_better: Which way it goes.
    """

    name: str
    filter: str
    aggregation: str
    higher_is_better: bool


@dataclass(frozen=True)
class TaskFacts:
    """What a report needs to know of a task.

    Args:
        name: As on the command line.
        measure: What its score is, with the unit.
        chance: The score of guessing.
        items: How many items were scored.
        metric: How its score comes from its items'.
        too_long: The names of items that were left out, since they are longer than the model's context.
        reported: The metrics that are shown in tables of their own, each with a standard error.
        too_short: The names of rows of its source that have too little text to make an item of.
    """

    name: str
    measure: str
    chance: float
    items: int
    metric: Metric = field(default_factory=_mean)
    too_long: tuple[str, ...] = ()
    reported: tuple[ReportedMetric, ...] = ()
    too_short: tuple[str, ...] = ()


@dataclass(frozen=True)
class Results:
    """What a `RouteAnalysis` measured.

    Args:
        records: One row an item and route: `task`, `item`, `route`, `score`, `logprob`, `tokens`, `finite`, `metrics`.
            Tasks without log-probabilities have a `logprob` of NaN and 0 `tokens`; those without other metrics have
            empty `metrics`.
        routes: The route of each of the analysis's hook sets, by its label, and the full model's as `"baseline"`.
        tasks: The tasks, in the order asked for.
        model: What the model is called.
        n_layers: How many layers it has.
    """

    records: pd.DataFrame
    routes: Mapping[str, Route]
    tasks: tuple[TaskFacts, ...]
    model: str
    n_layers: int


@dataclass(frozen=True)
class SearchFacts:
    """What the report of a search needs to know besides what others need.

    Args:
        held_out: For each task what it needs to know of the items that the search does not see.
        vocabulary: From how many tokens the model chooses.
    """

    held_out: tuple[TaskFacts, ...]
    vocabulary: int


@dataclass(frozen=True)
class SearchResults(Results):
    """What a `SearchAnalysis` has measured on the items that it looks with, or on those that it holds out.

    Args:
        records: As in `Results`, with one more column, `round`, before the others: in which the route was scored.
        routes: Every route that was scored, by itself as text, and the full model's as `"baseline"`.
        tasks: The tasks, in the order asked for, with so many items as are meant here.
        model: What the model is called.
        n_layers: How many layers it has.
        vocabulary: From how many tokens the model chooses.
    """

    vocabulary: int


@dataclass(frozen=True)
class ModelFacts:
    """What a report needs to know of a model.

    Args:
        name: What it is called.
        n_layers: How many layers it has.
        routes: The route of each of the analysis's hook sets, by its label.
    """

    name: str
    n_layers: int
    routes: Mapping[str, Route]
