"""From texts to token rows that fit a model's context."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from mechpaint.errors import TaskError
from mechpaint.models.loading import require_tokenizer
from mechpaint.scoring.items import Rowed

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge


def context(model: TransformerBridge) -> int:
    """How many positions a model has been made for."""
    return int(model.cfg.n_ctx)


def within_context(model: TransformerBridge, item: Rowed) -> bool:
    """Whether no row of an item is longer than the model's context."""
    return max(map(len, item.rows())) <= context(model)


def encode(
    model: TransformerBridge, what: str, prompt: str, choices: Sequence[str]
) -> tuple[tuple[int, ...], tuple[tuple[int, ...], ...]]:
    """Token ids of a prompt, with the beginning-of-text token if the model has one, and of its continuations.

    A continuation's tokens are those of prompt and continuation together, less the prompt's; so choices begin with
    the space that sets them off.

    Raises:
        TaskError: The tokenizer merges the prompt's end with a continuation's beginning.
    """
    tokenizer = require_tokenizer(model, what)
    start = begin(model)
    ids: list[int] = tokenizer(prompt, add_special_tokens=False)["input_ids"]
    found: list[tuple[int, ...]] = []
    for choice in choices:
        whole: list[int] = tokenizer(prompt + choice, add_special_tokens=False)["input_ids"]
        if whole[: len(ids)] != ids:
            raise TaskError(f"this tokenizer does not split {prompt + choice!r} after {prompt!r}")
        found.append(tuple(whole[len(ids) :]))
    return (*start, *ids), tuple(found)


def begin(model: TransformerBridge) -> tuple[int, ...]:
    """The beginning-of-text token, for models that expect one."""
    tokenizer = model.tokenizer
    if tokenizer is None or not getattr(model.cfg, "tokenizer_prepends_bos", False):
        return ()
    first = tokenizer.bos_token_id
    return () if first is None else (int(first),)


def windows(model: TransformerBridge, text: str, length: int, what: str) -> dict[int, tuple[int, ...]]:
    """A text cut into windows of equal length that do not overlap; what is left at its end is dropped.

    Args:
        model: Whose tokens they are made of.
        text: The text.
        length: How many tokens a window has, the beginning-of-text token included where the model expects one.
        what: What needs them, for what goes wrong.

    Returns:
        From the place of a window's first token in the text to its tokens.

    Raises:
        TaskError: The text is shorter than one window.
        LoadError: The model has no tokenizer.
    """
    tokenizer = require_tokenizer(model, what)
    start = begin(model)
    size = length - len(start)
    ids: list[int] = tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]
    if size < 1 or len(ids) < size:
        raise TaskError(f"{what} has {len(ids)} tokens, fewer than one window of {max(1, size)}")
    return {first: (*start, *ids[first : first + size]) for first in range(0, len(ids) - size + 1, size)}
