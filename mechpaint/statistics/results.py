"""The facts and records that reports are drawn from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    import pandas as pd

    from mechpaint.routes.route import Route
    from mechpaint.statistics.metrics import Metric

Columns: TypeAlias = Mapping[str, type]
"""The columns of a table: from names to types, which are str, int, float or bool."""
Record: TypeAlias = Mapping[str, Any]
"""One row of a table: a value for each column. Missing values are NaN, not None."""
Advance: TypeAlias = Callable[[int], None]
"""Reports that so many more ticks of work are done. A cancelled run stops at such a call."""


def _mean() -> Metric:
    from mechpaint.statistics.metrics import Mean  # `mechpaint list` needs no numpy

    return Mean()


@dataclass(frozen=True)
class ReportedMetric:
    """A metric in the `metrics` of a task's records, as lm-eval's tasks have them.

    Args:
        name: Its name.
        filter: The filter whose results it measures; `none` if the task has no filters.
        aggregation: The name of the function from the items' values to the task's: see
            `mechpaint.tasks.lm_eval.metrics.name_of`.
        higher_is_better: Its direction.
    """

    name: str
    filter: str
    aggregation: str
    higher_is_better: bool


@dataclass(frozen=True)
class TaskFacts:
    """The facts of a task that reports need.

    Args:
        name: Its name on the command line.
        measure: The unit of its score, such as `"accuracy"`.
        chance: The score of guessing.
        items: The number of scored items.
        metric: The metric that scores the task from its items' scores.
        too_long: The names of items that were left out because they exceed the model's context.
        reported: The metrics with tables of their own, each with a standard error.
        too_short: The names of rows of its source with too little text for an item.
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
    """The measurements of a `RouteAnalysis`.

    Args:
        records: One row for each item and route: `task`, `item`, `route`, `score`, `logprob`, `tokens`, `finite`,
            `metrics`. Tasks without log-probabilities have a `logprob` of NaN and 0 `tokens`; those without other
            metrics have empty `metrics`.
        routes: The route of each of the analysis's hook sets, by label, and the full model's as `"baseline"`.
        tasks: The tasks, in the order asked for.
        model: The model's name.
        n_layers: The model's number of layers.
    """

    records: pd.DataFrame
    routes: Mapping[str, Route]
    tasks: tuple[TaskFacts, ...]
    model: str
    n_layers: int


@dataclass(frozen=True)
class SearchFacts:
    """The facts of a search that its report needs: those of each task's held-out items, and the vocabulary's size."""

    held_out: tuple[TaskFacts, ...]
    vocabulary: int


@dataclass(frozen=True)
class SearchResults(Results):
    """The measurements of a `SearchAnalysis`, on the items that it searches with or on those that it holds out.

    Args:
        records: As in `Results`, with one more column before the others, `round`: the round that scored the route.
        routes: Every scored route, by its notation, and the full model's as `"baseline"`.
        tasks: The tasks, in the order asked for, with the number of these items.
        model: The model's name.
        n_layers: The model's number of layers.
        vocabulary: The size of the model's vocabulary.
    """

    vocabulary: int


@dataclass(frozen=True)
class ModelFacts:
    """The facts of a model that reports need.

    Args:
        name: Its name.
        n_layers: Its number of layers.
        routes: The route of each of the analysis's hook sets, by label.
    """

    name: str
    n_layers: int
    routes: Mapping[str, Route]
