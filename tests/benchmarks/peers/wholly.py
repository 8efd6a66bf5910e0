"""Many routes: a sweep against a peer that runs them one by one."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass

from rich.console import Console
from rich.progress import track
from torch import Tensor

from mechpaint.routes.route import Route
from tests.benchmarks.peers.by_mechpaint import Mechpaint
from tests.benchmarks.peers.counting import LayerCalls
from tests.benchmarks.peers.peer import Peer
from tests.benchmarks.peers.routes import Many, every
from tests.benchmarks.peers.singly import TOLERANCE, largest_difference


@dataclass(frozen=True)
class Whole:
    """What many routes took.

    Attributes:
        routes: How many distinct routes there are.
        able: How many of them the peer can run. All else is about these.
        sampled: How many of them it ran. The rest is extrapolated by layer calls.
        our_seconds: The sweep's time.
        their_seconds: The peer's, each distinct route once.
        listed_seconds: The peer's, each route as often as it is listed.
        our_calls: How many layers ran in the sweep.
        their_calls: How many ran in the peer, each distinct route once.
        apart: The largest difference of a logit over all routes that the peer ran.
    """

    routes: int
    able: int
    sampled: int
    our_seconds: float
    their_seconds: float
    listed_seconds: float
    our_calls: float
    their_calls: float
    apart: float

    @property
    def wrong(self) -> bool:
        """Whether a logit differs by more than rounding."""
        return not self.apart <= TOLERANCE


@dataclass(frozen=True)
class Ran:
    """One route of the peer's."""

    seconds: float
    calls: float
    apart: float


def run(ours: Mechpaint, peer: Peer, many: Many, tokens: Tensor, step: int, calls: LayerCalls) -> Whole:
    """The sweep, which waits after each of its results while the peer runs that route, if it is in the sample.

    So both meet the machine in the same mood, and every result is compared.
    """
    able = [route for route in many.distinct if peer.cannot(route) is None]
    sample = set(every(able, step))
    calls.taken()
    sweep = iter(ours.sweep(able, tokens))
    ran: dict[Route, Ran] = {}
    our_seconds, our_calls = 0.0, 0.0
    began = time.perf_counter()
    for route, expected in track(sweep, f"{many.name}, {peer.name}", len(able), console=Console(file=sys.stderr)):
        our_seconds += time.perf_counter() - began
        our_calls += calls.taken()
        if route in sample:
            began = time.perf_counter()
            logits = peer.last_logits(route, tokens)
            spent = time.perf_counter() - began
            ran[route] = Ran(spent, calls.taken(), largest_difference(logits, expected))
        began = time.perf_counter()
    our_seconds += time.perf_counter() - began
    listed = [route for route in many.listed if peer.cannot(route) is None]
    return Whole(
        len(many.distinct),
        len(able),
        len(sample),
        our_seconds,
        extrapolated({route: one.seconds for route, one in ran.items()}, able),
        extrapolated({route: one.seconds for route, one in ran.items()}, listed),
        our_calls,
        extrapolated({route: one.calls for route, one in ran.items()}, able),
        max(one.apart for one in ran.values()),
    )


def extrapolated(known: dict[Route, float], routes: Iterable[Route]) -> float:
    """The sum of a quantity over routes; for those that are not known as if it went with their layer calls."""
    wanted = list(routes)
    there = [route for route in wanted if route in known]
    share = sum(route.layer_calls for route in wanted) / sum(route.layer_calls for route in there)
    return sum(known[route] for route in there) * share
