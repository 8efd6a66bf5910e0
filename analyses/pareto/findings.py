"""The findings of a search, and the baselines it is compared with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from jaxtyping import Float

from mechpaint.analyses.pareto.archive import Archive
from mechpaint.analyses.pareto.edits import contiguous_skips
from mechpaint.analyses.pareto.objective import graded, mean_score
from mechpaint.routes.route import Route
from mechpaint.statistics.bootstrap import Estimate, Scores, estimate
from mechpaint.statistics.results import SearchResults

if TYPE_CHECKING:
    from mechpaint.analyses.pareto import Pareto

Draws = Float[np.ndarray, " draw"]


@dataclass(frozen=True)
class Findings:
    """Results of all rounds on the search items, and of the finalists on held-out items, with their latencies."""

    analysis: Pareto
    search: SearchResults
    held_out: SearchResults
    milliseconds: Mapping[str, Sequence[float]]

    @property
    def n_layers(self) -> int:
        """The number of layers, which is the full model's cost."""
        return self.search.n_layers

    @property
    def limit(self) -> int:
        """The budget, in layer calls."""
        return self.analysis.limit(self.n_layers)

    @cached_property
    def archive(self) -> Archive:
        """All scored routes, on the search items."""
        return Archive.of(self.search)

    @cached_property
    def front(self) -> list[Route]:
        """The routes that none beat at the same or a lower cost, cheapest first."""
        return self.archive.front(self.limit, self.n_layers)

    @property
    def chosen(self) -> Route:
        """The route of the front at the budget."""
        return self.front[0]

    def skips(self, layer_calls: int) -> list[Route]:
        """All contiguous skips of a cost."""
        return contiguous_skips(self.n_layers, layer_calls)

    def best_skip(self, layer_calls: int) -> Route:
        """The best contiguous skip of a cost, on the search items."""
        return self.archive.best(self.skips(layer_calls))

    @cached_property
    def graded(self) -> Scores:
        """Held-out scores by the search's objective."""
        return Scores(graded(self.held_out))

    @cached_property
    def own(self) -> Scores:
        """Held-out scores by the tasks' own metrics."""
        return Scores(self.held_out)

    def score(self, route: Route) -> Draws:
        """Draws of a finalist's held-out objective, mean over tasks."""
        return mean_score(self.graded, str(route))

    def own_score(self, route: Route) -> Draws:
        """Draws of a finalist's held-out own score, mean over tasks."""
        return mean_score(self.own, str(route))

    def latency(self, route: Route) -> float:
        """The median latency of a finalist in milliseconds."""
        return float(np.median(self.milliseconds[str(route)]))

    def found_in(self, route: Route) -> str:
        """The round in which a route was first scored."""
        records = cast(Any, self.search.records)
        return str(records.loc[records["route"] == str(route), "round"].iloc[0])

    def by_round(self) -> dict[str, tuple[int, float]]:
        """The number of routes scored after each round, and the best score within the budget."""
        records = cast(Any, self.search.records)
        rounds = records.drop_duplicates("route").set_index("route")["round"]
        value = {str(route): score for route, score in self.archive.scores.items()}
        within = {str(route) for route in self.archive.within(1, self.limit)}
        progress: dict[str, tuple[int, float]] = {}
        scored, best = 0, float("-inf")
        for label, routes in rounds.groupby(rounds, sort=False).groups.items():
            scored += len(routes)
            best = max([best, *(value[route] for route in routes if route in within)])
            progress[str(label)] = scored, best
        return progress

    def estimated(self, route: Route) -> Estimate:
        """The held-out score with its interval."""
        return estimate(self.score(route))
