"""What is said of a run before it is run: the same of a model that is loaded and of one that has only a shape."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mechpaint.planning.accelerators import Roofline
from mechpaint.planning.cost import Cost, Memory
from mechpaint.planning.workers import Workers, startup, worth_having
from mechpaint.prefixtree import PrefixTree


@dataclass(frozen=True)
class Forecast:
    """What a run will do and cost.

    Attributes:
        tree: The routes.
        items: How many items each task has, by its name.
        costs: What each task costs; one or more.
        on: Where it is to run; None for here.
    """

    tree: PrefixTree
    items: Mapping[str, int]
    costs: Sequence[Cost]
    on: Roofline | None = None

    @property
    def memory(self) -> Memory:
        """That of the task that takes most."""
        return max((cost.memory for cost in self.costs), key=lambda memory: memory.whole)

    @property
    def flops(self) -> int | None:
        """Floating-point operations; None if those of a task are not counted."""
        counts = [cost.flops for cost in self.costs if cost.flops is not None]
        return sum(counts) if len(counts) == len(self.costs) else None

    @property
    def seconds(self) -> float:
        """How long it takes one worker to compute, without loading the model and drawing the report."""
        return sum(cost.seconds for cost in self.costs)

    @property
    def devices(self) -> int:
        """How many of the accelerator hold the model; 1 where it is not known where it runs.

        Raises:
            PlanError: A batch does not fit.
        """
        memory = self.memory
        return 1 if self.on is None else self.on.devices(memory.weights, memory.activations + memory.logits)

    @property
    def workers(self) -> Workers:
        """How many workers are worth having."""
        parts = [seconds for cost in self.costs for seconds in cost.parts]
        return worth_having(parts, startup(self.memory.weights))

    def told(self) -> dict[str, Any]:
        """All of it by name: numbers, texts, or numbers by name."""
        memory, workers = self.memory, self.workers
        return {
            "routes": len(self.tree.routes),
            "items": dict(self.items),
            "layer calls a batch": self.tree.layer_calls,
            "layer calls a batch, unshared": self.tree.layer_calls_unshared,
            "batches": sum(cost.batches for cost in self.costs),
            "layer calls": sum(cost.layer_calls for cost in self.costs),
            "layer calls, unshared": sum(cost.layer_calls_unshared for cost in self.costs),
            "floating-point operations": "not counted" if self.flops is None else _short(float(self.flops)),
            "weights, GB": _short(1e-9 * memory.weights),
            "activations, GB": _short(1e-9 * memory.activations),
            "logits, GB": _short(1e-9 * memory.logits),
            "memory, GB": _short(1e-9 * memory.whole),
            "where": "here" if self.on is None else f"{self.devices} x {self.on.where.name}, {self.on.dtype}",
            "minutes": _short(self.seconds / 60),
            "hours": _short(self.seconds / 3600),
            "workers worth having": workers.count,
            "hours with them": _short(workers.seconds / 3600),
        }


def _short(value: float) -> float:
    """To three digits: it is no more exact than that."""
    return float(f"{value:.3g}")
