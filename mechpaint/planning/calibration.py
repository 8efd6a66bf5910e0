"""The time that sweeps take here, from running a little of them.

A batch is taken to last as long as its layer calls, so much for each route, and so much once. Calls are timed by
themselves, once for all tasks of a model (`call_timings`), and so are logits; which calls a sweep makes is walked
without running any. All else is timed in the task's own asking, so that whatever the engine does is in it: making the
batch, the records. It is asked on one item and on as many as a moment allows, under two trees:

    one route of some steps, a layer a step
    that route and all its beginnings: as many layer calls, more routes to be scored

From these come what a route takes, on a line of the scored positions, and what is left for once. A third tree, of as
many of the routes that will be run as a moment allows, says by how much what comes of this is wrong, and all is
corrected by that.
"""

from __future__ import annotations

import statistics
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch

from mechpaint.planning.call_timings import CallTimings
from mechpaint.planning.layer_calls import Shapes, Sweeps, calls_of, visits_per_call
from mechpaint.routes.prefix_tree import PrefixTree
from mechpaint.routes.route import Route
from mechpaint.scoring.batches import Batch

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge

    from mechpaint.scoring.items import Scorer

BUDGET = 0.2
"""About how many seconds each of a task's few timings takes."""


_CPU = torch.device("cpu")


@dataclass(frozen=True)
class Line:
    """Seconds that grow with an amount, and with nothing fall."""

    at_none: float
    slope: float = 0.0

    def seconds(self, amount: int) -> float:
        """Seconds of an amount."""
        return self.at_none + self.slope * amount

    @classmethod
    def through(cls, few: tuple[int, float], more: tuple[int, float]) -> Line:
        """Through two amounts with their seconds, which are as noisy as all timings are."""
        (least, short), (most, long) = few, more
        if most == least:
            return cls(long)
        slope = min(max(0.0, (long - short) / (most - least)), long / most)
        return cls(long - slope * most, slope)


@dataclass(frozen=True)
class Pace:
    """The time that a task's batches take.

    Args:
        shapes: In which layers get batches.
        call: Seconds of a layer call, by its tokens and the length of its rows.
        a_route: Seconds of a route without its layer calls and logits, by what is scored under it.
        once: Seconds of the rest, whatever the routes.
        correction: A factor on all of it.
        device: Where it was measured.
        tails: Seconds of the logits of routes, by how many there are and the positions that are scored under each.
    """

    shapes: Shapes
    call: Callable[[int, int], float]
    a_route: Line
    once: float = 0.0
    correction: float = 1.0
    device: torch.device = _CPU
    tails: Callable[[int, int], float] = lambda routes, scored: 0.0

    def seconds(self, tree: PrefixTree, batch: Batch[Any]) -> float:
        """Seconds of a batch under a tree of routes."""
        tokens, length = self.shapes.tokens(batch), self.shapes.length(batch)
        times = Counter[int]()
        for (_, visits), count in calls_of(tree, visits_per_call(tokens, self.device)).items():
            times[visits] += count
        calls = sum(count * self.call(visits * tokens, length) for visits, count in times.items())
        routes = len(tree.routes)
        scoring = routes * self.a_route.seconds(_scored(self.shapes, batch)) + self.tails(
            routes, self.shapes.scored(batch)
        )
        return self.correction * (self.once + calls + scoring)


def _scored(shapes: Shapes, batch: Batch[Any]) -> int:
    """What is scored of a batch under a route: positions, or whole rows."""
    return shapes.scored(batch) or len(batch.rows)


def measured(model: TransformerBridge, task: Scorer[Any], sweeps: Sweeps, batch_size: int, shapes: Shapes) -> Pace:
    """Measure a task on some items of its largest batch."""
    tree, batch = max(((tree, b) for tree, batches in sweeps for b in batches), key=lambda one: shapes.tokens(one[1]))
    asking = _Asking(model, task, batch_size, shapes)
    one = Batch[Any].of(batch.items[:1])
    asking.seconds(one, PrefixTree([Route.of([0], asking.n_layers)]))  # the first time is slower
    least, once = asking.a_route(one)
    some = asking.affordable(batch, once + least)
    if len(some.items) == 1:
        line = Line(0.0, least / _scored(shapes, one))
        return asking.corrected(
            Pace(shapes, asking.call, line, once, device=asking.device, tails=asking.tails), tree, one
        )
    more, once = asking.a_route(some)
    line = Line.through((_scored(shapes, one), least), (_scored(shapes, some), more))
    return asking.corrected(Pace(shapes, asking.call, line, once, device=asking.device, tails=asking.tails), tree, some)


class _Asking:
    """Asks a task, and looks at the clock."""

    def __init__(self, model: TransformerBridge, task: Scorer[Any], batch_size: int, shapes: Shapes) -> None:
        self._shapes = shapes
        self._model, self._task, self._batch_size = model, task, batch_size
        self.n_layers = len(model.blocks)
        self.device = torch.device(str(model.cfg.device))
        timings = CallTimings(model)
        self.call, self.tails = timings.seconds, timings.tails

    def affordable(self, batch: Batch[Any], rest: float) -> Batch[Any]:
        """As many of the items as two layers run on in the time there is: few say little of many."""
        items = len(batch.items)
        while items > 1:
            some = Batch[Any].of(batch.items[:items])
            calls = 2 * self.call(self._shapes.tokens(some), self._shapes.length(some))
            if calls + self.tails(2, self._shapes.scored(some)) + rest <= BUDGET:
                return some
            items //= 2
        return Batch[Any].of(batch.items[:1])

    def a_route(self, batch: Batch[Any]) -> tuple[float, float]:
        """Seconds of a route without layer calls and logits, and of what is done once."""
        a_call = self.call(self._shapes.tokens(batch), self._shapes.length(batch))
        steps = min(32, max(2, int(BUDGET / 4 / a_call)))
        long = [step % self.n_layers for step in range(steps)]
        beginnings = [Route.of(long[: i + 1], self.n_layers) for i in range(steps)]
        one, every = (self.tails(routes, self._shapes.scored(batch)) for routes in (1, steps))
        alone = self.seconds(batch, PrefixTree(beginnings[-1:]))
        more = self.seconds(batch, PrefixTree(beginnings)) - alone
        a_route = max(0.0, more - (every - one)) / (steps - 1)
        once = max(0.0, alone - steps * a_call - one - a_route)
        return a_route, once

    def corrected(self, pace: Pace, tree: PrefixTree, batch: Batch[Any]) -> Pace:
        """Compare with as many routes as there is time for."""
        some = _some(tree, int(len(tree.routes) * BUDGET / max(1e-9, pace.seconds(tree, batch))))
        guess = pace.seconds(some, batch)
        return replace(pace, correction=self.seconds(batch, some) / guess) if guess else pace

    def seconds(self, batch: Batch[Any], tree: PrefixTree) -> float:
        """The time of a tree of routes: the median of three, but long timings are steady, and a plan waits for them."""
        first = once(lambda: self._ask(batch, tree))
        if first > BUDGET / 4:
            return first
        return statistics.median([first, *(once(lambda: self._ask(batch, tree)) for _ in range(2))])

    def _ask(self, batch: Batch[Any], tree: PrefixTree) -> None:
        for _ in self._task.records(self._model, batch.items, tree, self._batch_size, lambda ticks: None):
            pass


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
    return once(work)


def once(work: Callable[[], object]) -> float:
    """Seconds of one run."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began
