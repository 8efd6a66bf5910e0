"""The order of a sweep's visits, and which of them share a call.

Visits of the same layer on different routes have nothing to do with each other, so they can be rows of one batch. On
short rows that is many times faster: a layer call is then bound by reading the layer's weights, or by launching its
kernels, and costs nearly the same for one visit as for ten.

Pure Python; `mechpaint.engine.sweep` runs what is chosen here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import islice
from typing import Generic, Protocol, TypeVar, runtime_checkable

from mechpaint.routes.stages import Call

OPEN_A_PLACE = 16
"""The streams that may wait, for each visit of a call: with these, the suite takes hardly more calls than with any."""


@runtime_checkable
class PendingStream(Protocol):
    """A residual stream that layers have yet to read."""

    @property
    def calls(self) -> list[Call]:
        """These layers, in the order that keeps the fewest residual streams alive."""
        ...


Stream = TypeVar("Stream", bound=PendingStream)


class Schedule(Generic[Stream]):
    """Residual streams that layers have yet to read, up to `per_call` of them in one call."""

    # With one, the tree of routes is walked depth first, and only streams that lie on one path wait. With more, the
    # layer that the most streams wait for is next, until too many wait.

    def __init__(self, per_call: int) -> None:
        self.per_call = per_call
        self._open: list[Stream] = []

    def __bool__(self) -> bool:
        return bool(self._open)

    def add(self, stream: Stream) -> None:
        """A stream, if any layer has to read it."""
        if stream.calls:
            self._open.append(stream)

    def take(self) -> tuple[int, list[tuple[Stream, Call]]]:
        """The next layer, and the streams that it reads in one call. They no longer wait for it."""
        layer = self._next()
        waiting = list(self._readers(layer))
        for stream, call in waiting:
            stream.calls.remove(call)
        self._open = [stream for stream in self._open if stream.calls]
        return layer, waiting

    def _next(self) -> int:
        if len(self._open) > OPEN_A_PLACE * (self.per_call - 1):
            return self._open[-1].calls[0].layer
        waits: Counter[int] = Counter(call.layer for stream in self._open for call in stream.calls)
        # of equals the lowest: most routes go upwards, so that those behind catch up with what they can share
        return max(waits, key=lambda layer: (min(waits[layer], self.per_call), -layer))

    def _readers(self, layer: int) -> Iterator[tuple[Stream, Call]]:
        """The newest that wait for it: their streams are the first to be done with."""
        waiting = ((stream, call) for stream in reversed(self._open) for call in stream.calls if call.layer == layer)
        return islice(waiting, self.per_call)
