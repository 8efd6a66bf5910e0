"""`text`: how well does the model foresee a text? Perplexity."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from mechpaint.models import require_tokenizer
from mechpaint.tasks.reading import read_rows, text_of
from mechpaint.tasks.task import CausalTask, Item, Outcome, TaskError, begin

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge

_MOST_CHARACTERS = 2_000_000


@dataclass(frozen=True)
class Text(CausalTask):
    """The log-probability of a text's own tokens, given those before them.

    Args:
        source: A text, JSON, CSV or Parquet file (columns `text` or the first one with strings), or the name of a
            data set on the hub, which asks the network. By default the English reference text that comes with
            Python (`pydoc_data.topics`).
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
        tokenizer = require_tokenizer(model, "the task text")
        start = begin(model)
        size = self.window - len(start)
        ids: list[int] = tokenizer(read_text(self.source), add_special_tokens=False, verbose=False)["input_ids"]
        firsts = list(range(0, len(ids) - size + 1, size))
        if not firsts:
            raise TaskError(f"the text {self.source!r} has {len(ids)} tokens, fewer than one window of {size}")
        rng.shuffle(firsts)
        for first in firsts:
            window = ids[first : first + size]
            yield Item(f"token {first}", (*start, *window[: -self.scored]), (tuple(window[-self.scored :]),))

    def score(self, item: Item, outcome: Outcome) -> float:
        """The mean log-probability of the scored tokens. Perplexity is exp(-score)."""
        return outcome.logprobs[0] / len(item.choices[0])

    def chance(self, model: TransformerBridge, items: Sequence[Item]) -> float:
        """Of guessing evenly over the vocabulary."""
        return -math.log(int(model.cfg.d_vocab))

    def __str__(self) -> str:
        return self.name if self.source is None else f"{self.name}:{self.source}"


def read_text(source: str | None) -> str:
    """The text behind `Text.source`, up to two million characters.

    Raises:
        TaskError: It cannot be read, or holds no text.
    """
    if source is None:
        from pydoc_data import topics

        return "\n\n".join(text for _, text in sorted(topics.topics.items()))
    pieces: list[str] = []
    length = 0
    for row in read_rows(source):
        pieces.append(text_of(row, source))
        length += len(pieces[-1]) + 1
        if length > _MOST_CHARACTERS:
            break
    if not "".join(pieces).strip():
        raise TaskError(f"the text {source!r} is empty")
    return "\n".join(pieces)
