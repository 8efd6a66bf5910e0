"""What a task is: items with a score, made of token ids."""

from __future__ import annotations

import dataclasses
import math
import random
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from mechpaint.errors import InputError
from mechpaint.models import require_tokenizer

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge


class TaskError(InputError):
    """A task that cannot be made: no items, a source that cannot be read, a limit that means nothing."""


@dataclass(frozen=True, slots=True)
class Item:
    """One question: a prompt and one or more continuations, the right one among them.

    Args:
        name: What it is called in the results; unique within its task.
        prompt: Token ids, at least one.
        choices: The continuations' token ids, each at least one.
        answer: The index of the right continuation.
    """

    name: str
    prompt: tuple[int, ...]
    choices: tuple[tuple[int, ...], ...]
    answer: int = 0

    def __post_init__(self) -> None:
        if not self.prompt or not self.choices or not all(self.choices):
            raise TaskError(f"item {self.name!r} has an empty prompt or an empty continuation")
        if not 0 <= self.answer < len(self.choices):
            raise TaskError(f"item {self.name!r} has {len(self.choices)} choices, and answer {self.answer}")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a model made of one item.

    Attributes:
        logprobs: For each choice the summed log-probability of its tokens, in nats.
        greedy: For each token of the right answer, whether it was the model's first guess.
    """

    logprobs: tuple[float, ...]
    greedy: tuple[bool, ...]

    @property
    def finite(self) -> bool:
        """Whether every log-probability is a number: routes can make activations overflow."""
        return all(map(math.isfinite, self.logprobs))


@dataclass(frozen=True)
class Task(ABC):
    """A source of items and the way they are scored.

    Subclasses are frozen dataclasses whose fields are the task's settings. Made known by `registry.add_task`.
    """

    name: ClassVar[str]
    """What it is called on the command line."""
    measure: ClassVar[str]
    """What its score is, with the unit: it labels figures."""

    @abstractmethod
    def generate(self, model: TransformerBridge, rng: random.Random) -> Iterator[Item]:
        """All items, in an order that `rng` decides.

        Args:
            model: Whose tokens they are made of.
            rng: What everything random comes from.

        Raises:
            TaskError: The source cannot be read, or the tokenizer does not split where it must.
            LoadError: The task needs a tokenizer and the model has none.
        """

    @abstractmethod
    def score(self, item: Item, outcome: Outcome) -> float:
        """One item's score; the task's score is the mean. Only called where the outcome is finite.

        Args:
            item: What was asked.
            outcome: What the model made of it.
        """

    @abstractmethod
    def chance(self, model: TransformerBridge, items: Sequence[Item]) -> float:
        """The score of guessing, or of always giving the most frequent answer.

        Args:
            model: The model that was asked.
            items: What it was asked.
        """

    def items(self, model: TransformerBridge, limit: int | None = None, seed: int = 0) -> list[Item]:
        """The first `limit` items in the order of `seed`.

        Args:
            model: Whose tokens they are made of.
            limit: How many at most; None for all.
            seed: Of their choice and order.

        Raises:
            TaskError: There are none, or the limit is not positive.
            LoadError: The task needs a tokenizer and the model has none.
        """
        if limit is not None and limit < 1:
            raise TaskError(f"the limit must be 1 item or more, got {limit}")
        made: list[Item] = []
        for item in self.generate(model, random.Random(f"{self.name} {seed}")):
            if limit is not None and len(made) == limit:
                break
            made.append(item)
        if not made:
            raise TaskError(f"the task {self} has no items")
        return made

    @classmethod
    def from_argument(cls, argument: str | None) -> Task:
        """The task from what stands after the colon in `--task name:argument`.

        Args:
            argument: That text; None where there is no colon.

        Raises:
            TaskError: An argument that the task has no use for.
        """
        if argument is not None:
            raise TaskError(f"the task {cls.name!r} takes no argument, got {argument!r}")
        return cls()

    def settings(self) -> dict[str, object]:
        """Everything that its items depend on besides limit and seed."""
        return {"task": self.name, **dataclasses.asdict(self)}

    def __str__(self) -> str:
        return self.name


class ChoiceTask(Task):
    """A task whose score is accuracy: is the right choice the likeliest? Ties are not right."""

    measure: ClassVar[str] = "accuracy"

    def score(self, item: Item, outcome: Outcome) -> float:
        """1 if the right choice has the highest log-probability, else 0."""
        others = (value for i, value in enumerate(outcome.logprobs) if i != item.answer)
        return float(all(outcome.logprobs[item.answer] > value for value in others))

    def chance(self, model: TransformerBridge, items: Sequence[Item]) -> float:
        """Of choosing at random."""
        return sum(1 / len(item.choices) for item in items) / len(items)


def encode(
    model: TransformerBridge, what: str, prompt: str, choices: Sequence[str]
) -> tuple[tuple[int, ...], tuple[tuple[int, ...], ...]]:
    """Token ids of a prompt, with the beginning-of-text token if the model has one, and of its continuations.

    A continuation's tokens are those of prompt and continuation together, less the prompt's; so choices begin with
    the space that sets them off.

    Raises:
        TaskError: The tokenizer merges the prompt's end with a continuation's beginning.
    """
    tokenizer = require_tokenizer(model, what)
    start = begin(model)
    ids: list[int] = tokenizer(prompt, add_special_tokens=False)["input_ids"]
    found: list[tuple[int, ...]] = []
    for choice in choices:
        whole: list[int] = tokenizer(prompt + choice, add_special_tokens=False)["input_ids"]
        if whole[: len(ids)] != ids:
            raise TaskError(f"this tokenizer does not split {prompt + choice!r} after {prompt!r}")
        found.append(tuple(whole[len(ids) :]))
    return (*start, *ids), tuple(found)


def begin(model: TransformerBridge) -> tuple[int, ...]:
    """The beginning-of-text token, for models that expect one."""
    tokenizer = model.tokenizer
    if tokenizer is None or not getattr(model.cfg, "tokenizer_prepends_bos", False):
        return ()
    first = tokenizer.bos_token_id
    return () if first is None else (int(first),)
