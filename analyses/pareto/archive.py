"""The archive: all scored routes, and the Pareto front among them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from mechpaint.analyses.pareto.objective import graded
from mechpaint.errors import AnalysisError
from mechpaint.routes.route import Route
from mechpaint.statistics.bootstrap import Scores
from mechpaint.statistics.results import SearchResults


@dataclass(frozen=True)
class Archive:
    """Routes with their scores: the higher the better, minus infinity for NaN."""

    scores: Mapping[Route, float]

    @classmethod
    def of(cls, results: SearchResults) -> Archive:
        """Collect the scores that the search optimises."""
        scores = Scores(graded(results))
        if not scores.tasks:
            names = ", ".join(task.name for task in results.tasks)
            if results.records["score"].isna().any():
                raise AnalysisError(
                    f"scores on {names} are NaN (activations overflowed, or weights are NaN), so there is nothing to "
                    "search by. Another dtype may help"
                )
            raise AnalysisError(
                f"the full model is not clearly better than chance on {names}, so there is no score to lose. Expected "
                "a task that the model can do; more items (--limit) may help"
            )
        by_text = {str(route): route for route in results.routes.values()}
        means = scores.draws[0].mean(axis=0)
        values = ((by_text[name], float(mean)) for name, mean in zip(scores.routes, means, strict=True))
        return cls({route: -math.inf if math.isnan(value) else value for route, value in values})

    def front(self, least: int, most: int) -> list[Route]:
        """The routes that none beats at the same or fewer layer calls, cheapest first; the first of equals."""
        return _front(self.scores, self.within(least, most))

    def ranked(self, least: int, most: int) -> list[Route]:
        """All routes, front after front, each cheapest first.

        This is non-dominated sorting (K. Deb et al., "A fast and elitist multiobjective genetic algorithm: NSGA-II",
        IEEE Transactions on Evolutionary Computation 6, 2002)."""
        left, ranked = self.within(least, most), list[Route]()
        while left:
            front = _front(self.scores, left)
            ranked += front
            gone = set(front)
            left = [route for route in left if route not in gone]
        return ranked

    def best(self, among: Iterable[Route]) -> Route:
        """The route with the highest score, the first of equals."""
        return max(among, key=self.scores.__getitem__)

    def within(self, least: int, most: int) -> list[Route]:
        """The routes within these costs, in the order in which they were scored."""
        return [route for route in self.scores if least <= route.layer_calls <= most]


def _front(scores: Mapping[Route, float], routes: Iterable[Route]) -> list[Route]:
    front: list[Route] = []
    for route in sorted(routes, key=lambda route: (route.layer_calls, -scores[route])):
        if not front or scores[route] > scores[front[-1]]:
            front.append(route)
    return front
