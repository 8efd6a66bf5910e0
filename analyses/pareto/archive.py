"""The archive: every route that was scored, and which of them no other is better and cheaper than."""

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
    """Routes with their scores.

    Args:
        scores: The higher the better. What is no number is minus infinity.
    """

    scores: Mapping[Route, float]

    @classmethod
    def of(cls, results: SearchResults) -> Archive:
        """The scores that the search goes by."""
        scores = Scores(graded(results))
        if not scores.tasks:
            names = ", ".join(task.name for task in results.tasks)
            raise AnalysisError(
                f"the full model is not clearly better than guessing on {names}: there is no score that a route could "
                "lose. Expected a task that the model can do; more items (--limit) may help"
            )
        by_text = {str(route): route for route in results.routes.values()}
        means = scores.draws[0].mean(axis=0)
        values = ((by_text[name], float(mean)) for name, mean in zip(scores.routes, means, strict=True))
        return cls({route: -math.inf if math.isnan(value) else value for route, value in values})

    def front(self, least: int, most: int) -> list[Route]:
        """The routes that no other is better than at the same or fewer layer calls, the cheapest first.

        Of routes that are equal in both the first is there."""
        return _front(self.scores, self.within(least, most))

    def ranked(self, least: int, most: int) -> list[Route]:
        """All routes, those of the front first, then those of the front without these, and so on, the cheapest first.

        This is the order of non-dominated sorting (K. Deb et al., "A fast and elitist multiobjective genetic algorithm:
        NSGA-II", IEEE Transactions on Evolutionary Computation 6, 2002)."""
        left, ranked = self.within(least, most), list[Route]()
        while left:
            front = _front(self.scores, left)
            ranked += front
            gone = set(front)
            left = [route for route in left if route not in gone]
        return ranked

    def best(self, among: Iterable[Route]) -> Route:
        """The one with the highest score, the first of equals."""
        return max(among, key=self.scores.__getitem__)

    def within(self, least: int, most: int) -> list[Route]:
        """The routes of these costs, in the order in which they were scored."""
        return [route for route in self.scores if least <= route.layer_calls <= most]


def _front(scores: Mapping[Route, float], routes: Iterable[Route]) -> list[Route]:
    found: list[Route] = []
    for route in sorted(routes, key=lambda route: (route.layer_calls, -scores[route])):
        if not found or scores[route] > scores[found[-1]]:
            found.append(route)
    return found
