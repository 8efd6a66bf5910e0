"""The best routes at a share of the cost: a search over orders, skips and groups, score against layer calls."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from mechpaint.analyses.pareto.edits import contiguous_skips
from mechpaint.analysis import SearchAnalysis
from mechpaint.errors import AnalysisError
from mechpaint.routes.route import Route
from mechpaint.statistics.results import SearchResults

if TYPE_CHECKING:
    from mechpaint.analyses.pareto.strategies import Strategy
    from mechpaint.report import Report

__all__ = ["AnalysisError", "Pareto"]

STRATEGIES = ("greedy", "evolution")
SKIPS = "contiguous skips"
"""The label of the first round, which scores the baseline that a search must beat."""


@dataclass(frozen=True)
class Pareto(SearchAnalysis):
    """Search for routes that keep the most of the score, from the full model's cost down to a share of it.

    Args:
        budget: The share of the full model's layer calls, between 0 and 1, rounded down to whole calls.
        strategies: Search strategies, run in this order; each starts from the routes scored before it.
        rounds: Rounds of the evolutionary strategy.
        population: Routes that each of these rounds proposes.
    """

    name: ClassVar[str] = "pareto"
    question: ClassVar[str] = "Which route loses least at 75 % of the cost? A search over skips, orders and groups."
    tasks: ClassVar[tuple[str, ...]] = ("facts", "hops", "induction", "counting", "text")

    budget: float = field(default=0.75, metadata={"help": "The share of the full model's layer calls, such as 0.75."})
    strategies: tuple[str, ...] = field(
        default=STRATEGIES, metadata={"help": "Search strategies, in order: greedy, evolution, or both."}
    )
    rounds: int = field(default=12, metadata={"help": "Rounds of the evolutionary strategy.", "selects_only": True})
    population: int = field(default=24, metadata={"help": "Routes that each of these rounds proposes."})

    def __post_init__(self) -> None:
        if not 0 < self.budget < 1:
            raise AnalysisError(f"the budget is a share of the layer calls above 0 and below 1, got {self.budget}")
        if self.rounds < 1 or self.population < 1:
            raise AnalysisError(f"expected 1 round or more of 1 route or more, got {self.rounds} and {self.population}")
        known = all(name in STRATEGIES for name in self.strategies)
        if not self.strategies or not known or len(set(self.strategies)) < len(self.strategies):
            raise AnalysisError(
                f"expected one or more of the strategies {', '.join(STRATEGIES)}, each once, got: "
                f"{', '.join(self.strategies) or 'none'}"
            )

    def limit(self, n_layers: int) -> int:
        """The number of layer calls within the budget.

        Args:
            n_layers: The model's number of layers.

        Raises:
            AnalysisError: The budget allows no layer call.
        """
        limit = math.floor(self.budget * n_layers + 1e-9)  # 0.7 of 10 layers is 7, whatever the product rounds to
        if limit < 1:
            raise AnalysisError(
                f"a budget of {self.budget:g} of {n_layers} layer calls allows none; expected {1 / n_layers:.3g} or "
                "more"
            )
        return limit

    def settings_of(self, label: str) -> dict[str, Any]:
        """The settings of a round: the strategies up to its own, and their settings."""
        uses = () if label == SKIPS else self.strategies[: 1 + self.strategies.index(label.rpartition(" ")[0])]
        population = {"population": self.population} if "evolution" in uses else dict[str, Any]()
        return {"analysis": self.name, "budget": self.budget, "strategies": uses, **population}

    def schedule(self, n_layers: int) -> Mapping[str, int]:
        """The round of the contiguous skips, then those of each strategy."""
        limit = self.limit(n_layers)
        first = {SKIPS: 1 + sum(calls + 1 for calls in range(limit, n_layers))}
        return first | {label: size for label, (_, _, size) in self._of_strategies(n_layers).items()}

    def propose(self, label: str, so_far: SearchResults, rng: random.Random) -> Sequence[Route]:
        """Let the strategy of this round propose routes."""
        from mechpaint.analyses.pareto.archive import Archive

        limit = self.limit(so_far.n_layers)
        if label == SKIPS:
            costs = range(so_far.n_layers - 1, limit - 1, -1)
            return [route for calls in costs for route in contiguous_skips(so_far.n_layers, calls)]
        strategy, place, _ = self._of_strategies(so_far.n_layers)[label]
        return strategy.propose(place, Archive.of(so_far), limit, rng)

    def finalists(self, results: SearchResults) -> Sequence[Route]:
        """The front, the best contiguous skip of each cost, and all contiguous skips at the budget."""
        from mechpaint.analyses.pareto.archive import Archive

        archive, n_layers, limit = Archive.of(results), results.n_layers, self.limit(results.n_layers)
        best = [archive.best(contiguous_skips(n_layers, calls)) for calls in range(limit, n_layers)]
        return [*archive.front(limit, n_layers), *best, *contiguous_skips(n_layers, limit)]

    def report(
        self, results: SearchResults, held_out: SearchResults, milliseconds: Mapping[str, Sequence[float]]
    ) -> Report:
        """Score against layer calls, the front with its latencies, and the comparison with contiguous skips."""
        from mechpaint.analyses.pareto.report import report

        return report(self, results, held_out, milliseconds)

    def _of_strategies(self, n_layers: int) -> dict[str, tuple[Strategy, int, int]]:
        """Map the labels of rounds to the strategy, the index among its rounds, and the size."""
        from mechpaint.analyses.pareto.strategies import strategies

        known = strategies(self.rounds, self.population)
        limit = self.limit(n_layers)
        return {
            f"{name} {place + 1}": (known[name], place, size)
            for name in self.strategies
            for place, size in enumerate(known[name].sizes(n_layers, limit))
        }
