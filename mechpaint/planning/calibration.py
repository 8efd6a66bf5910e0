"""How long sweeps take here, from running a little of them.

What is timed is the task's own asking, on real batches and under real routes, so that whatever the engine does is in
it: making the batch, the layers, the logits and their log-probabilities, the records. Three trees of routes are asked
of a batch:

    one route of some steps, a layer a step
    that route and all its beginnings: as many layer calls, more routes to be scored
    as many of the routes that will be run as a second or so allows, evenly chosen; often all

From these come what a layer call, and what a further route, takes. Batches of other sizes are interpolated.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mechpaint.planning.batching import Sweeps, tokens_of
from mechpaint.prefixtree import PrefixTree
from mechpaint.route import Route
from mechpaint.scoring import Batch

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge

    from mechpaint.tasks.task import Task

BUDGET = 0.8
"""About how many seconds the routes of one batch are timed for."""

_ALIKE = 1.1
"""Batches whose numbers of tokens differ by no more than this factor are measured on one of them."""


@dataclass(frozen=True)
class Sample:
    """What one batch took.

    Args:
        tokens: How many tokens it has, padding included.
        seconds: How long it took under some routes.
        layer_calls: How many layer calls these are.
        routes: How many routes.
        a_call: How long a further layer call takes.
        a_route: How long a further route takes, without its layer calls.
    """

    tokens: int
    seconds: float
    layer_calls: int
    routes: int
    a_call: float
    a_route: float

    def under(self, tree: PrefixTree) -> float:
        """How long it takes under other routes, in seconds.

        Args:
            tree: The routes.
        """
        calls, routes = tree.layer_calls - self.layer_calls, len(tree.routes) - self.routes
        return max(0.0, self.seconds + calls * self.a_call + routes * self.a_route)


@dataclass(frozen=True)
class Measured:
    """How long batches take.

    Args:
        samples: What was measured, by growing numbers of tokens; one or more.
    """

    samples: tuple[Sample, ...]

    def seconds(self, tree: PrefixTree, tokens: int) -> float:
        """How long a batch takes: on a line between the samples, in proportion beyond them.

        Args:
            tree: The routes.
            tokens: How many tokens the batch has, padding included.
        """
        first, last = self.samples[0], self.samples[-1]
        if first.tokens < tokens < last.tokens:
            share = (tokens - first.tokens) / (last.tokens - first.tokens)
            return (1 - share) * first.under(tree) + share * last.under(tree)
        nearest = first if tokens <= first.tokens else last
        return nearest.under(tree) * tokens / nearest.tokens


def measured(model: TransformerBridge, task: Task[Any], sweeps: Sweeps, rows_at_once: int) -> Measured:
    """Measure a task's smallest and largest batch, or one if they are alike.

    Args:
        model: The model to ask.
        task: What is asked.
        sweeps: All that will be.
        rows_at_once: How many token rows go through the model together.
    """
    ordered = sorted(((tokens_of(b), b, tree) for tree, batches in sweeps for b in batches), key=lambda one: one[0])
    chosen = [ordered[0], ordered[-1]]
    if ordered[-1][0] <= _ALIKE * ordered[0][0]:
        chosen = [ordered[len(ordered) // 2]]
    samples = {_sample(_Asking(model, task, batch, rows_at_once), tree) for _, batch, tree in chosen}
    found = {sample.tokens: sample for sample in samples}
    return Measured(tuple(found[tokens] for tokens in sorted(found)))


class _Asking:
    """Asks a task's items, the first of them only where all take long."""

    def __init__(self, model: TransformerBridge, task: Task[Any], batch: Batch[Any], rows_at_once: int) -> None:
        self._model, self._task, self._rows_at_once = model, task, rows_at_once
        self.n_layers = len(model.blocks)
        self.batch = batch
        one = PrefixTree([Route.of([0], self.n_layers)])
        self.at_least = self.seconds(one)
        if self.at_least < BUDGET:  # the first time is slower
            self.at_least = self.seconds(one)
        fewer = int(len(batch.items) * BUDGET / self.at_least)
        if fewer < len(batch.items):
            self.batch = Batch[Any].of(batch.items[: max(1, fewer)])
            self.at_least *= len(self.batch.items) / len(batch.items)

    def seconds(self, tree: PrefixTree, times: int = 1) -> float:
        """How long it takes under some routes, the median of some times."""
        return statistics.median(_once(lambda: self._ask(tree)) for _ in range(times))

    def _ask(self, tree: PrefixTree) -> None:
        for _ in self._task.records(self._model, self.batch.items, tree, self._rows_at_once, lambda ticks: None):
            pass


def _sample(asking: _Asking, tree: PrefixTree) -> Sample:
    steps = min(32, max(2, int(BUDGET / 4 / asking.at_least)))
    long = [step % asking.n_layers for step in range(steps)]
    beginnings = [Route.of(long[: i + 1], asking.n_layers) for i in range(steps)]
    alone = asking.seconds(PrefixTree(beginnings[-1:]), 3)
    a_route = max(0.0, asking.seconds(PrefixTree(beginnings), 3) - alone) / (steps - 1)
    a_call = max(alone - a_route, 0.1 * alone) / steps
    some = _some(tree, int(BUDGET / (a_route + a_call * tree.layer_calls / len(tree.routes))))
    seconds = asking.seconds(some)
    while seconds < BUDGET / 4 and len(some.routes) < len(tree.routes):  # visits of several routes may share calls
        some = _some(tree, 2 * len(some.routes))
        seconds = asking.seconds(some)
    if seconds < BUDGET:  # the first time is slower
        seconds = asking.seconds(some, 3)
    more_calls, more_routes = some.layer_calls - steps, len(some.routes) - 1
    if more_calls > 0:
        a_call = max(0.5 * a_call, (seconds - alone - more_routes * a_route) / more_calls)
    return Sample(tokens_of(asking.batch), seconds, some.layer_calls, len(some.routes), a_call, a_route)


def _some(tree: PrefixTree, count: int) -> PrefixTree:
    """So many of the routes, evenly chosen, at least two; all if there are no more."""
    routes: Sequence[Route] = tree.routes
    count = max(2, count)
    if count >= len(routes):
        return tree
    return PrefixTree(routes[i * len(routes) // count] for i in range(count))


def timed(work: Callable[[], object]) -> float:
    """How many seconds something takes the second time: the first is slower.

    Args:
        work: What is timed.
    """
    work()
    return _once(work)


def _once(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began
