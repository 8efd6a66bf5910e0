"""The variants of "Transformer Layers as Painters" (arXiv 2407.09298) and their hook sets.

For T layers and a start layer N, the head is 0..N, the middle N+1..T-N-1 and the tail T-N..T-1, as in the paper's
code. The paper's figures count the M = T - 2N - 1 layers of the middle.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from mechpaint.errors import AnalysisError
from mechpaint.hooks import Average, Fill, Loop, Pair, Reverse, Shuffle, Skip, Swap
from mechpaint.routes.hookset import HookSet
from mechpaint.routes.route import Route


@dataclass(frozen=True, slots=True, order=True)
class Variant:
    """One experiment of the paper.

    Args:
        method: One of `METHODS`.
        start_layer: N. For `skip_idx_layer` and `switch_idx_layer` the layer itself; 0 for `baseline`.
        repeat_or_seed: How often a looping method repeats; the seed of `random`; None for the others.
    """

    method: str
    start_layer: int = 0
    repeat_or_seed: int | None = None

    @classmethod
    def parse(cls, label: str) -> Variant | None:
        """Parse the text form of a variant; None if `label` is not one."""
        match = re.fullmatch(r"(\w+) N=(\d+)(?: (\d+))?", label)
        if match is None or match[1] not in METHODS:
            return None
        return cls(match[1], int(match[2]), int(match[3]) if match[3] else None)

    def affected(self, n_layers: int) -> int:
        """M, the number of layers in the middle."""
        return n_layers - 2 * self.start_layer - 1

    @property
    def at_random(self) -> bool:
        """True for one draw of many, with `repeat_or_seed` as its seed."""
        return self.method == "random"

    def hook_set(self, n_layers: int) -> HookSet:
        """The hook set for a model of `n_layers` layers."""
        if self.method not in METHODS:
            raise AnalysisError(f"there is no method {self.method!r}; there are: {', '.join(METHODS)}")
        return METHODS[self.method](self, n_layers)

    def __str__(self) -> str:
        extra = "" if self.repeat_or_seed is None else f" {self.repeat_or_seed}"
        return self.method if self.method == "baseline" else f"{self.method} N={self.start_layer}{extra}"


def variant(method: str, n_layers: int, start_layer: int = 0, repeat_or_seed: int | None = None) -> Route:
    """The route of one of the paper's experiments."""
    return Variant(method, start_layer, repeat_or_seed).hook_set(n_layers).route(n_layers)


def suite(
    n_layers: int, start_layers: Iterable[int] | None = None, seeds: int = 10, loops: Iterable[int] = (3,)
) -> tuple[Variant, ...]:
    """Every experiment of figures 2, 4 to 9, 11 and 17, and summed pairs, without the plain model."""
    possible = range((n_layers + 1) // 2) if start_layers is None else start_layers
    starts = [n for n in possible if _middle(n, n_layers)]
    variants = [Variant(method, n) for n in starts for method in ("skip", "middle_repeat", "reverse", "pairs")]
    variants += [Variant("random", n, seed) for n in starts for seed in range(seeds)]
    variants += [Variant("loop_parallel", n, times) for n in starts for times in dict.fromkeys((1, *loops))]
    variants += [Variant("repeat_sequence", n, times) for n in starts for times in (2, 3)]
    variants += [Variant("skip_idx_layer", layer) for layer in range(n_layers)]
    variants += [Variant("switch_idx_layer", layer) for layer in range(n_layers - 1)]
    return tuple(variants)


def _middle(start_layer: int, n_layers: int) -> range:
    if not 0 <= 2 * start_layer < n_layers:
        raise AnalysisError(
            f"start layer N={start_layer} does not fit {n_layers} layers: head 0..N and tail T-N..T-1 would overlap; "
            f"expected 0 <= N <= {(n_layers - 1) // 2}"
        )
    return range(start_layer + 1, n_layers - start_layer)


Build = Callable[[int, int, int, int], HookSet]


def _on_middle(build: Build, needs: str = "") -> Callable[[Variant, int], HookSet]:
    """A method on the middle layers: `build(first, last, n_layers, repeat_or_seed)`."""

    def hook_set(variant: Variant, n_layers: int) -> HookSet:
        middle = _middle(variant.start_layer, n_layers)
        given = variant.repeat_or_seed
        if (given is None) == bool(needs):
            raise AnalysisError(f"{variant.method} takes {needs or 'no repeat or seed'}, got {given}")
        return build(middle[0], middle[-1], n_layers, given or 0) if middle else HookSet()

    return hook_set


def _on_one_layer(build: Callable[[int], HookSet], used: int) -> Callable[[Variant, int], HookSet]:
    """A method on `used` consecutive layers from the start layer on."""

    def hook_set(variant: Variant, n_layers: int) -> HookSet:
        if not 0 <= variant.start_layer <= n_layers - used:
            raise AnalysisError(
                f"{variant.method} at layer {variant.start_layer} does not fit {n_layers} layers: "
                f"expected 0 to {n_layers - used}"
            )
        return build(variant.start_layer)

    return hook_set


def _loop_parallel(first: int, last: int, n_layers: int, times: int) -> HookSet:
    return Average(first, last) + Loop(first, last, times)


METHODS: Mapping[str, Callable[[Variant, int], HookSet]] = {
    "baseline": lambda variant, n_layers: HookSet(),
    "skip": _on_middle(lambda first, last, n_layers, _: Skip(first, last)),
    "middle_repeat": _on_middle(lambda first, last, n_layers, _: Fill(first, last, n_layers // 2)),
    "reverse": _on_middle(lambda first, last, n_layers, _: Reverse(first, last)),
    "random": _on_middle(lambda first, last, n_layers, seed: Shuffle(first, last, seed), needs="a seed"),
    "loop_parallel": _on_middle(_loop_parallel, needs="a repeat"),
    "repeat_sequence": _on_middle(lambda first, last, n_layers, times: Loop(first, last, times), needs="a repeat"),
    "pairs": _on_middle(lambda first, last, n_layers, _: Pair(first, last)),
    "skip_idx_layer": _on_one_layer(lambda layer: Skip(layer, layer), used=1),
    "switch_idx_layer": _on_one_layer(lambda layer: Swap(layer, layer + 1), used=2),
}
"""From a method to its hook set. The names are those of the paper's code, but for `repeat_sequence` (figure 17) and
`pairs` (Layer Parallelism, arXiv 2502.02790), which it does not have."""
