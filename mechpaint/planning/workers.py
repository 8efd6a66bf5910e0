"""How many workers are worth having: each loads the model, then takes parts of the work until none is left."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass

BUSY = 0.8
"""What share of their time workers that are worth having compute."""

_BEGIN = 20.0
_READ = 1e9


@dataclass(frozen=True)
class Workers:
    """A number of workers.

    Args:
        count: How many.
        seconds: How long the work takes with them, the loading of the model included.
        busy: What share of their time, until the last is done, they compute.
    """

    count: int
    seconds: float
    busy: float


def startup(weights: int) -> float:
    """How long a worker is taken to need before it computes, in seconds: 20, and reading the weights at 1 GB a second.

    Args:
        weights: How many bytes the weights are.
    """
    return _BEGIN + weights / _READ


def workers(parts: Sequence[float], begin: float, count: int) -> Workers:
    """What comes of a number of workers that take the longest part that is left, one after the other.

    Args:
        parts: How many seconds each part takes that can be done on its own; one or more.
        begin: How many seconds a worker needs before it computes.
        count: How many workers.
    """
    free = [0.0] * count
    for part in sorted(parts, reverse=True):
        heapq.heapreplace(free, free[0] + part)
    whole = begin + max(free)
    return Workers(count, whole, sum(parts) / (count * whole) if whole else 1.0)


def worth_having(parts: Sequence[float], begin: float) -> Workers:
    """The most workers that are worth having.

    More are worth having as long as they are faster, and are busy for at least 80 % of their time, loading the
    model being no work; or for as much of it as a single one is, if that is less. There are never more than parts.

    Args:
        parts: How many seconds each part takes that can be done on its own; one or more.
        begin: How many seconds a worker needs before it computes.
    """
    best = workers(parts, begin, 1)
    enough = min(BUSY, best.busy)
    for count in range(2, len(parts) + 1):
        more = workers(parts, begin, count)
        if more.busy >= enough and more.seconds < best.seconds:
            best = more
    return best
