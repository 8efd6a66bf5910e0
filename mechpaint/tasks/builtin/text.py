"""`text`: how well does the model predict a text? Perplexity."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from mechpaint.data import read_text, split_column
from mechpaint.errors import TaskError
from mechpaint.scoring.encoding import windows
from mechpaint.scoring.items import Item, Outcome
from mechpaint.tasks.task import CausalTask

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge


@dataclass(frozen=True)
class Text(CausalTask):
    """The log-probability of a text's own tokens, given those before them.

    Args:
        source: A file or a data set on the hub, as `read_rows` takes it, with the text in the column `text` or the
            first one with strings; of long ones the first two million characters. By default the English reference text
            that comes with Python (`pydoc_data.topics`).
        window: The number of tokens of an item.
        scored: The number of tokens at its end that are scored.
        column: The column with the text, if it is another; on the command line `text:SOURCE#COLUMN`.
    """

    name: ClassVar[str] = "text"
    measure: ClassVar[str] = "log-probability, nats per token"
    argument: ClassVar[str] = "[:SOURCE[#COLUMN]]"
    source: str | None = None
    window: int = 48
    scored: int = 8
    column: str | None = None

    def __post_init__(self) -> None:
        if not 1 <= self.scored < self.window:
            raise TaskError(f"text needs 1 <= scored < window, got scored={self.scored}, window={self.window}")

    @classmethod
    def from_argument(cls, argument: str | None) -> Text:
        """`text:SOURCE` or `text:SOURCE#COLUMN`."""
        source, column = split_column(argument)
        return cls(source, column=column)

    def generate(self, model: TransformerBridge, rng: random.Random) -> Iterator[Item]:
        """Windows of the text without overlap, in random order."""
        rows = list(windows(model, read_text(self.source, self.column), self.window, f"the task {self}").items())
        rng.shuffle(rows)
        for first, window in rows:
            yield Item(f"token {first}", window[: -self.scored], (window[-self.scored :],))

    def score(self, item: Item, outcome: Outcome) -> float:
        """The mean log-probability of the scored tokens. Perplexity is exp(-score)."""
        return outcome.logprobs[0] / len(item.choices[0])

    def chance(self, model: TransformerBridge, items: Sequence[Item]) -> float:
        """The score of a uniform distribution over the vocabulary."""
        return -math.log(int(model.cfg.d_vocab))

    def __str__(self) -> str:
        column = "" if self.column is None else f"#{self.column}"
        return self.name if self.source is None else f"{self.name}:{self.source}{column}"
