"""Models with other tensors: none at all, or the random ones of a single layer.

On torch's `meta` device a model has the shapes of everything and the numbers of nothing. What is to be measured needs
numbers, whichever: `fill` gives every layer those of one.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn

from mechpaint.errors import LoadError
from mechpaint.models.bridges import bridge_of
from mechpaint.models.hugging_face import configuration, kind_of_model, on_hub, tokenizer_of
from mechpaint.models.loading import known_dtype
from mechpaint.models.presets import PRESETS
from mechpaint.toy.storage import is_toy

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge

_RANDOM = 2**20


def is_meta(model: TransformerBridge) -> bool:
    """Recognise a model that has shapes only."""
    return any(parameter.is_meta for parameter in model.original_model.parameters())


def empty(model: TransformerBridge) -> None:
    """Take a model's numbers away."""
    _replace(model, lambda tensor: tensor.to("meta"))


def fill(model: TransformerBridge, device: torch.device | str) -> None:
    """Give a model random numbers that layers of one shape share: the time of real weights, the memory of a layer."""
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
    tensors = [*_tensors(model), *_tensors(model.original_model)]  # which keeps them all, and so their identities
    for module, attribute, _, tensor in tensors:
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


def meta_model(model: str | Path | Mapping[str, Any], *, dtype: str | torch.dtype | None = None) -> TransformerBridge:
    """A model without its weights, on torch's `meta` device: its shapes, from its configuration alone."""
    import transformers

    precision = known_dtype(dtype or "float32")
    if isinstance(model, Mapping):
        config, source, name = cast(Any, transformers.AutoConfig).for_model(**model), None, str(model["model_type"])
    else:
        source, name = str(PRESETS[str(model)].folder() if str(model) in PRESETS else model), str(model)
        source = source if Path(source).exists() else on_hub(source)
        if is_toy(source):
            raise LoadError(f"{name} is a toy, which has no shape without weights: expected a model of Hugging Face's")
        config = configuration(source, name, trust_remote_code=False)
    tokenizer = None if source is None or Path(source).is_file() else tokenizer_of(source, False)
    return _without_numbers(kind_of_model(config), config, precision, tokenizer, name)


def meta_model_of(model: TransformerBridge) -> TransformerBridge | None:
    """A model's outline, built from its class and configuration."""
    from transformers import PreTrainedModel

    original: Any = model.original_model
    if not isinstance(original, PreTrainedModel):
        return None
    config = copy.deepcopy(original.config)
    return _without_numbers(type(original), config, original.dtype, None, type(original).__name__)


def _without_numbers(kind: Any, config: Any, dtype: torch.dtype | None, tokenizer: Any, name: str) -> TransformerBridge:
    """A bridge on the meta device."""
    with torch.device("meta"):
        module: Any = kind(config) if hasattr(kind, "config_class") else kind.from_config(config)
    bridge = bridge_of_zeros(module.to(dtype), tokenizer, name)
    empty(bridge)
    return bridge


def bridge_of_zeros(module: Any, tokenizer: Any, name: str) -> TransformerBridge:
    """A bridge on a module of the meta device, for other tensors to be put into.

    TransformerLens divides matrices that several parts share, and refuses where it finds no numbers. So it is given
    zeros, all of a matrix the same one in memory.
    """
    state = module.state_dict()
    zeros = {key: torch.zeros((), dtype=tensor.dtype).expand(tensor.shape) for key, tensor in state.items()}
    module.load_state_dict(zeros, assign=True)
    module.tie_weights()
    return bridge_of(module, tokenizer, name, compare=False)
