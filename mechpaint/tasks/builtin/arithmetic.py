"""`arithmetic`: sums, after a few examples."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from mechpaint.errors import TaskError
from mechpaint.scoring.encoding import encode
from mechpaint.scoring.items import Item, Outcome
from mechpaint.tasks.graded import Graded

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge


@dataclass(frozen=True)
class Arithmetic(Graded):
    """Does the model write the sum of two numbers? Every token of the answer must be its first guess.

    Args:
        level: The largest summand; None for the largest with which the model can do it.
        shots: The number of solved sums in the prompt.
        count: The number of items.
    """

    name: ClassVar[str] = "arithmetic"
    measure: ClassVar[str] = "exact match"
    levels: ClassVar[tuple[int, ...]] = (4, 9, 20, 50, 99)
    shots: int = 4
    count: int = 500

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.shots < 0 or self.count < 1:
            raise TaskError(f"arithmetic needs shots >= 0 and count >= 1, got {self.shots} and {self.count}")

    def at(self, level: int, model: TransformerBridge, rng: random.Random) -> Iterator[Item]:
        """Random sums; the one asked for is not among the examples."""
        for i in range(self.count):
            a, b = _pair(level, rng)
            shots: list[tuple[int, int]] = []
            while len(shots) < self.shots:
                pair = _pair(level, rng)
                if set(pair) != {a, b} or level == 1:
                    shots.append(pair)
            examples = "".join(f"{x} + {y} = {x + y}\n" for x, y in shots)
            prompt, choices = encode(model, f"the task {self}", f"{examples}{a} + {b} =", [f" {a + b}\n"])
            yield Item(f"{i} {a}+{b}={a + b}", prompt, choices)

    def score(self, item: Item, outcome: Outcome) -> float:
        """1 if every token of the sum, and the newline after it, was the model's first guess."""
        return float(all(outcome.greedy[item.answer]))

    def chance(self, model: TransformerBridge, items: Sequence[Item]) -> float:
        """The score of always giving the most frequent answer."""
        answers = Counter(item.choices[item.answer] for item in items)
        return answers.most_common(1)[0][1] / len(items)


def _pair(largest: int, rng: random.Random) -> tuple[int, int]:
    return rng.randint(1, largest), rng.randint(1, largest)
