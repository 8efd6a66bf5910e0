"""A route by what may be done where a layer begins and ends: all that hooks can do in one forward pass.

A function at a layer's beginning or end sees the residual stream there and may give another in its place. So a skipped
layer runs, and what it was handed is handed on; the members of a group are each fed what the first was handed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TypeAlias

from torch import Tensor

from mechpaint.routes.route import Route

Function: TypeAlias = Callable[[Tensor], Tensor | None]
"""From a residual stream to the one in its place, or None to leave it."""


@dataclass(frozen=True)
class Rewiring:
    """What is done where.

    Attributes:
        beginnings: By layer, the function at its beginning.
        ends: By layer, the function at its end.
    """

    beginnings: dict[int, Function] = field(default_factory=dict[int, Function])
    ends: dict[int, Function] = field(default_factory=dict[int, Function])


def cannot(route: Route) -> str | None:
    """Why hooks cannot run a route, or None: layers run once each, in the model's order."""
    for before, after in pairwise(visit.layer for visit in route.visits()):
        if after <= before:
            return "a layer would run after a later one, or again: hooks hand residual streams on, they run no layer"
    return None


def rewired(route: Route) -> Rewiring:
    """The functions of a route that hooks can run. They serve one forward pass."""
    made = Rewiring()
    visited = {visit.layer for visit in route.visits()}
    for layer in range(route.n_layers):
        if layer not in visited:
            _skip(made, layer)
    for step in route.steps:
        if len(step.layers) > 1:
            _average(made, step.layers)
    return made


def _skip(made: Rewiring, layer: int) -> None:
    kept: list[Tensor] = []
    made.beginnings[layer] = kept.append
    made.ends[layer] = lambda _: kept.pop()


def _average(made: Rewiring, layers: tuple[int, ...]) -> None:
    first, last = layers[0], layers[-1]
    kept: list[Tensor] = []
    outputs: list[Tensor] = []

    def collect(output: Tensor) -> None:
        outputs.append(output / len(layers))  # a copy: what follows may be written in its place

    def merge(output: Tensor) -> Tensor:
        collect(output)
        return sum(outputs[1:], outputs[0])

    for layer in layers:
        made.beginnings[layer] = kept.append if layer == first else lambda _: kept[0]
        made.ends[layer] = merge if layer == last else collect
