"""Models with other tensors: none at all, or the random ones of a single layer.

On torch's `meta` device a model has the shapes of everything and the numbers of nothing. What is to be measured needs
numbers, whichever: `fill` gives every layer those of one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge

_RANDOM = 2**20


def is_outline(model: TransformerBridge) -> bool:
    """Whether a model has shapes only.

    Args:
        model: Any.
    """
    return any(parameter.is_meta for parameter in model.original_model.parameters())


def empty(model: TransformerBridge) -> None:
    """Take a model's numbers away.

    Args:
        model: The model, which is changed.
    """
    _replace(model, lambda tensor: tensor.to("meta"))


def fill(model: TransformerBridge, device: torch.device | str) -> None:
    """Give a model random numbers: each layer the same ones, as far as their shapes are the same.

    It then takes as long as it would with its own weights, and memory for one layer and the embeddings.

    Args:
        model: The model, which is changed.
        device: Where it is to be.
    """
    blocks = cast("list[nn.Module]", model.blocks)
    places = {id(tensor): name for block in blocks for _, _, name, tensor in _tensors(block)}
    shared: dict[tuple[str, torch.Size, torch.dtype], Tensor] = {}

    def filled(tensor: Tensor) -> Tensor:
        if id(tensor) not in places:
            return _random(tensor, device)
        key = (places[id(tensor)], tensor.shape, tensor.dtype)
        if key not in shared:
            shared[key] = _random(tensor, device)
        return shared[key]

    _replace(model, filled)
    model.cfg.device = str(device)


def _replace(model: TransformerBridge, made: Callable[[Tensor], Tensor]) -> None:
    """Put other tensors in place of a model's: of one that several modules have, one."""
    new: dict[int, Tensor] = {}
    found = [*_tensors(model), *_tensors(model.original_model)]  # which keeps them all, and so their identities
    for module, attribute, _, tensor in found:
        if id(tensor) not in new:
            other = made(tensor)
            is_parameter = isinstance(tensor, nn.Parameter)
            new[id(tensor)] = nn.Parameter(other, requires_grad=False) if is_parameter else other
        setattr(module, attribute, new[id(tensor)])


def _tensors(whole: nn.Module) -> Iterator[tuple[nn.Module, str, str, Tensor]]:
    """Every place with a parameter or a buffer: the module, the name there, the name in the whole, the tensor."""
    for name, module in cast("Iterator[tuple[str, nn.Module]]", whole.named_modules()):
        own: list[tuple[str, Tensor]] = [*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)]
        for attribute, tensor in own:
            yield module, attribute, f"{name}.{attribute}", tensor


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
