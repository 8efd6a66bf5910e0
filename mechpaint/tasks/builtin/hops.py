"""`hops`: facts in two steps, from a capital through its country to a language or a continent."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from mechpaint.errors import TaskError
from mechpaint.scoring.encoding import encode
from mechpaint.scoring.items import Item
from mechpaint.tasks.builtin.relations import RELATIONS
from mechpaint.tasks.task import ChoiceTask

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge

_SENTENCES = {
    "language": "{} is the capital of a country where most people speak",
    "continent": "{} is the capital of a country on the continent of",
}


@dataclass(frozen=True)
class Hops(ChoiceTask):
    """Which language is spoken, or which continent lies, around a capital? The country is not named.

    The distractors are answers of the same kind.

    Args:
        shots: The number of complete sentences before the question, about other countries.
        choices: The number of answers to choose from, the right one included.
        count: The number of items: each country comes again with other examples.
    """

    name: ClassVar[str] = "hops"
    shots: int = 3
    choices: int = 4
    count: int = 500

    def __post_init__(self) -> None:
        most = min(len(set(RELATIONS[kind][1].values())) for kind in _SENTENCES)
        if self.shots < 0 or not 2 <= self.choices <= most or self.count < 1:
            raise TaskError(
                f"hops needs shots >= 0, choices from 2 to {most} and count >= 1, got {self.shots}, {self.choices} "
                f"and {self.count}"
            )

    def generate(self, model: TransformerBridge, rng: random.Random) -> Iterator[Item]:
        """Every capital with each question, in random order; then again, with other examples and distractors."""
        questions = [(kind, country) for kind in _SENTENCES for country in _answers(kind)]
        for i in range(self.count):
            if i % len(questions) == 0:
                rng.shuffle(questions)
            kind, country = questions[i % len(questions)]
            yield self._item(model, rng, f"{i} {kind}/{country}", kind, country)

    def _item(self, model: TransformerBridge, rng: random.Random, name: str, kind: str, country: str) -> Item:
        answer_of, sentence = _answers(kind), _SENTENCES[kind]
        others = rng.sample([each for each in answer_of if each != country], min(self.shots, len(answer_of) - 1))
        examples = "".join(f"{sentence.format(_CAPITALS[each])} {answer_of[each]}.\n" for each in others)
        right = answer_of[country]
        wrong = sorted(set(RELATIONS[kind][1].values()) - {right})
        answers = [right, *rng.sample(wrong, self.choices - 1)]
        rng.shuffle(answers)
        prompt = examples + sentence.format(_CAPITALS[country])
        tokens, choices = encode(model, "the task hops", prompt, [f" {answer}" for answer in answers])
        return Item(name, tokens, choices, answers.index(right))


_CAPITALS = RELATIONS["capital"][1]


def _answers(kind: str) -> Mapping[str, str]:
    """The answer for each country whose capital is known."""
    return {country: answer for country, answer in RELATIONS[kind][1].items() if country in _CAPITALS}
