"""The text of each token, as people read it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jaxtyping import Int
from torch import Tensor

from mechpaint.display.sanitize import sanitize
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
    model: TransformerBridge, text: str | Int[Tensor, "position"] | Int[Tensor, "1 position"]
) -> Int[Tensor, "1 position"]:
    """A single text, or its token ids, as what a model takes."""
    if isinstance(text, str):
        if model.tokenizer is None:
            raise InputError(f"this model has no tokenizer, so it cannot read {text!r}: give token ids")
        tokens = model.to_tokens(text, truncate=False)
    else:
        tokens = text.reshape(1, -1).to(model.cfg.device)
    most = int(model.cfg.n_ctx)
    if not 0 < tokens.shape[1] <= most:
        raise InputError(
            f"got {tokens.shape[1]:,} tokens to read: expected 1 to {most:,}, which is what the model takes"
        )
    return tokens


def visible_token(token: str) -> str:
    """A token with its blanks and breaks made visible, and whatever else one would not see."""
    marked = token.replace(" ", "·").replace("\n", "↵").replace("\t", "→")
    return "".join(c if c.isprintable() else "�" for c in sanitize(marked)) or "∅"
