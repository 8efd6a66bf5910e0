"""The routes that everyone runs."""

from __future__ import annotations

from dataclasses import dataclass

from mechpaint.analyses.loops import Loops
from mechpaint.routes.route import Route
from tests.benchmarks.paper_suite import paper_suite

N_LAYERS = 18

SINGLE = {
    name: Route.parse(text, N_LAYERS)
    for name, text in {
        "identity": "0-17",
        "skip 5 to 12": "0-4 13-17",
        "reverse 4 to 13": "0-3 13-4 14-17",
        "average 4 to 13": "0-3 (4-13) 14-17",
        "the same three times": "0-3 (4-13)x3 14-17",
    }.items()
}


@dataclass(frozen=True)
class Many:
    """Routes that are wanted together.

    Args:
        name: As it stands in the tables.
        listed: The routes; what has two names is there twice.
    """

    name: str
    listed: tuple[Route, ...]

    @property
    def distinct(self) -> list[Route]:
        """Each route once."""
        return list(dict.fromkeys(self.listed))


def together() -> tuple[Many, ...]:
    """The paper's suite, and the grid of loops."""
    grid = tuple(hook_set.route(N_LAYERS) for hook_set in Loops().hook_sets(N_LAYERS).values())
    return Many("the paper's suite", tuple(paper_suite(N_LAYERS))), Many("the grid of loops", grid)


FEWEST = 20
"""How many routes a sample has at least, if there are so many."""


def every(routes: list[Route], step: int) -> list[Route]:
    """Every so-manieth route in the order of their layer calls: a sample in which all lengths are present alike."""
    step = max(1, min(step, len(routes) // FEWEST))
    ordered = sorted(routes, key=lambda route: (route.layer_calls, str(route)))
    return ordered[step // 2 :: step]
