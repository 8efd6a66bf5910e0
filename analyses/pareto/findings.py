"""What a search has found, and what it is compared with."""

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
    """What a search has found.

    Args:
        analysis: What was asked.
        found: What all rounds measured, on the items that the search saw.
        held_out: What the finalists scored on the others.
        milliseconds: From each finalist's route to how long it took.
    """

    analysis: Pareto
    found: SearchResults
    held_out: SearchResults
    milliseconds: Mapping[str, Sequence[float]]

    @property
    def n_layers(self) -> int:
        """How many layers the model has, which is what it costs."""
        return self.found.n_layers

    @property
    def limit(self) -> int:
        """The budget, in layer calls."""
        return self.analysis.limit(self.n_layers)

    @cached_property
    def archive(self) -> Archive:
        """All routes that were scored, on the items that the search saw."""
        return Archive.of(self.found)

    @cached_property
    def front(self) -> list[Route]:
        """The routes that no other was better than at the same or a lower cost, the cheapest first."""
        return self.archive.front(self.limit, self.n_layers)

    @property
    def chosen(self) -> Route:
        """The route of the front that is within the budget."""
        return self.front[0]

    def skips(self, layer_calls: int) -> list[Route]:
        """All contiguous skips of a cost."""
        return contiguous_skips(self.n_layers, layer_calls)

    def best_skip(self, layer_calls: int) -> Route:
        """That of them which was best on the items that the search saw."""
        return self.archive.best(self.skips(layer_calls))

    @cached_property
    def graded(self) -> Scores:
        """Held-out scores of what the search goes by."""
        return Scores(graded(self.held_out))

    @cached_property
    def own(self) -> Scores:
        """Held-out scores as the tasks have them."""
        return Scores(self.held_out)

    def score(self, route: Route) -> Draws:
        """Draws of a finalist's score on the items held out: the mean over tasks of what the search goes by."""
        return mean_score(self.graded, str(route))

    def own_score(self, route: Route) -> Draws:
        """Draws of the mean over tasks of the tasks' own scores, of a finalist on the items held out."""
        return mean_score(self.own, str(route))

    def latency(self, route: Route) -> float:
        """The median of a finalist's milliseconds."""
        return float(np.median(self.milliseconds[str(route)]))

    def found_in(self, route: Route) -> str:
        """The round in which a route was first scored."""
        records = cast(Any, self.found.records)
        return str(records.loc[records["route"] == str(route), "round"].iloc[0])

    def by_round(self) -> dict[str, tuple[int, float]]:
        """After each round, how many routes were scored and the best score within the budget."""
        records = cast(Any, self.found.records)
        rounds = records.drop_duplicates("route").set_index("route")["round"]
        value = {str(route): score for route, score in self.archive.scores.items()}
        within = {str(route) for route in self.archive.within(1, self.limit)}
        found: dict[str, tuple[int, float]] = {}
        scored, best = 0, float("-inf")
        for label, routes in rounds.groupby(rounds, sort=False).groups.items():
            scored += len(routes)
            best = max([best, *(value[route] for route in routes if route in within)])
            found[str(label)] = scored, best
        return found

    def estimated(self, route: Route) -> Estimate:
        """The held-out score with its interval."""
        return estimate(self.score(route))
