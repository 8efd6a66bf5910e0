"""The walk of a sweep: from the root of a prefix tree to the ends of its routes, in the schedule's order.

A sweep walks with residual streams, a plan with nothing: both make the same layer calls, in the same order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeAlias, TypeVar, runtime_checkable

from mechpaint.routes.prefix_tree import Node, PrefixTree
from mechpaint.routes.route import Route
from mechpaint.routes.schedule import Schedule
from mechpaint.routes.stages import Call, Stage
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
    calls: list[Call]
    merges: dict[Stage, Merge[T]]

    def read(self, call: Call, output: T) -> Iterator[tuple[Node, T]]:
        """Take in a layer's output: the nodes whose steps are complete now, with their streams."""
        if not self.calls:
            self.residual = None  # let it go, though its node's subtree is yet to run
        for stage in self.node.stages_with(call):
            merge = self.merges[stage]
            merge.add(output)
            if merge.complete:
                del self.merges[stage]
                yield self.node.children[stage], merge.merged()


Waiting: TypeAlias = tuple[Stream[T], Call]
"""A stream, and one of the layers that have yet to read it."""


def walk(
    tree: PrefixTree,
    schedule: Schedule[Stream[T]],
    embeddings: T,
    merge: Callable[[Step, T], Merge[T]],
    call: Callable[[int, Sequence[Waiting[T]]], Sequence[T]],
) -> Iterator[tuple[Route, T]]:
    """Run every route of a tree: `call(layer, waiting)` gives a layer's outputs; yields the routes as they end."""
    reached = [(tree.root, embeddings)]
    del embeddings
    while reached or schedule:
        while reached:
            node, residual = reached.pop()
            if node.route is not None:
                yield node.route, residual
            merges = {stage: merge(stage.step, residual) for stage in node.children}
            schedule.add(Stream(node, residual, node.calls(), merges))
            del residual
        if schedule:
            layer, waiting = schedule.take()
            for (stream, read_by), output in zip(waiting, call(layer, waiting), strict=True):
                reached.extend(stream.read(read_by, output))
                del output
