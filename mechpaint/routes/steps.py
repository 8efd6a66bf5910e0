"""The steps of a route: one layer, or a group that reads one residual stream; and the visits that they make."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal, TypeAlias, cast

from mechpaint.display.sanitize import short
from mechpaint.errors import RouteError

MAX_STEPS = 100_000
"""The most steps of a route."""

Merge: TypeAlias = Literal["mean", "sum"]


@dataclass(frozen=True, slots=True)
class Step:
    """One layer, or a group of layers that read the same residual stream.

    Args:
        layers: The 0-based layer indices. Stored sorted, so that equal groups are equal steps.
        merge: What becomes of a group's outputs. `"mean"`: their arithmetic mean, as in "Transformer Layers as
            Painters" (arXiv 2407.09298, section 3.5). `"sum"`: the incoming residual plus every member's update,
            x + f(x) + g(x), as in "Layer Parallelism" (arXiv 2502.02790). A single layer is stored as `"mean"`.

    Raises:
        RouteError: No layers, something else than integers, a negative index, a layer named twice, or an unknown merge.
    """

    layers: tuple[int, ...]
    merge: Merge = "mean"

    def __post_init__(self) -> None:
        layers = _sorted_layers(self.layers)
        if not layers:
            raise RouteError("a step needs at least one layer, got none")
        if layers[0] < 0:
            raise RouteError(f"layers count from 0, got {layers[0]}")
        if len(set(layers)) != len(layers):
            twice = next(a for a, b in pairwise(layers) if a == b)
            raise RouteError(f"a group names each layer once, got layer {twice} twice in {layers}")
        if self.merge not in ("mean", "sum"):
            raise RouteError(f'a group is merged by "mean" or "sum", got {self.merge!r}')
        object.__setattr__(self, "layers", layers)
        object.__setattr__(self, "merge", self.merge if len(layers) > 1 else "mean")

    def __str__(self) -> str:
        if len(self.layers) == 1:
            return str(self.layers[0])
        if self.merge == "sum":
            return "(" + "+".join(map(str, self.layers)) + ")"
        return "(" + " ".join(_span(a, b) for a, b in ascending_runs(self.layers)) + ")"


@dataclass(frozen=True, slots=True, order=True)
class Visit:
    """One layer at one step of a route: what is read along a route is keyed by it.

    Args:
        step: The 0-based position on the route. A group is one step.
        layer: The 0-based layer that runs there.
    """

    step: int
    layer: int


def check_length(steps: int) -> None:
    """Refuse a route with too many steps, before they are made."""
    if steps > MAX_STEPS:
        raise RouteError(f"the route is too long: expected at most {MAX_STEPS:,} steps, got {short(steps)}")


def _sorted_layers(layers: object) -> tuple[int, ...]:
    try:
        given = tuple(cast(Iterable[Any], layers))
        if not any(isinstance(layer, bool) for layer in given):
            return tuple(sorted(map(operator.index, given)))
    except TypeError:
        pass
    raise RouteError(f"the layers of a step are integers, got {short(layers)}")


def ascending_runs(layers: Sequence[int]) -> Iterator[tuple[int, int]]:
    """The longest stretches in which each layer follows the one before it, as first and last layer.

    >>> list(ascending_runs([0, 1, 2, 2, 5, 4]))
    [(0, 2), (2, 2), (5, 5), (4, 4)]
    """
    start = 0
    for i in range(1, len(layers) + 1):
        if i == len(layers) or layers[i] != layers[i - 1] + 1:
            yield layers[start], layers[i - 1]
            start = i


def steps_in_order(steps: Sequence[Step], start: int) -> int:
    """Count the steps from `start` on, itself included, that are single layers following each other up or down."""
    up = run_length(steps, start, lambda a, b: _follows(a, b, 1))
    down = run_length(steps, start, lambda a, b: _follows(a, b, -1))
    return max(up, down)


def _span(first: int, last: int) -> str:
    return str(first) if first == last else f"{first}-{last}"


def run_length(steps: Sequence[Step], start: int, continues: Callable[[Step, Step], bool]) -> int:
    """Count the steps from `start` on, each of which continues the one before."""
    end = start + 1
    while end < len(steps) and continues(steps[end - 1], steps[end]):
        end += 1
    return end - start


def _follows(a: Step, b: Step, by: int) -> bool:
    return len(a.layers) == len(b.layers) == 1 and b.layers[0] == a.layers[0] + by


def out_of_range(layer: int, n_layers: int) -> str:
    """An error message for a layer that the model does not have."""
    return f"layer {layer} does not exist: this model has layers 0 to {n_layers - 1}"
