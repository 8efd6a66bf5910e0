"""One route at a time: the same logits first, then time, in turns."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from mechpaint.routes.route import Route
from tests.benchmarks.peers.by_mechpaint import Mechpaint
from tests.benchmarks.peers.counting import LayerCalls
from tests.benchmarks.peers.peer import Peer

TOLERANCE = 3e-3
"""How far logits in float32 may be apart that are the same but for rounding, after up to 239 layer calls."""


@dataclass(frozen=True)
class Timed:
    """A route that a peer and this library ran in turns.

    Attributes:
        ours: This library's seconds, turn by turn.
        theirs: The peer's.
        our_calls: How many layers ran here.
        their_calls: How many layers ran there.
        apart: The largest difference of a logit.
    """

    ours: tuple[float, ...]
    theirs: tuple[float, ...]
    our_calls: float
    their_calls: float
    apart: float

    @property
    def ratio(self) -> float:
        """The peer's time over this library's: the median over turns."""
        return statistics.median(theirs / ours for ours, theirs in zip(self.ours, self.theirs, strict=True))


@dataclass(frozen=True)
class Unable:
    """A route that a peer cannot run.

    Attributes:
        why: The reason.
    """

    why: str


@dataclass(frozen=True)
class Wrong:
    """A route along which a peer gave other logits, so that its time means nothing.

    Attributes:
        apart: The largest difference.
    """

    apart: float


Single = Timed | Unable | Wrong


def run(ours: Mechpaint, peer: Peer, route: Route, tokens: Tensor, turns: int, calls: LayerCalls) -> Single:
    """Compare and time one route."""
    why = peer.cannot(route)
    if why is not None:
        return Unable(why)
    ours.last_logits(route, tokens)  # a model's first sweep calls its layers to compare them
    calls.taken()
    expected = ours.last_logits(route, tokens)
    our_calls = calls.taken()
    apart = largest_difference(peer.last_logits(route, tokens), expected)
    their_calls = calls.taken()
    if not apart <= TOLERANCE:
        return Wrong(apart)
    times: tuple[list[float], list[float]] = ([], [])
    works = (lambda: ours.last_logits(route, tokens), lambda: peer.last_logits(route, tokens))
    for turn in range(turns):
        for which in (0, 1) if turn % 2 else (1, 0):
            times[which].append(seconds(works[which]))
    return Timed(tuple(times[0]), tuple(times[1]), our_calls, their_calls, apart)


def largest_difference(logits: Tensor, expected: Tensor) -> float:
    """Of one logit, infinity where shapes differ or a value is none."""
    if logits.shape != expected.shape:
        return float("inf")
    apart = float((logits - expected).abs().max())
    return apart if apart == apart else float("inf")


def seconds(work: Callable[[], object]) -> float:
    """How long it takes, once."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began
