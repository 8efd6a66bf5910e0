"""Models without weights: named shapes, and the same shape with random weights of a single layer.

`mechpaint.models.outline` makes a model on torch's `meta` device, which has the shapes of everything and the numbers of
nothing. What is to be measured needs numbers, whichever: `with_random_weights` gives every layer those of one.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn

from mechpaint.conductor import Conductor
from mechpaint.models import outline

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge

_RANDOM = 2**20


def to_plan(model: str, dtype: str | None, *, measured: bool) -> TransformerBridge:
    """A model to plan with: its shape alone, or with random weights of one layer.

    Args:
        model: One of `SHAPES`, or whatever `mechpaint.models.outline` takes.
        dtype: Its precision; None for float32.
        measured: Whether it is to be run here. If not, it still has numbers where its own code looks at them.

    Raises:
        LoadError: No such configuration, dtype or architecture.
        CannotReroute: Its layers cannot be rerouted.
    """
    found = outline(SHAPES.get(model, model), dtype=dtype)
    if not measured:
        try:
            Conductor(found)
        except (RuntimeError, NotImplementedError):
            return with_random_weights(found)
        return found
    return with_random_weights(found, "cpu")


def on_meta(model: TransformerBridge) -> TransformerBridge:
    """A copy of a model without its weights. The tokenizer is the same.

    Args:
        model: The model, which stays as it is.
    """

    def shape_only(name: str, tensor: Tensor) -> Tensor:
        return tensor.to("meta")

    return _copied(model, shape_only)


def with_random_weights(model: TransformerBridge, device: torch.device | str = "cpu") -> TransformerBridge:
    """A copy of a model with random weights: each layer has the same ones, as far as their shapes are the same.

    It takes as long as the model would with its own weights, and memory for one layer and the embeddings.

    Args:
        model: A model, on torch's `meta` device or not.
        device: Where the copy is to be.
    """
    places = _places(model)
    shared: dict[tuple[str, torch.Size, torch.dtype], Tensor] = {}

    def filled(name: str, tensor: Tensor) -> Tensor:
        if id(tensor) not in places:
            return _random(tensor, device)
        key = (places[id(tensor)], tensor.shape, tensor.dtype)
        if key not in shared:
            shared[key] = _random(tensor, device)
        return shared[key]

    found = _copied(model, filled)
    found.cfg.device = str(device)
    return found


def _places(model: TransformerBridge) -> dict[int, str]:
    """From the identities of the layers' tensors to their names within their layer."""
    blocks = cast("list[nn.Module]", model.blocks)
    return {id(tensor): name for block in blocks for name, tensor in _tensors(block)}


def _tensors(module: nn.Module) -> list[tuple[str, Tensor]]:
    """Parameters and buffers with their names, each once."""
    return [*module.named_parameters(), *module.named_buffers()]


def _copied(model: TransformerBridge, made: Callable[[str, Tensor], Tensor]) -> TransformerBridge:
    """A copy whose tensors are made anew, from name and tensor: what referred to one of them refers to one still."""
    memo: dict[int, Any] = {id(model.tokenizer): model.tokenizer}
    for name, tensor in (*_tensors(model), *_tensors(model.original_model)):
        if id(tensor) not in memo:
            new = made(name, tensor)
            memo[id(tensor)] = nn.Parameter(new, requires_grad=False) if isinstance(tensor, nn.Parameter) else new
    return copy.deepcopy(model, memo)


def _random(tensor: Tensor, device: torch.device | str) -> Tensor:
    """Numbers with which nothing overflows: small ones in matrices, ones in vectors."""
    if not tensor.is_floating_point():
        return torch.zeros(tensor.shape, dtype=tensor.dtype, device=device)
    if tensor.ndim < 2:
        return torch.ones(tensor.shape, dtype=tensor.dtype, device=device)
    few = 0.02 * torch.randn(
        _RANDOM, generator=torch.Generator().manual_seed(0)
    )  # drawing billions takes longer than what is measured
    whole = few.repeat(-(-tensor.numel() // _RANDOM))[: tensor.numel()]
    return whole.view(tensor.shape).to(device=device, dtype=tensor.dtype)


_LLAMA_2: Mapping[str, Any] = {
    "vocab_size": 32000,
    "max_position_embeddings": 4096,
    "rms_norm_eps": 1e-5,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
}

SHAPES: Mapping[str, Mapping[str, Any]] = {
    "llama-2-7b": {
        **_LLAMA_2,
        "hidden_size": 4096,
        "intermediate_size": 11008,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "num_key_value_heads": 32,
    },
    "llama-2-13b": {
        **_LLAMA_2,
        "hidden_size": 5120,
        "intermediate_size": 13824,
        "num_hidden_layers": 40,
        "num_attention_heads": 40,
        "num_key_value_heads": 40,
    },
    "llama-2-70b": {
        **_LLAMA_2,
        "hidden_size": 8192,
        "intermediate_size": 28672,
        "num_hidden_layers": 80,
        "num_attention_heads": 64,
        "num_key_value_heads": 8,
    },
}
"""Configurations by name, as Meta published them with the weights of Llama 2 (Touvron et al. 2023)."""
