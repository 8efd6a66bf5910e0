"""`text`: how well does the model foresee a text? Perplexity."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from mechpaint.models import require_tokenizer
from mechpaint.tasks.reading import read_texts
from mechpaint.tasks.task import CausalTask, Item, Outcome, TaskError, begin

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge


@dataclass(frozen=True)
class Text(CausalTask):
    """The log-probability of a text's own tokens, given those before them.

    Args:
        source: A file or a data set on the hub, as `reading.parse_source` has them, with the text in the column `text`
            or the first one with strings; of long ones the first two million characters. By default the English
            reference text that comes with Python (`pydoc_data.topics`).
        window: How many tokens an item has.
        scored: How many at its end are scored.
    """

    name: ClassVar[str] = "text"
    measure: ClassVar[str] = "log-probability, nats per token"
    source: str | None = None
    window: int = 48
    scored: int = 8

    def __post_init__(self) -> None:
        if not 1 <= self.scored < self.window:
            raise TaskError(f"text needs 1 <= scored < window, got scored={self.scored}, window={self.window}")

    @classmethod
    def from_argument(cls, argument: str | None) -> Text:
        """`text:SOURCE`."""
        return cls(argument)

    def generate(self, model: TransformerBridge, rng: random.Random) -> Iterator[Item]:
        """Windows of the text that do not overlap, in random order."""
        found = list(windows(model, read_text(self.source), self.window, f"the task {self}").items())
        rng.shuffle(found)
        for first, window in found:
            yield Item(f"token {first}", window[: -self.scored], (window[-self.scored :],))

    def score(self, item: Item, outcome: Outcome) -> float:
        """The mean log-probability of the scored tokens. Perplexity is exp(-score)."""
        return outcome.logprobs[0] / len(item.choices[0])

    def chance(self, model: TransformerBridge, items: Sequence[Item]) -> float:
        """Of guessing evenly over the vocabulary."""
        return -math.log(int(model.cfg.d_vocab))

    def __str__(self) -> str:
        return self.name if self.source is None else f"{self.name}:{self.source}"


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


def read_text(source: str | None) -> str:
    """The text behind `Text.source`, up to two million characters.

    Raises:
        TaskError: It cannot be read, or holds no text.
    """
    if source is None:
        from pydoc_data import topics

        return "\n\n".join(text for _, text in sorted(topics.topics.items()))
    text = "\n".join(read_texts(source))
    if not text.strip():
        raise TaskError(f"the text {source!r} is empty")
    return text
