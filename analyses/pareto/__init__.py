"""Which route loses least at a share of the cost: score against layer calls, searched over orders, skips and groups."""

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
"""The label of the first round, which scores what any search has to be better than."""


@dataclass(frozen=True)
class Pareto(SearchAnalysis):
    """Look for routes that keep the most of the score, at the cost of the full model down to a share of it.

    Args:
        budget: The share of the layer calls, above 0 and below 1. As many layer calls as are within it are allowed.
        strategies: How routes are looked for, one after the other; each begins with what those before it have found.
        rounds: How many rounds the evolutionary strategy has.
        population: How many routes each of these proposes.
    """

    name: ClassVar[str] = "pareto"
    question: ClassVar[str] = "Which route loses least at 75 % of the cost? Searched over skips, orders and groups."
    tasks: ClassVar[tuple[str, ...]] = ("facts", "ioi", "induction", "arithmetic", "text")

    budget: float = field(default=0.75, metadata={"help": "The share of the full model's layer calls, such as 0.75."})
    strategies: tuple[str, ...] = field(
        default=STRATEGIES, metadata={"help": "How to look, in this order: greedy, evolution, or both."}
    )
    rounds: int = field(default=12, metadata={"help": "Rounds of the evolutionary strategy.", "selects_only": True})
    population: int = field(default=24, metadata={"help": "Routes that each of these proposes."})

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
        """How many layer calls are within the budget.

        Args:
            n_layers: How many layers the model has.

        Raises:
            AnalysisError: None, so that no route is.
        """
        limit = math.floor(self.budget * n_layers + 1e-9)  # 0.7 of 10 layers are 7, whatever the product rounds to
        if limit < 1:
            raise AnalysisError(
                f"a budget of {self.budget:g} of {n_layers} layer calls allows none; expected {1 / n_layers:.3g} or "
                "more"
            )
        return limit

    def settings_of(self, label: str) -> dict[str, Any]:
        """Of a round: the strategies up to its own, and what these depend on."""
        uses = () if label == SKIPS else self.strategies[: 1 + self.strategies.index(label.rpartition(" ")[0])]
        population = {"population": self.population} if "evolution" in uses else dict[str, Any]()
        return {"analysis": self.name, "budget": self.budget, "strategies": uses, **population}

    def schedule(self, n_layers: int) -> Mapping[str, int]:
        """That of the contiguous skips, and those of each strategy."""
        limit = self.limit(n_layers)
        first = {SKIPS: 1 + sum(calls + 1 for calls in range(limit, n_layers))}
        return first | {label: size for label, (_, _, size) in self._of_strategies(n_layers).items()}

    def propose(self, label: str, so_far: SearchResults, rng: random.Random) -> Sequence[Route]:
        """What the strategy proposes whose round it is."""
        from mechpaint.analyses.pareto.archive import Archive

        limit = self.limit(so_far.n_layers)
        if label == SKIPS:
            costs = range(so_far.n_layers - 1, limit - 1, -1)
            return [route for calls in costs for route in contiguous_skips(so_far.n_layers, calls)]
        strategy, place, _ = self._of_strategies(so_far.n_layers)[label]
        return strategy.propose(place, Archive.of(so_far), limit, rng)

    def finalists(self, found: SearchResults) -> Sequence[Route]:
        """The front; the best contiguous skip of every cost, and all those that cost as much as the budget allows."""
        from mechpaint.analyses.pareto.archive import Archive

        archive, n_layers, limit = Archive.of(found), found.n_layers, self.limit(found.n_layers)
        best = [archive.best(contiguous_skips(n_layers, calls)) for calls in range(limit, n_layers)]
        return [*archive.front(limit, n_layers), *best, *contiguous_skips(n_layers, limit)]

    def report(
        self, found: SearchResults, held_out: SearchResults, milliseconds: Mapping[str, Sequence[float]]
    ) -> Report:
        """Score against layer calls, the front with its latencies, and whether it beats the contiguous skips."""
        from mechpaint.analyses.pareto.report import report

        return report(self, found, held_out, milliseconds)

    def _of_strategies(self, n_layers: int) -> dict[str, tuple[Strategy, int, int]]:
        """From the labels of the strategies' rounds to the strategy, the place among its rounds, and its size."""
        from mechpaint.analyses.pareto.strategies import strategies

        known = strategies(self.rounds, self.population)
        limit = self.limit(n_layers)
        return {
            f"{name} {place + 1}": (known[name], place, size)
            for name in self.strategies
            for place, size in enumerate(known[name].sizes(n_layers, limit))
        }
