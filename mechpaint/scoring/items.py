"""Items: the protocols that tasks share, and the items of causal models and of pairs."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar, runtime_checkable

from mechpaint.errors import TaskError

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge

    from mechpaint.routes.prefix_tree import PrefixTree
    from mechpaint.routes.route import Route
    from mechpaint.statistics.results import Advance, Record


@runtime_checkable
class Named(Protocol):
    """An item of any kind: a name, and whatever its task scores it by."""

    @property
    def name(self) -> str:
        """Its name in the results; unique within its task."""
        ...


@runtime_checkable
class Rowed(Named, Protocol):
    """An item made of one or more rows of tokens, which go through the model."""

    def rows(self) -> tuple[tuple[int, ...], ...]:
        """The token ids of each row."""
        ...

    def places(self) -> tuple[tuple[Place, ...], ...]:
        """For each of its answers, where its tokens are predicted; empty for an item that is scored otherwise."""
        ...


@runtime_checkable
class Placed(Rowed, Protocol):
    """An item scored by log-probabilities of tokens at places in its rows."""

    @property
    def answer(self) -> int | None:
        """The index of the right answer; None if there is none."""
        ...


@dataclass(frozen=True, slots=True)
class Place:
    """The place in a row where one token of an answer is predicted.

    Args:
        row: The index of the row, in an item or a batch.
        position: The position whose logits predict the token: the one before it in a causal model, its own, where the
            mask stands, in an encoder.
        token: The token's id.
    """

    row: int
    position: int
    token: int


@dataclass(frozen=True, slots=True)
class Item:
    """A question to a causal model: a prompt and one or more continuations, the right one among them.

    Args:
        name: Its name in the results; unique within its task.
        prompt: Token ids, at least one.
        choices: The token ids of each continuation, at least one.
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

    def rows(self) -> tuple[tuple[int, ...], ...]:
        """The prompt with each choice, without the choice's last token, which is never read; no row begins another."""
        return rows_for((self.prompt, choice) for choice in self.choices)

    def places(self) -> tuple[tuple[Place, ...], ...]:
        """For each choice, the position before each of its tokens."""
        rows = self.rows()
        return tuple(places_in(rows, self.prompt, choice) for choice in self.choices)


def rows_for(pairs: Iterable[tuple[tuple[int, ...], tuple[int, ...]]]) -> tuple[tuple[int, ...], ...]:
    """The rows a causal model needs to predict each (before, after), longest first; no row begins another."""
    kept: list[tuple[int, ...]] = []
    for row in sorted({before + after[:-1] for before, after in pairs}, key=lambda row: (-len(row), row)):
        if not any(other[: len(row)] == row for other in kept):
            kept.append(row)
    return tuple(kept)


def places_in(rows: Sequence[tuple[int, ...]], before: tuple[int, ...], after: tuple[int, ...]) -> tuple[Place, ...]:
    """The position before each token of `after`, in the row that begins with `before` and `after`."""
    needed = before + after[:-1]
    row = next(i for i, row in enumerate(rows) if row[: len(needed)] == needed)
    return tuple(Place(row, len(before) - 1 + i, token) for i, token in enumerate(after))


@dataclass(frozen=True, slots=True)
class Outcome:
    """A model's answers to an item that is scored at places.

    Attributes:
        logprobs: For each answer, the summed log-probability of its tokens, in nats.
        greedy: For each answer, whether each of its tokens had the highest logit.
    """

    logprobs: tuple[float, ...]
    greedy: tuple[tuple[bool, ...], ...]

    @property
    def finite(self) -> bool:
        """Whether every log-probability is finite: routes can make activations overflow."""
        return all(map(math.isfinite, self.logprobs))


@dataclass(frozen=True, slots=True)
class Pair:
    """Two texts, and how similar in meaning they were rated.

    Args:
        name: Its name in the results; unique within its task.
        first: Token ids, special tokens included.
        second: Token ids, special tokens included.
        similarity: The rating, on any scale.
    """

    name: str
    first: tuple[int, ...]
    second: tuple[int, ...]
    similarity: float

    def __post_init__(self) -> None:
        if not self.first or not self.second or not math.isfinite(self.similarity):
            raise TaskError(
                f"item {self.name!r} has {len(self.first)} and {len(self.second)} tokens and the similarity "
                f"{self.similarity}: expected one token or more in each, and a number"
            )

    def rows(self) -> tuple[tuple[int, ...], ...]:
        """The two texts."""
        return (self.first, self.second)

    def places(self) -> tuple[tuple[Place, ...], ...]:
        """Empty: they are compared by the residual stream, not by predictions."""
        return ()


def record(
    task: object,
    item: str,
    route: Route,
    score: float,
    finite: bool = True,
    metrics: str = "",
    logprob: float = math.nan,
    tokens: int = 0,
) -> Record:
    """One row of a task's results; a score that is no number, or of an answer that is not finite, is NaN."""
    finite = finite and math.isfinite(score)
    return {
        "task": str(task),
        "item": item,
        "route": str(route),
        "score": score if finite else math.nan,
        "logprob": logprob,
        "tokens": tokens,
        "finite": finite,
        "metrics": metrics,
    }


Asked = TypeVar("Asked", bound=Named)
_Asked = TypeVar("_Asked", bound=Named, contravariant=True)
_AtPlaces = TypeVar("_AtPlaces", bound=Placed, contravariant=True)


@dataclass(frozen=True)
class Part(Generic[Asked]):
    """A piece of a task's work, computed and stored as one.

    Attributes:
        name: Its name among the task's parts: letters, digits and dashes.
        label: Its description on the progress bar.
        items: Its items.
        tree: The routes they are scored under.
    """

    name: str
    label: str
    items: tuple[Asked, ...]
    tree: PrefixTree


@runtime_checkable
class Scorer(Protocol[_Asked]):
    """Scores a model on items: a `Task`."""

    def records(
        self, model: TransformerBridge, items: Sequence[_Asked], tree: PrefixTree, batch_size: int, advance: Advance
    ) -> Iterator[Record]:
        """Score every item under every route; see `Task.records`."""
        ...


@runtime_checkable
class Evaluator(Protocol[_AtPlaces]):
    """Scores answers at places: a `PlaceTask`."""

    def evaluate(self, item: _AtPlaces, outcome: Outcome) -> tuple[float, str]:
        """The score of an answer, and further metrics as JSON; see `PlaceTask.evaluate`."""
        ...
