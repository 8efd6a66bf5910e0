"""What a model does after its layers, its final norm and unembedding, for residual streams from wherever."""

from __future__ import annotations

from typing import cast

import torch
from jaxtyping import Float
from torch import Tensor
from transformer_lens.hook_points import HookPoint
from transformer_lens.model_bridge import TransformerBridge

from mechpaint.engine.compatibility import silenced
from mechpaint.engine.route_runner import RouteRunner

UNEMBEDDED = "unembed.hook_in"
"""The hook point of what is unembedded: the final residual stream after the final norm."""


class Tail:
    """A model's own final norm and unembedding, with every hook silenced; gradients pass."""

    def __init__(self, model: TransformerBridge) -> None:
        self._model = model
        self._runner = RouteRunner(model)

    def logits(self, streams: Float[Tensor, "row d_model"]) -> Float[Tensor, "row vocab"]:
        """The logits of residual streams, position by position."""
        with silenced(self._model):
            return self._runner.tail(streams)

    def normed(self, streams: Float[Tensor, "row d_model"]) -> Float[Tensor, "row d_unembedded"]:
        """What is unembedded of residual streams."""
        caught: list[Tensor] = []

        def catch(tensor: Tensor, hook: HookPoint) -> None:
            caught.append(tensor.detach().clone())

        with torch.no_grad(), silenced(self._model), self._model.hooks(fwd_hooks=[(UNEMBEDDED, catch)]):
            self._runner.tail(streams)
        return caught[0].reshape(len(streams), -1)

    def direction(self, token: int) -> tuple[Float[Tensor, "d_unembedded"], float]:
        """A token's row of the unembedding, in float64, and its bias."""
        weight, bias = self._model.W_U, cast("Tensor | None", getattr(self._model, "b_U", None))
        return weight[:, token].detach().double(), 0.0 if bias is None else float(bias[token])
