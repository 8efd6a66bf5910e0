"""The beginnings that many routes share, as a tree.

Routes that begin with the same steps have the same residual stream after them, so each distinct beginning needs to run
only once. Pure Python; `mechpaint.engine.sweep` walks the tree with tensors.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from mechpaint.routes.route import Route
from mechpaint.routes.stages import Call, Stage, stages


@dataclass(slots=True, eq=False)
class Node:
    """A beginning that some routes share.

    Attributes:
        route: Whether a route ends here, and which.
        children: How routes go on from here.
        layer_calls: Layer calls in the whole subtree: one for every distinct layer that reads a residual stream, and
            another where something is changed while it runs.
    """

    route: Route | None = None
    children: dict[Stage, Node] = field(default_factory=dict[Stage, "Node"])
    layer_calls: int = 0

    def calls(self) -> list[Call]:
        """The layers that read this node's residual stream, in the order that keeps the fewest residuals alive."""
        # groups last, so that few half-filled averages wait while whole subtrees run; of these the one that begins the
        # largest subtree, so that nothing waits for it
        grouped = {call: None for stage in self.children if len(stage.calls) > 1 for call in stage.calls}
        size = {stage.calls[0]: node.layer_calls for stage, node in self.children.items() if len(stage.calls) == 1}
        return sorted({**grouped, **size}, key=lambda call: (call in grouped, size.get(call, -1), call.layer))

    def stages_with(self, call: Call) -> list[Stage]:
        """The stages from here that have a call in them, groups first."""
        # the last one completed is walked first: the larger subtree of the single layer, so that nothing waits for it
        return sorted((stage for stage in self.children if call in stage.calls), key=lambda stage: -len(stage.calls))


class PrefixTree:
    """The tree of the beginnings of some routes.

    Args:
        routes: All of one model; duplicates are dropped.

    Attributes:
        routes: The distinct routes, in the order given.
        layer_calls: The distinct (incoming residual stream, layer) pairs: the least number of layer calls.
        layer_calls_unshared: The layer calls of the routes as given, each run alone.
    """

    def __init__(self, routes: Iterable[Route]) -> None:
        given = tuple(routes)
        self.routes = tuple(dict.fromkeys(given))
        self.root = Node()
        for route in self.routes:
            self._add(route)
        self.layer_calls = _count(self.root)
        self.layer_calls_unshared = sum(route.layer_calls for route in given)

    def _add(self, route: Route) -> None:
        node = self.root
        for stage in stages(route):
            node = node.children.setdefault(stage, Node())
        node.route = route


def _count(root: Node) -> int:
    """Fill in every node's `layer_calls`, children first, without recursion: routes may be thousands of steps long."""
    order = [root]
    for node in order:
        order.extend(node.children.values())
    for node in reversed(order):
        read_by = {call for stage in node.children for call in stage.calls}
        node.layer_calls = len(read_by) + sum(child.layer_calls for child in node.children.values())
    return root.layer_calls
