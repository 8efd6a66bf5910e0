"""The inputs that one Hugging Face forward pass hands its layers: enough to run them in any order."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import Any, TypeAlias, cast

import torch
from jaxtyping import Float, Int
from torch import Tensor
from transformers import Cache

Residual: TypeAlias = Float[Tensor, "batch position d_model"]
Tokens: TypeAlias = Int[Tensor, "batch position"]

State: TypeAlias = Mapping[str, list[tuple[int, int]]]
"""For each argument which objects it holds, and how often each was written into."""

_KEEP = "use_cache"
"""The argument by which Hugging Face's recurrent layers are told to keep their state."""


@dataclass(frozen=True, slots=True)
class LayerArguments:
    """The arguments that Hugging Face hands one layer besides the residual stream."""

    args: tuple[Any, ...]
    kwargs: dict[str, Any]

    def with_cache(self, cache: object | None) -> LayerArguments:
        """The same arguments with any key-value cache among them replaced."""

        def swap(value: object) -> object:
            return cache if isinstance(value, Cache) else value

        return LayerArguments(tuple(map(swap, self.args)), {k: swap(v) for k, v in self.kwargs.items()})

    def keeping_nothing(self, names: Sequence[str]) -> LayerArguments:
        """The same arguments for a call that leaves nothing behind, neither in a cache nor in the layer itself."""
        rest = self.with_cache(None)
        args = [False if name == _KEEP else value for name, value in zip_longest(names[: len(rest.args)], rest.args)]
        return LayerArguments(tuple(args), {k: False if k == _KEEP else v for k, v in rest.kwargs.items()})

    @property
    def cache(self) -> Cache | None:
        """The key-value cache among the arguments, if there is one."""
        return next((v for v in (*self.args, *self.kwargs.values()) if isinstance(v, Cache)), None)

    def named(self) -> dict[str, Any]:
        """Every argument by its name, or if it has none by its place."""
        return {**{f"argument {i}": value for i, value in enumerate(self.args, start=1)}, **self.kwargs}

    def state(self, residual: Tensor) -> State:
        """Everything the arguments hold now; it changes when something is written into them."""
        everything = {"residual stream": residual, **self.named()}
        return {name: [(id(leaf), _version(leaf)) for leaf in leaves(value)] for name, value in everything.items()}


def leaves(value: object) -> Iterator[object]:
    """Yield a value itself, or everything inside a container, however deep."""
    if isinstance(value, Mapping):
        value = list(cast(Mapping[object, object], value).values())
    if isinstance(value, list | tuple):
        for part in cast(Sequence[object], value):
            yield from leaves(part)
    else:
        yield value


def _version(value: object) -> int:
    """Count writes into a tensor; in inference mode, where torch does not count them, hash what it holds."""
    if not isinstance(value, Tensor):
        return 0
    if not value.is_inference():
        return value._version
    return hash(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())


@dataclass(slots=True)
class LayerInputs:
    """The inputs that one forward pass hands its layers: enough to run any route from the embeddings."""

    embeddings: Residual
    layers: list[LayerArguments] = field(default_factory=list[LayerArguments])

    def keeping_nothing(self, names: Sequence[str]) -> LayerInputs:
        """The same for calls that leave nothing behind; `names` as for `LayerArguments.keeping_nothing`."""
        return LayerInputs(self.embeddings, [layer.keeping_nothing(names) for layer in self.layers])
