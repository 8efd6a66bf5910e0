"""What lm-eval asks as token ids, exactly as its own model of Hugging Face (`HFLM`) makes them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any


@dataclass(frozen=True, slots=True)
class Window:
    """Tokens that are to be foreseen.

    Args:
        before: What comes before them, at least one token.
        after: They themselves, at least one.
    """

    before: tuple[int, ...]
    after: tuple[int, ...]

    @property
    def length(self) -> int:
        """How many positions it takes: the last token is never read."""
        return len(self.before) + len(self.after) - 1


@dataclass(frozen=True, slots=True)
class Request:
    """What one number is asked for: the summed log-probability of its windows' tokens.

    Args:
        windows: One for a continuation, one or more for a text. None where there is nothing to foresee.
    """

    windows: tuple[Window, ...]


class Encoder:
    """Makes requests out of texts.

    Args:
        tokenizer: The model's, as Hugging Face has it.
        context: How many positions the model has: longer texts are read in windows.
    """

    def __init__(self, tokenizer: Any, context: int) -> None:
        self._tokenizer = tokenizer
        self._context = context
        first = tokenizer.bos_token_id
        self._prefix = int(tokenizer.eos_token_id if first is None else first)
        self._prefix_text = str(tokenizer.decode(self._prefix))
        self._encode: Callable[[str], tuple[int, ...]] = lru_cache(maxsize=64)(self.ids)

    def continuation(self, before: str, after: str) -> Request:
        """A continuation's tokens are those of both texts together, less those of what comes before.

        Spaces at the end of what comes before go to the continuation. Where nothing comes before, a beginning-of-text
        token does, or an end-of-text token if there is no other.

        Args:
            before: What comes before.
            after: The continuation.
        """
        if not before:
            ids = tuple(self._tokenizer.encode(after, add_special_tokens=False))
            start = (self._prefix,)
            if ids[:1] == start:
                start, ids = ids[:1], ids[1:]
        else:
            text = before.rstrip()
            start = self._encode(text)
            ids = self.ids(before + after)[len(start) :]
        return Request((Window(start, ids),) if start and ids else ())

    def text(self, text: str) -> Request:
        """A whole text, in windows as long as the model's context that foresee each of its tokens once.

        Args:
            text: The text.
        """
        from lm_eval.utils import get_rolling_token_windows, make_disjoint_window

        ids = list(self.ids(text))
        windows: Any = get_rolling_token_windows(
            token_list=ids, prefix_token=self._prefix, max_seq_len=self._context, context_len=1
        )
        pairs: Any = map(make_disjoint_window, windows)
        return Request(tuple(Window(tuple(before), tuple(after)) for before, after in pairs))

    def ids(self, text: str) -> tuple[int, ...]:
        """A text's tokens, with special tokens as the tokenizer has them, unless the text begins with one.

        Args:
            text: The text.
        """
        if text.startswith(self._prefix_text):
            return tuple(self._tokenizer.encode(text, add_special_tokens=False, verbose=False))
        return tuple(self._tokenizer.encode(text, verbose=False))
