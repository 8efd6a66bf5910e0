"""All that is measured of one peer, in two processes of its own."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import ParamSpec, TypeVar

import torch
from torch import nn

from mechpaint.routes.route import Route
from tests.benchmarks.most_memory import most_memory
from tests.benchmarks.peers import singly, wholly
from tests.benchmarks.peers.by_mechpaint import Mechpaint
from tests.benchmarks.peers.counting import LayerCalls
from tests.benchmarks.peers.peer import Peer, kind
from tests.benchmarks.peers.routes import Many
from tests.benchmarks.peers.singly import Single
from tests.benchmarks.peers.wholly import Whole

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True)
class Work:
    """What everyone is asked to do.

    Attributes:
        folder: The model's.
        layer: The class of its layers.
        tokens: `[batch, position]`.
        single: Routes that are timed by themselves, by name.
        together: Routes that are timed together.
        turns: How often a single route is timed.
    """

    folder: Path
    layer: type[nn.Module]
    tokens: torch.Tensor
    single: dict[str, Route]
    together: tuple[Many, ...]
    turns: int


@dataclass(frozen=True)
class Peak:
    """The most memory that a process has had, in bytes: with the model loaded and asked once, and after its work."""

    before: int
    after: int


@dataclass(frozen=True)
class Measured:
    """Of one peer.

    Attributes:
        version: Of its library.
        single: By the route's name.
        together: By the name of the routes.
        peak: Its memory.
    """

    version: str
    single: dict[str, Single]
    together: dict[str, Whole]
    peak: Peak


@dataclass(frozen=True)
class Failed:
    """A peer that could not be measured.

    Attributes:
        why: The error.
    """

    why: str


def measure(name: str, work: Work, step: int) -> Measured | Failed:
    """Measure a peer; of routes that are timed together it runs every so-manieth (`step`)."""
    try:
        single, together = alone(times, name, work, step)
        return Measured(version(kind(name).package), single, together, alone(_peak, name, work))
    except Exception as error:  # a peer that fails in whatever way is a row that says so
        return Failed(f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}")


def alone(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """What a function gives in a process of its own, where no other peer has changed anything."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as process:
        return process.submit(function, *args, **kwargs).result()


def times(name: str, work: Work, step: int) -> tuple[dict[str, Single], dict[str, Whole]]:
    """A peer's times, in this process.

    Calls are counted before the peer is loaded, for nnsight keeps the forward that it finds.
    """
    calls = LayerCalls(work.layer, work.tokens.numel())
    with torch.no_grad(), calls:
        ours, peer = Mechpaint.load(work.folder), kind(name).load(work.folder)
        single = {
            called: singly.run(ours, peer, route, work.tokens, work.turns, calls)
            for called, route in work.single.items()
        }
        together = {many.name: wholly.run(ours, peer, many, work.tokens, step, calls) for many in work.together}
    return single, together


def _peak(name: str, work: Work) -> Peak:
    with torch.no_grad():
        return _peak_of(kind(name).load(work.folder), work)


def _peak_of(peer: Peer, work: Work) -> Peak:
    able = [route for route in work.single.values() if peer.cannot(route) is None]
    peer.last_logits(able[0], work.tokens)
    before = most_memory()
    for route in able:
        peer.last_logits(route, work.tokens)
    return Peak(before, most_memory())


def our_peaks(work: Work) -> dict[str, Peak]:
    """This library's memory: with the single routes, and with a sweep over each of the many."""
    return {"single routes": alone(_our_peak, work)} | {
        many.name: alone(_our_sweeps_peak, work, many) for many in work.together
    }


def _our_peak(work: Work) -> Peak:
    return _peak_of(Mechpaint.load(work.folder), work)


def _our_sweeps_peak(work: Work, many: Many) -> Peak:
    ours = Mechpaint.load(work.folder)
    ours.last_logits(many.listed[0], work.tokens)
    before = most_memory()
    for _ in ours.sweep(many.distinct, work.tokens):
        pass
    return Peak(before, most_memory())
