"""The columns of each kind of run, and how its table is read back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

import pyarrow as pa

from mechpaint.analysis import Analysis, Experiment, ModelAnalysis, RouteAnalysis, SearchAnalysis
from mechpaint.routes.route import Route
from mechpaint.runs.cells import labelled_schema
from mechpaint.statistics.results import ModelFacts, SearchFacts, SearchResults, TaskFacts

if TYPE_CHECKING:
    import pandas as pd


BASELINE = "baseline"

SCHEMA = cast(Any, pa).schema(
    [
        ("task", pa.string()),
        ("item", pa.string()),
        ("route", pa.string()),
        ("score", pa.float64()),
        ("logprob", pa.float64()),
        ("tokens", pa.int32()),
        ("finite", pa.bool_()),
        ("metrics", pa.string()),
    ]
)
"""One row an item and route."""
HELD_OUT = "held out"
"""The label of the cell that scores the finalists on items that no round has seen."""
LATENCY = "latency"
"""The label of the cell that times them. Its items are passes, and its scores milliseconds."""
SEARCH_SCHEMA = cast(Any, pa).schema([("round", pa.string()), *SCHEMA])
"""One row an item and route; one row a pass and route in the cell `latency`."""


def parted(
    table: pd.DataFrame, model: ModelFacts, tasks: Sequence[TaskFacts], search: SearchFacts
) -> tuple[SearchResults, SearchResults, dict[str, list[float]]]:
    """All records of a search as what its report is given."""
    in_round = cast(Any, table["round"])
    timed = cast(Any, table)[in_round == LATENCY]
    milliseconds: dict[str, list[float]] = {}
    for route, score in zip(timed["route"], timed["score"], strict=True):
        milliseconds.setdefault(str(route), []).append(float(score))
    in_rounds = of_table(table[~in_round.isin([HELD_OUT, LATENCY])], model, tasks, search.vocabulary)
    held_out = of_table(table[in_round == HELD_OUT], model, search.held_out, search.vocabulary)
    return in_rounds, held_out, milliseconds


def of_table(table: Any, model: ModelFacts, tasks: Sequence[TaskFacts], vocabulary: int) -> SearchResults:
    """Of a route that is there twice the first: a round that was computed again may have come to others than before."""
    records = table.drop_duplicates(["task", "item", "route"])
    routes = {name: Route.parse(name, model.n_layers) for name in records["route"].drop_duplicates()}
    every: Mapping[str, Route] = {**model.routes, **routes}
    return SearchResults(records, every, tuple(tasks), model.name, model.n_layers, vocabulary)


def schema_of(analysis: Analysis) -> Any:
    """The pyarrow schema of an analysis's records."""
    if isinstance(analysis, RouteAnalysis):
        from mechpaint.runs.schemas import SCHEMA

        return SCHEMA
    if isinstance(analysis, SearchAnalysis):
        from mechpaint.runs.schemas import SEARCH_SCHEMA

        return SEARCH_SCHEMA
    return labelled_schema(cast("ModelAnalysis | Experiment", analysis).columns)
