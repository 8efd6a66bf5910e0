"""The time that sweeps take here, from running a little of them.

A batch is taken to last as long as its layer calls, so much for each route, and so much once. Calls are timed by
themselves, with as many visits as sweeps have them share; which calls a sweep makes is walked without running any.
All else is timed in the task's own asking, on real batches, so that whatever the engine does is in it: making the
batch, the logits and their log-probabilities, the records. Three trees of routes are asked of a batch:

    one route of some steps, a layer a step
    that route and all its beginnings: as many layer calls, more routes to be scored
    as many of the routes that will be run as a second or so allows, evenly chosen; often all

From the first two come what a route takes, and what is left for once. The third says by how much what comes of this is
wrong, and all else is corrected by that. Batches of other sizes are interpolated.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch

from mechpaint.engine.fused_attention import fastest_attention
from mechpaint.engine.layer_inputs import LayerInputs
from mechpaint.engine.route_runner import RouteRunner
from mechpaint.engine.tree_attention import record_packed
from mechpaint.planning.layer_calls import Shapes, Sweeps, calls_of, visits_per_call
from mechpaint.routes.prefix_tree import PrefixTree
from mechpaint.routes.route import Route
from mechpaint.scoring.batches import Batch

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge

    from mechpaint.scoring.items import Scorer

BUDGET = 0.25
"""About how many seconds the routes of one batch are timed for."""

_ALIKE = 1.5
"""Batches whose numbers of tokens differ by no more than this factor are measured on one of them."""


@dataclass(frozen=True)
class Sample:
    """The time that one batch took."""

    tokens: int
    """Padding included."""
    calls: tuple[float, ...]
    """Seconds of layer calls of 1, 2, 4, … visits, up to `per_call` or more."""
    a_route: float
    """Seconds of a route without its layer calls."""
    per_call: int = 1
    """The most visits of a call."""
    once: float = 0.0
    """Seconds of the rest, whatever the routes."""
    correction: float = 1.0
    """A factor on all of it."""

    def under(self, tree: PrefixTree) -> float:
        """Seconds under a tree of routes."""
        calls = sum(times * self._call(visits) for (_, visits), times in calls_of(tree, self.per_call).items())
        return self.correction * (self.once + calls + len(tree.routes) * self.a_route)

    def _call(self, visits: int) -> float:
        """On lines between the powers of two."""
        below = visits.bit_length() - 1
        if 2**below == visits:
            return self.calls[below]
        share = visits / 2**below - 1
        return (1 - share) * self.calls[below] + share * self.calls[below + 1]


@dataclass(frozen=True)
class Measured:
    """The time that batches take, from samples with growing numbers of tokens."""

    samples: tuple[Sample, ...]

    def seconds(self, tree: PrefixTree, tokens: int) -> float:
        """Seconds of a batch: on a line between the samples, in proportion beyond them."""
        first, last = self.samples[0], self.samples[-1]
        if first.tokens < tokens < last.tokens:
            share = (tokens - first.tokens) / (last.tokens - first.tokens)
            return (1 - share) * first.under(tree) + share * last.under(tree)
        nearest = first if tokens <= first.tokens else last
        return nearest.under(tree) * tokens / nearest.tokens


def measured(model: TransformerBridge, task: Scorer[Any], sweeps: Sweeps, batch_size: int, shapes: Shapes) -> Measured:
    """Measure a task's smallest and largest batch, or one if they are alike."""
    ordered = sorted(((shapes.tokens(b), b, tree) for tree, batches in sweeps for b in batches), key=lambda one: one[0])
    chosen = [ordered[0], ordered[-1]]
    if ordered[-1][0] <= _ALIKE * ordered[0][0]:
        chosen = [ordered[len(ordered) // 2]]
    samples = {_sample(_Asking(model, task, batch, batch_size, shapes), tree) for _, batch, tree in chosen}
    by_tokens = {sample.tokens: sample for sample in samples}
    return Measured(tuple(by_tokens[tokens] for tokens in sorted(by_tokens)))


class _Asking:
    """Asks a task's items, the first of them only where all take long."""

    def __init__(
        self, model: TransformerBridge, task: Scorer[Any], batch: Batch[Any], batch_size: int, shapes: Shapes
    ) -> None:
        self._shapes = shapes
        self._model, self._task, self._batch_size = model, task, batch_size
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
        self.tokens = shapes.tokens(self.batch)
        self.per_call = visits_per_call(self.tokens, torch.device(str(model.cfg.device)))

    def seconds(self, tree: PrefixTree, times: int = 1) -> float:
        """The median of a few timings under a tree of routes."""
        return statistics.median(_once(lambda: self._ask(tree)) for _ in range(times))

    def calls(self) -> tuple[float, ...]:
        """Seconds of calls of 1, 2, 4, … visits, up to as many as share one: the mean of three layers.

        Those of one and of most visits are timed, and the others are on the line between them.
        """
        runner, seconds = RouteRunner(self._model), dict[int, float]()
        layers = sorted({0, self.n_layers // 2, self.n_layers - 1})
        with torch.no_grad():
            real = runner.fastest()
            attention = fastest_attention(runner, real)
            most = 1 << (self.per_call - 1).bit_length()
            for visits in sorted({1, most}):
                with attention():
                    layer_inputs = self._record(runner, visits)

                def call(layer_inputs: LayerInputs = layer_inputs) -> None:
                    with attention():
                        for layer in layers:
                            runner.call(layer, layer_inputs.embeddings, layer_inputs.layers[layer], real[layer])

                call()  # the first time is slower
                seconds[visits] = statistics.median(_once(call) for _ in range(3)) / len(layers)
        slope = (seconds[most] - seconds[1]) / max(1, most - 1)
        return tuple(seconds[1] + slope * (2**power - 1) for power in range(most.bit_length()))

    def _record(self, runner: RouteRunner, visits: int) -> LayerInputs:
        tree = self._shapes.tree(self.batch)
        if tree is not None:
            return record_packed(runner, tree, visits)
        tokens, mask = self.batch.padded(self._model.cfg.device)
        return runner.record(tokens.repeat(visits, 1), mask.repeat(visits, 1))

    def _ask(self, tree: PrefixTree) -> None:
        for _ in self._task.records(self._model, self.batch.items, tree, self._batch_size, lambda ticks: None):
            pass


def _sample(asking: _Asking, tree: PrefixTree) -> Sample:
    calls = asking.calls()
    steps = min(32, max(2, int((BUDGET / 4 - asking.at_least) / calls[0])))
    long = [step % asking.n_layers for step in range(steps)]
    beginnings = [Route.of(long[: i + 1], asking.n_layers) for i in range(steps)]
    alone = asking.seconds(PrefixTree(beginnings[-1:]), 3)
    a_route = max(0.0, asking.seconds(PrefixTree(beginnings), 3) - alone) / (steps - 1)
    once = max(0.0, alone - steps * calls[0] - a_route)
    guess = Sample(asking.tokens, calls, a_route, asking.per_call, once)
    some = _some(tree, int(len(tree.routes) * BUDGET / guess.under(tree)))
    # long timings are steady, and repeated ones are what a plan waits for
    seconds = asking.seconds(some, 1 if guess.under(some) > BUDGET / 2 else 3)
    return replace(guess, correction=seconds / guess.under(some))


def _some(tree: PrefixTree, count: int) -> PrefixTree:
    """So many of the routes, evenly chosen, at least two; all if there are no more."""
    routes: Sequence[Route] = tree.routes
    count = max(2, count)
    if count >= len(routes):
        return tree
    return PrefixTree(routes[i * len(routes) // count] for i in range(count))


def timed(work: Callable[[], object]) -> float:
    """Seconds of a second run: the first is slower."""
    work()
    return _once(work)


def _once(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began
