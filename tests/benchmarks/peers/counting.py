"""Counts how often layers run, whoever runs them."""

from __future__ import annotations

from functools import wraps
from typing import Any
from unittest import mock

from torch import Tensor, nn


class LayerCalls:
    """Within this context every forward of a kind of layer is counted, on whichever of its objects it is called.

    What is counted are tokens that pass a layer, in units of what one call of one route has. So a call on the sequences
    of two routes is two calls, and one on a single token, to see what a layer returns, is next to none.

    Args:
        layer: The class of the layers.
        tokens: How many tokens one call of one route has, over all sequences.
    """

    def __init__(self, layer: type[nn.Module], tokens: int) -> None:
        self._tokens = tokens
        self._seen = 0
        forward = layer.forward

        @wraps(forward)
        def counted(module: nn.Module, hidden_states: Tensor, *args: Any, **kwargs: Any) -> Any:
            self._seen += hidden_states.shape[:-1].numel()
            return forward(module, hidden_states, *args, **kwargs)

        self._patch = mock.patch.object(layer, "forward", counted)

    def __enter__(self) -> LayerCalls:
        self._patch.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._patch.stop()

    def taken(self) -> float:
        """How many calls there were since this was asked last."""
        calls = self._seen / self._tokens
        self._seen = 0
        return calls
