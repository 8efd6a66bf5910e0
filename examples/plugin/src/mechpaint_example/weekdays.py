"""`weekdays`: which day comes next?"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from mechpaint.errors import TaskError
from mechpaint.tasks import ChoiceTask, Item, encode

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge

_DAYS = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split()


@dataclass(frozen=True)
class Weekdays(ChoiceTask):
    """Days of the week in a row: which of the seven comes next? Chance is 1/7.

    Args:
        step: Days from each to the next, 1 to 6. On the command line: `weekdays:2`.
    """

    name: ClassVar[str] = "weekdays"
    step: int = 1

    def __post_init__(self) -> None:
        if not 1 <= self.step <= 6:
            raise TaskError(f"weekdays are 1 to 6 days apart, got {self.step}")

    @classmethod
    def from_argument(cls, argument: str | None) -> Weekdays:
        """Read the step after the colon."""
        if argument is None:
            return cls()
        if not argument.isdecimal():
            raise TaskError(f"weekdays takes a whole number of days from 1 to 6, such as weekdays:2, got {argument!r}")
        return cls(int(argument))

    def generate(self, model: TransformerBridge, rng: random.Random) -> Iterator[Item]:
        """Yield rows of three to seven days, starting from each day."""
        rows = [(first, length) for first in range(7) for length in range(3, 8)]
        rng.shuffle(rows)
        for first, length in rows:
            *shown, asked = ((first + self.step * i) % 7 for i in range(length + 1))
            sentence = ", ".join(_DAYS[day] for day in shown) + ","
            prompt, choices = encode(model, "the task weekdays", sentence, [f" {day}" for day in _DAYS])
            yield Item(sentence, prompt, choices, asked)

    def __str__(self) -> str:
        return self.name if self.step == 1 else f"{self.name}:{self.step}"
