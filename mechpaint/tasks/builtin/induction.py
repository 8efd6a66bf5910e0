"""`induction`: random tokens, repeated."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from mechpaint.errors import TaskError
from mechpaint.scoring.encoding import begin
from mechpaint.scoring.items import Item, Outcome
from mechpaint.tasks.task import CausalTask

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge


@dataclass(frozen=True)
class Induction(CausalTask):
    """Does the model continue a sequence of random tokens that it has seen once before?

    Needs no tokenizer. The first token of the repetition cannot be predicted, so the last `scored` are scored.

    Args:
        length: The number of random tokens that are repeated.
        scored: The number of tokens at the end of the repetition that are scored.
        count: The number of items.
    """

    name: ClassVar[str] = "induction"
    measure: ClassVar[str] = "accuracy per token"
    length: int = 16
    scored: int = 8
    count: int = 500

    def __post_init__(self) -> None:
        if not 1 <= self.scored < self.length or self.count < 1:
            raise TaskError(f"induction needs 1 <= scored < length and count >= 1, got {self}")

    def generate(self, model: TransformerBridge, rng: random.Random) -> Iterator[Item]:
        """Items of distinct tokens drawn uniformly from the vocabulary without special tokens."""
        special = set(model.tokenizer.all_special_ids) if model.tokenizer is not None else set[int]()
        vocabulary = int(model.cfg.d_vocab)
        for i in range(self.count):
            drawn = [t for t in rng.sample(range(vocabulary), self.length + len(special)) if t not in special]
            once = tuple(drawn[: self.length])
            prompt = (*begin(model), *once, *once[: -self.scored])
            yield Item(f"sequence {i}", prompt, (once[-self.scored :],))

    def score(self, item: Item, outcome: Outcome) -> float:
        """The share of the scored tokens that were the model's first guess."""
        return sum(outcome.greedy[0]) / len(outcome.greedy[0])

    def chance(self, model: TransformerBridge, items: Sequence[Item]) -> float:
        """The score of naming one of the sequence's tokens at random."""
        return 1 / self.length
