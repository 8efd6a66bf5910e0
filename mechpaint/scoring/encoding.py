"""From texts to token rows that fit a model's context."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from mechpaint.errors import TaskError
from mechpaint.models.loading import require_tokenizer
from mechpaint.scoring.items import Rowed

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge


@contextmanager
def encoding(what: str) -> Generator[None]:
    """Say of what a tokenizer cannot encode that it is so.

    The `tokenizers` package raises plain exceptions, as for a character that is not in a vocabulary without an unknown
    token.
    """
    try:
        yield
    except Exception as error:
        if type(error) is not Exception:
            raise
        raise TaskError(
            f"the tokenizer of this model cannot encode the text of {what} ({error}): expected a model whose "
            "vocabulary has its characters, or a task without text, such as induction"
        ) from error


def context(model: TransformerBridge) -> int:
    """The number of positions a model was made for."""
    return int(model.cfg.n_ctx)


def within_context(model: TransformerBridge, item: Rowed) -> bool:
    """Whether all rows of an item fit the model's context."""
    return max(map(len, item.rows())) <= context(model)


def encode(
    model: TransformerBridge, what: str, prompt: str, choices: Sequence[str]
) -> tuple[tuple[int, ...], tuple[tuple[int, ...], ...]]:
    """Encode a prompt, after a beginning-of-text token if the model expects one, and its continuations.

    A continuation's tokens are those of the prompt and the continuation together, without the prompt's. So choices
    begin with the space that separates them from the prompt.

    Args:
        model: The model whose tokenizer encodes them.
        what: What needs a tokenizer, for error messages, such as `"the task facts"`.
        prompt: The prompt.
        choices: Its continuations.

    Returns:
        The prompt's token ids, and those of each continuation.

    Raises:
        TaskError: The tokenizer merges the end of the prompt with the beginning of a continuation.
        LoadError: The model has no tokenizer.
    """
    tokenizer = require_tokenizer(model, what)
    start = begin(model)
    with encoding(what):
        ids: list[int] = tokenizer(prompt, add_special_tokens=False)["input_ids"]
        wholes: list[list[int]] = [tokenizer(prompt + c, add_special_tokens=False)["input_ids"] for c in choices]
    continuations: list[tuple[int, ...]] = []
    for choice, whole in zip(choices, wholes, strict=True):
        if whole[: len(ids)] != ids:
            raise TaskError(f"this tokenizer does not split {prompt + choice!r} after {prompt!r}")
        continuations.append(tuple(whole[len(ids) :]))
    return (*start, *ids), tuple(continuations)


def begin(model: TransformerBridge) -> tuple[int, ...]:
    """The beginning-of-text token, for models that expect one."""
    tokenizer = model.tokenizer
    if tokenizer is None or not getattr(model.cfg, "tokenizer_prepends_bos", False):
        return ()
    first = tokenizer.bos_token_id
    return () if first is None else (int(first),)


def windows(model: TransformerBridge, text: str, length: int, what: str) -> dict[int, tuple[int, ...]]:
    """Cut a text into windows of equal length, by the index of their first token; the remainder is dropped."""
    tokenizer = require_tokenizer(model, what)
    start = begin(model)
    size = length - len(start)
    with encoding(what):
        ids: list[int] = tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]
    if size < 1 or len(ids) < size:
        raise TaskError(f"{what} has {len(ids)} tokens, fewer than one window of {max(1, size)}")
    return {first: (*start, *ids[first : first + size]) for first in range(0, len(ids) - size + 1, size)}
