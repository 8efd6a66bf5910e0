"""The tokens that one asks about, and where."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

from mechpaint.display.sanitize import short
from mechpaint.errors import InputError

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge


def one_token(model: TransformerBridge, given: str | int) -> int:
    """A token id, of itself or of a text that is a single token."""
    size = int(model.cfg.d_vocab_out if model.cfg.d_vocab_out > 0 else model.cfg.d_vocab)
    if isinstance(given, str):
        return _of_text(model, given)
    if isinstance(cast(object, given), bool) or not hasattr(given, "__index__") or not 0 <= int(given) < size:
        raise InputError(f"expected a token: a text, or a number from 0 to {size - 1:,}; got {short(given)}")
    return operator.index(given)


def _of_text(model: TransformerBridge, text: str) -> int:
    tokenizer = model.tokenizer
    if tokenizer is None:
        raise InputError(f"this model has no tokenizer, so it cannot read {short(text)}: give the token's number")
    ids = cast("list[int]", tokenizer(text, add_special_tokens=False)["input_ids"])
    if len(ids) != 1:
        parts = ", ".join(short(str(tokenizer.decode([token]))) for token in ids[:8]) or "none"
        raise InputError(
            f"expected a single token, and {short(text)} is {len(ids)}: {parts}. Give the first, or the text as it "
            "stands within a sentence, with a space before it"
        )
    return ids[0]


def chosen_positions(given: int | Sequence[int] | None, length: int) -> tuple[int, ...]:
    """Positions of a text from 0; None for all, negative ones from the last."""
    if given is None:
        return tuple(range(length))
    listed = [given] if isinstance(given, int) else list(given)
    for position in listed:
        if isinstance(cast(object, position), bool) or not hasattr(position, "__index__"):
            raise InputError(f"positions are integers, got {short(position)}")
        if not -length <= position < length:
            raise InputError(f"position {position} does not exist: the text has {length} tokens, 0 to {length - 1}")
    if not listed:
        raise InputError("no positions were given: expected one or more; None for all")
    return tuple(operator.index(position) % length for position in listed)
