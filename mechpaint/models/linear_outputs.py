"""What linear layers made of what they were given: a second pass over a model need not read their weights again."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from functools import partial

from torch import Tensor, nn


class LinearOutputs:
    """The inputs and outputs of a model's linear layers. Reading their weights is most of a pass over few tokens."""

    def __init__(self, module: nn.Module) -> None:
        self._layers = [part for part in module.modules() if isinstance(part, nn.Linear) and _is_plain(part)]
        self._outputs: dict[tuple[int, int, int], list[tuple[Tensor, Tensor]]] = {}

    @contextmanager
    def reused(self) -> Generator[None]:
        """Within this context a linear layer gives what it gave before, for the same bits and the same weights."""
        for layer in self._layers:
            vars(layer)["forward"] = partial(self._forward, layer, layer.forward)
        try:
            yield
        finally:
            for layer in self._layers:
                del vars(layer)["forward"]

    def _forward(self, layer: nn.Linear, forward: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
        known = self._outputs.setdefault((id(layer), *_state(layer.weight)), [])
        for given, made in known:
            if given.shape == x.shape and given.equal(x):
                return made.clone()  # models write into what they get
        known.append((x.clone(), forward(x)))
        return known[-1][1].clone()


def _is_plain(part: nn.Linear) -> bool:
    """Tell whether a layer's output follows from its input, weight and bias alone."""
    if type(part) is not nn.Linear or {"forward", "_hf_hook"} & vars(part).keys():
        return False
    return isinstance(part.weight, nn.Parameter)  # otherwise a hook makes it anew for each call


def _state(weight: Tensor) -> tuple[int, int]:
    """Which values a weight holds: where, and how often it was written to."""
    return weight.data_ptr(), weight._version  # pyright: ignore[reportPrivateUsage] # torch's notes on autograd name it
