"""`counting`: the next number of a sequence that goes up by equal steps."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from mechpaint.errors import TaskError
from mechpaint.scoring.encoding import encode
from mechpaint.scoring.items import Item
from mechpaint.tasks.graded import Graded
from mechpaint.tasks.task import ChoiceTask

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge

_FIRST = 60
_NEAR = (-3, -2, -1, 1, 2, 3)


@dataclass(frozen=True)
class Counting(Graded, ChoiceTask):
    """Which number comes next, as in 14, 16, 18, 20, …? The wrong ones are at most three away.

    Args:
        level: The step; None for the hardest that the model can do. By ones and by tens is easier than by twos.
        shown: How many numbers the prompt has.
        choices: The number of answers to choose from, the right one included.
        count: The number of items.
    """

    name: ClassVar[str] = "counting"
    levels: ClassVar[tuple[int, ...]] = (1, 10, 2, 5, 3, 7)
    shown: int = 4
    choices: int = 4
    count: int = 500

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.shown < 2 or not 2 <= self.choices <= len(_NEAR) or self.count < 1:
            raise TaskError(
                f"counting needs shown >= 2, choices from 2 to {len(_NEAR)} and count >= 1, got {self.shown}, "
                f"{self.choices} and {self.count}"
            )

    def at(self, level: int, model: TransformerBridge, rng: random.Random) -> Iterator[Item]:
        """Sequences that begin anywhere from 1 to 60; the answers stand in random order."""
        for i in range(self.count):
            first = rng.randint(1, _FIRST)
            *shown, right = range(first, first + level * (self.shown + 1), level)
            near = [right + apart for apart in _NEAR if right + apart not in shown and right + apart > 0]
            answers = [right, *rng.sample(near, self.choices - 1)]
            rng.shuffle(answers)
            prompt = ", ".join(map(str, shown)) + ","
            tokens, choices = encode(model, f"the task {self}", prompt, [f" {answer}" for answer in answers])
            yield Item(f"{i} {prompt} {right}", tokens, choices, answers.index(right))
