"""`facts`: cloze questions with distractors of the same relation."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from mechpaint.errors import TaskError
from mechpaint.scoring.encoding import encode
from mechpaint.scoring.items import Item
from mechpaint.tasks.builtin.relations import RELATIONS
from mechpaint.tasks.task import ChoiceTask

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge


@dataclass(frozen=True)
class Facts(ChoiceTask):
    """Which answer completes the sentence? Capitals, symbols, opposites, plurals, …

    The distractors are answers of the same relation.

    Args:
        choices: The number of answers to choose from, the right one included.
    """

    name: ClassVar[str] = "facts"
    choices: int = 4

    def __post_init__(self) -> None:
        if self.choices < 2:
            raise TaskError(f"facts needs 2 choices or more, got {self.choices}")

    def generate(self, model: TransformerBridge, rng: random.Random) -> Iterator[Item]:
        """Every pair of every relation, in random order, with random distractors."""
        facts = [(relation, subject) for relation, (_, pairs) in RELATIONS.items() for subject in pairs]
        rng.shuffle(facts)
        for relation, subject in facts:
            template, pairs = RELATIONS[relation]
            right = pairs[subject]
            wrong = sorted(set(pairs.values()) - {right, subject})
            answers = [right, *rng.sample(wrong, self.choices - 1)]
            rng.shuffle(answers)
            prompt, choices = encode(model, "the task facts", template.format(subject), [f" {a}" for a in answers])
            yield Item(f"{relation}/{subject}", prompt, choices, answers.index(right))
