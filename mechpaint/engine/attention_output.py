"""What each head writes: the output projection head by head, and the norm that some models put after it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn
from transformer_lens.model_bridge import TransformerBridge

from mechpaint.engine.unhooked_layers import unwrapped
from mechpaint.errors import InputError


def head_outputs(
    model: TransformerBridge, layer: int, gathered: Float[Tensor, "head d_head"]
) -> tuple[Float[Tensor, "head d_model"], Float[Tensor, "d_model"]]:
    """What a layer's heads make of what they have gathered, and the projection's bias; in float64."""
    attention: Any = cast(Any, model).blocks[layer].attn
    weight, bias = getattr(attention, "W_O", None), getattr(attention, "b_O", None)
    if not isinstance(weight, Tensor) or weight.shape[:2] != gathered.shape:
        raise InputError(
            f"the attention of layer {layer} of {type(model.original_model).__name__} has no output matrix by head: "
            'expected unit="component" or unit="layer"'
        )
    by_head = torch.einsum("hd,hdm->hm", gathered.double(), weight.detach().double())
    return by_head, bias.detach().double() if isinstance(bias, Tensor) else torch.zeros_like(by_head[0])


def post_norm(model: TransformerBridge, layer: int) -> Callable[[Tensor], Tensor] | None:
    """The norm between a layer's attention and the residual stream, for rows `[row, d_model]`; None if it has none."""
    norm = getattr(cast(Any, model).blocks[layer], "ln1_post", None)
    if not isinstance(norm, nn.Module):
        return None
    plain = cast("Callable[[Tensor], Tensor]", unwrapped(norm))
    return lambda rows: plain(rows[None])[0].detach()
