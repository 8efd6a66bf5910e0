"""The walk of a sweep: from the root of a prefix tree to the ends of its routes, in the schedule's order.

A sweep walks with residual streams, a plan with nothing: both make the same layer calls, in the same order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar, runtime_checkable

from mechpaint.routes.prefix_tree import Node, PrefixTree
from mechpaint.routes.route import Route
from mechpaint.routes.schedule import Schedule
from mechpaint.routes.steps import Step

T = TypeVar("T")


@runtime_checkable
class Merge(Protocol[T]):
    """The output of a step, which its members' outputs are added to."""

    def add(self, output: T) -> None:
        """Take in one member's output."""
        ...

    @property
    def complete(self) -> bool:
        """True once every member's output is in."""
        ...

    def merged(self) -> T:
        """The step's output."""
        ...


@dataclass(slots=True, eq=False)
class Stream(Generic[T]):
    """The residual stream at a node, while layers have yet to read it."""

    node: Node
    residual: T | None
    layers: list[int]
    merges: dict[Step, Merge[T]]

    def read(self, layer: int, output: T) -> Iterator[tuple[Node, T]]:
        """Take in a layer's output: the nodes whose steps are complete now, with their streams."""
        if not self.layers:
            self.residual = None  # let it go, though its node's subtree is yet to run
        for step in self.node.steps_reading(layer):
            merge = self.merges[step]
            merge.add(output)
            if merge.complete:
                del self.merges[step]
                yield self.node.children[step], merge.merged()


def walk(
    tree: PrefixTree,
    schedule: Schedule[Stream[T]],
    embeddings: T,
    merge: Callable[[Step, T], Merge[T]],
    call: Callable[[int, Sequence[Stream[T]]], Sequence[T]],
) -> Iterator[tuple[Route, T]]:
    """Run every route of a tree: `call(layer, streams)` gives a layer's outputs; yields the routes as they end."""
    reached = [(tree.root, embeddings)]
    del embeddings
    while reached or schedule:
        while reached:
            node, residual = reached.pop()
            if node.route is not None:
                yield node.route, residual
            schedule.add(Stream(node, residual, node.layers(), {step: merge(step, residual) for step in node.children}))
            del residual
        if schedule:
            layer, streams = schedule.take()
            for stream, output in zip(streams, call(layer, streams), strict=True):
                reached.extend(stream.read(layer, output))
                del output
