"""The forecast of a run, the same for a loaded model and for one that has only a shape."""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mechpaint.planning.accelerators import Roofline
from mechpaint.planning.cost import Cost, Memory
from mechpaint.routes.prefix_tree import PrefixTree


@dataclass(frozen=True)
class Forecast:
    """The work and cost of a run.

    Attributes:
        tree: The routes.
        items: How many items each task has, by its name.
        costs: What each task costs of which something is to be computed.
        on: Where it is to run; None for here.
    """

    tree: PrefixTree
    items: Mapping[str, int]
    costs: Sequence[Cost]
    on: Roofline | None = None

    @property
    def memory(self) -> Memory:
        """That of the task that takes most."""
        return max((cost.memory for cost in self.costs), key=lambda memory: memory.whole, default=Memory(0, 0, 0))

    @property
    def flops(self) -> int | None:
        """Floating-point operations; None if those of a task are not counted."""
        counts = [cost.flops for cost in self.costs if cost.flops is not None]
        return sum(counts) if len(counts) == len(self.costs) else None

    @property
    def seconds(self) -> float:
        """Seconds that one worker computes, without loading the model and drawing the report."""
        return sum((cost.seconds for cost in self.costs), 0.0)

    @property
    def devices(self) -> int:
        """The number of accelerators that hold the model; 1 where the run's place is unknown."""
        memory = self.memory
        return 1 if self.on is None else self.on.devices(memory.weights, memory.activations + memory.logits)

    @property
    def workers(self) -> Workers:
        """The number of workers worth having."""
        parts = [seconds for cost in self.costs for seconds in cost.parts]
        return optimal_workers(parts, startup(self.memory.weights))

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


BUSY = 0.8
"""The share of their time that workers worth having compute."""
_BEGIN = 20.0
_READ = 1e9


@dataclass(frozen=True)
class Workers:
    """A number of workers, and what they achieve."""

    count: int
    seconds: float
    """Until the last is done, loading the model included."""
    busy: float
    """The share of that time in which they compute."""


def startup(weights: int) -> float:
    """Seconds that a worker is taken to need before it computes: 20, and the weights at 1 GB a second."""
    return _BEGIN + weights / _READ


def workers(parts: Sequence[float], begin: float, count: int) -> Workers:
    """The result of so many workers, each taking the longest part that is left."""
    free = [0.0] * count
    for part in sorted(parts, reverse=True):
        heapq.heapreplace(free, free[0] + part)
    whole = begin + max(free)
    return Workers(count, whole, sum(parts) / (count * whole) if whole else 1.0)


def optimal_workers(parts: Sequence[float], begin: float) -> Workers:
    """The most workers that are still faster and compute for 80 % of their time, or for as much as a single one."""
    if not parts:
        return Workers(0, 0.0, 1.0)
    best = workers(parts, begin, 1)
    enough = min(BUSY, best.busy)
    for count in range(2, len(parts) + 1):
        more = workers(parts, begin, count)
        if more.busy >= enough and more.seconds < best.seconds:
            best = more
    return best
