"""The text of each token, as people read it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from jaxtyping import Int
from torch import Tensor

from mechpaint.display.sanitize import sanitize, short
from mechpaint.errors import InputError

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge


def token_texts(model: TransformerBridge, tokens: Int[Tensor, "position"]) -> list[str]:
    """Each token as text; its number where the model has no tokenizer."""
    tokenizer = model.tokenizer
    if tokenizer is None:
        return [str(int(token)) for token in tokens]
    return [str(tokenizer.decode([int(token)])) for token in tokens]


def one_row(
    model: TransformerBridge, text: str | Sequence[int] | Int[Tensor, "position"] | Int[Tensor, "1 position"]
) -> Int[Tensor, "1 position"]:
    """A single text, or its token ids, as what a model takes."""
    if isinstance(text, str):
        if model.tokenizer is None:
            raise InputError(f"this model has no tokenizer, so it cannot read {text!r}: give token ids")
        tokens = model.to_tokens(text, truncate=False)
    else:
        tokens = _token_ids(text).to(model.cfg.device)
    most = int(model.cfg.n_ctx)
    if not 0 < tokens.shape[1] <= most:
        raise InputError(
            f"got {tokens.shape[1]:,} tokens to read: expected 1 to {most:,}, which is what the model takes"
        )
    return tokens


def _token_ids(given: object) -> Int[Tensor, "1 position"]:
    """A row of token ids, from a tensor or a list."""
    try:
        tokens = torch.as_tensor(given)
    except (TypeError, ValueError, RuntimeError):
        tokens = torch.empty(0)
    if tokens.ndim not in (1, 2) or (tokens.ndim == 2 and len(tokens) != 1) or tokens.is_floating_point():
        raise InputError(f"expected a text, or the token ids of one, got {short(given)}")
    return tokens.reshape(1, -1)


def visible_token(token: str) -> str:
    """A token with its blanks and breaks made visible, and whatever else one would not see."""
    marked = token.replace(" ", "·").replace("\n", "↵").replace("\t", "→")
    return "".join(c if c.isprintable() else "�" for c in sanitize(marked)) or "∅"
