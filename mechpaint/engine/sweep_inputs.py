"""What a sweep is given: tokens, mask, positions and further inputs that fit together and the model."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Mapping
from typing import Any, Literal, TypeAlias, cast

import torch
from jaxtyping import Bool
from torch import Tensor, nn
from transformer_lens.model_bridge import TransformerBridge

from mechpaint.display.sanitize import short
from mechpaint.engine.arguments import Text, as_tokens
from mechpaint.engine.by_name import refuse_bounds
from mechpaint.engine.compatibility import check_mask_values
from mechpaint.errors import InputError

Positions: TypeAlias = 'Literal["all", "last"] | Bool[Tensor, "batch position"]'

_INSTEAD = {
    "past_key_values": "it has no key-value cache: give whole texts, or generate under mechpaint.attach",
    "inputs_embeds": "it runs token ids: give embeddings to the model under mechpaint.attach",
    "return_type": "it always gives logits: take their loss, or use mechpaint.attach",
    "labels": "it always gives logits: take their loss",
    "output_hidden_states": "it gives final residual streams with residuals(), others under mechpaint.attach",
    "logits_to_keep": "positions= says where logits are wanted",
    "num_logits_to_keep": "positions= says where logits are wanted",
    "input_ids": "they are its tokens",
    "return_dict": "it always gives logits",
    "use_cache": "it has no key-value cache",
    "output_attentions": "attention patterns are read by hook sets under mechpaint.attach",
}
"""What a model takes and a sweep does not, and what to do."""


def checked_tokens(
    model: TransformerBridge, given: Text, attention_mask: Tensor | None
) -> tuple[Tensor, Tensor | None]:
    """Token ids `[batch, position]` with their mask, on whatever device; texts bring a mask of their own."""
    if isinstance(given, Tensor):
        _check_tokens(model, given)
        _check_mask(given, attention_mask)
        return given.long(), attention_mask
    if attention_mask is not None:
        raise InputError("texts have an attention mask of their own: expected none, or tokens with it")
    return as_tokens(model, given)


def _check_tokens(model: TransformerBridge, tokens: Tensor) -> None:
    if tokens.ndim != 2 or tokens.is_floating_point() or tokens.dtype == torch.bool or tokens.numel() == 0:
        raise InputError(f"tokens must be integers [batch, position], got {tokens.dtype} {tuple(tokens.shape)}")
    whole: Any = model.original_model
    table = getattr(whole.get_input_embeddings(), "weight", None) if hasattr(whole, "get_input_embeddings") else None
    if not isinstance(table, Tensor) or tokens.device.type == "meta":
        return
    least, most = int(tokens.min()), int(tokens.max())
    if least < 0 or most >= len(table):
        raise InputError(
            f"token ids must be from 0 to {len(table) - 1}, got {least if least < 0 else most}: "
            "they are not of this model's tokenizer"
        )


def _check_mask(tokens: Tensor, attention_mask: object) -> None:
    if attention_mask is None:
        return
    if not isinstance(attention_mask, Tensor):
        raise InputError(f"attention_mask must be a tensor [batch, position], got {short(attention_mask)}")
    if attention_mask.shape != tokens.shape:
        raise InputError(
            f"attention_mask must have the shape of tokens, {tuple(tokens.shape)}, got {tuple(attention_mask.shape)}"
        )
    check_mask_values(attention_mask)


def check_inputs(model: TransformerBridge, tokens: Tensor, inputs: Mapping[str, Any]) -> None:
    """Refuse inputs that the model would ignore, or that a sweep cannot share."""
    for name, value in inputs.items():
        if isinstance(value, Tensor) and value.ndim == 2 and value.shape[1] != tokens.shape[1]:
            raise InputError(f"{name} must have {tokens.shape[1]} positions, as the tokens, got {tuple(value.shape)}")
        if name in ("stop_at_layer", "start_at_layer") and value is not None:
            refuse_bounds()
        if name in _INSTEAD and value is not None:
            raise InputError(f"a sweep takes no {name!r}: {_INSTEAD[name]}")
    known = set(inspect.signature(cast(Any, model.original_model).forward).parameters) - {"kwargs", "args", *_INSTEAD}
    unknown = sorted(set(inputs) - known)
    if unknown:
        near = difflib.get_close_matches(unknown[0], known, n=1)
        instead = f", but {near[0]!r}" if near else ""
        name = type(model.original_model).__name__
        raise InputError(f"{name} takes no {unknown[0]!r}{instead}: it would be ignored")


def checked_size(max_batch_tokens: object) -> int | None:
    """The most tokens of a call, or None."""
    if max_batch_tokens is None:
        return None
    if not isinstance(max_batch_tokens, int) or isinstance(max_batch_tokens, bool) or max_batch_tokens < 1:
        raise InputError(f"max_batch_tokens must be a number of tokens, 1 or more, got {short(max_batch_tokens)}")
    return max_batch_tokens


def check_evaluating(model: TransformerBridge) -> None:
    """Refuse dropout, which would be drawn once for all the routes that share a visit."""
    whole: nn.Module = model.original_model
    config: object = getattr(whole, "config", None)
    settings = {} if config is None else cast(dict[str, object], vars(config))
    drops = any(isinstance(value, float) and value and "drop" in name for name, value in settings.items())
    drops = drops or any(isinstance(part, nn.Dropout) and part.p for part in whole.modules())
    if drops and any(part.training for part in whole.modules()):
        raise InputError(
            f"this {type(whole).__name__} is in training mode, and drops at random what routes share: "
            "call model.eval() for a sweep"
        )


def selected(positions: object, tokens: Tensor, attention_mask: Tensor | None) -> Bool[Tensor, "batch position"]:
    """The wanted positions as a boolean mask."""
    if isinstance(positions, Tensor):
        if positions.shape != tokens.shape or positions.dtype != torch.bool or not positions.any():
            raise InputError(
                f"positions must be a boolean mask of shape {tuple(tokens.shape)} with something selected, "
                f"got {positions.dtype} {tuple(positions.shape)}"
            )
        return positions.to(tokens.device)
    if not isinstance(positions, str) or positions not in ("all", "last"):
        raise InputError(f'positions must be "all", "last" or a boolean mask (a torch tensor), got {short(positions)}')
    if positions == "all":
        return torch.ones_like(tokens, dtype=torch.bool)
    real = torch.ones_like(tokens) if attention_mask is None else (attention_mask != 0).long()
    if not real.any(dim=1).all():
        raise InputError("a row of attention_mask has no real token, so it has no last one")
    order = torch.arange(1, tokens.shape[1] + 1, device=tokens.device)
    last = (real * order).argmax(dim=1, keepdim=True)
    return torch.zeros_like(tokens, dtype=torch.bool).scatter(1, last, True)
