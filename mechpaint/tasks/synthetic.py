"""Random items of a given number and length, for plans without a tokenizer."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from mechpaint.errors import PlanError
from mechpaint.models.loading import require_language_model
from mechpaint.scoring.encoding import within_context
from mechpaint.scoring.items import Outcome
from mechpaint.tasks.builtin.mlm import Masked
from mechpaint.tasks.task import PlaceTask

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge


@dataclass(frozen=True)
class Described(PlaceTask[Masked]):
    """Random tokens, scored at the last positions of each row; it stands in for a task of that size."""

    name: ClassVar[str] = "described"
    measure: ClassVar[str] = "log-probability"

    count: int
    tokens: int
    scored: int = 1

    def __post_init__(self) -> None:
        if self.count < 1 or not 1 <= self.scored <= self.tokens:
            raise PlanError(
                "expected at least 1 item of at least 1 token, scored at 1 to all of them, got "
                f"--items {self.count} --tokens {self.tokens} --scored {self.scored}"
            )

    def check(self, model: TransformerBridge) -> None:
        """Refuse models without logits, or with too short a context."""
        require_language_model(model, f"the task {self}")

    def generate(self, model: TransformerBridge, rng: random.Random) -> Iterator[Masked]:
        """That many rows."""
        vocabulary = range(int(model.cfg.d_vocab))
        places = tuple(range(self.tokens - self.scored, self.tokens))
        for i in range(self.count):
            row = tuple(rng.choices(vocabulary, k=self.tokens))
            yield Masked(f"item {i}", row, places, row[-self.scored :])

    def fits(self, model: TransformerBridge, item: Masked) -> bool:
        """Whether it fits the model's context."""
        return within_context(model, item)

    def chance(self, model: TransformerBridge, items: Sequence[Masked]) -> float:
        """0: there is nothing to know."""
        return 0.0

    def score(self, item: Masked, outcome: Outcome) -> float:
        """The log-probability."""
        return sum(outcome.logprobs)

    def __str__(self) -> str:
        return f"rows of {self.tokens} tokens"
