"""What a task asks: items. Each task has a kind of its own; here is what all have, and the kind of causal models."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar, runtime_checkable

from mechpaint.errors import TaskError

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge

    from mechpaint.routes.prefix_tree import PrefixTree
    from mechpaint.statistics.results import Advance, Record


@runtime_checkable
class Named(Protocol):
    """An item of any kind. Besides a name it has whatever its task scores it by."""

    @property
    def name(self) -> str:
        """What it is called in the results; unique within its task."""
        ...


@runtime_checkable
class Rowed(Named, Protocol):
    """An item that is one or more rows of tokens, which go through the model."""

    def rows(self) -> tuple[tuple[int, ...], ...]:
        """The token ids of each row."""
        ...

    def places(self) -> tuple[tuple[Place, ...], ...]:
        """For each of its answers, where its tokens are foreseen. An item that is scored otherwise has none."""
        ...


@runtime_checkable
class Placed(Rowed, Protocol):
    """An item that is scored by log-probabilities of tokens at places in its rows."""

    @property
    def answer(self) -> int | None:
        """Which of its answers is the right one; None where none is."""
        ...


@dataclass(frozen=True, slots=True)
class Place:
    """Where one token of an answer is foreseen.

    Args:
        row: The row: of an item, or of a batch.
        position: The position whose logits foresee the token: the one before it in a causal model, its own, at which
            it is masked, in an encoder.
        token: Its id.
    """

    row: int
    position: int
    token: int


@dataclass(frozen=True, slots=True)
class Item:
    """A question to a causal model: a prompt and one or more continuations, the right one among them.

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

    def rows(self) -> tuple[tuple[int, ...], ...]:
        """For each choice prompt and choice less the last token, which nothing reads.

        A row that another begins with is not needed: what comes after a position does not change it in a causal
        model. So choices of a single token share the prompt's row.
        """
        return rows_for((self.prompt, choice) for choice in self.choices)

    def places(self) -> tuple[tuple[Place, ...], ...]:
        """For each choice the position before each of its tokens."""
        rows = self.rows()
        return tuple(places_in(rows, self.prompt, choice) for choice in self.choices)


def rows_for(pairs: Iterable[tuple[tuple[int, ...], tuple[int, ...]]]) -> tuple[tuple[int, ...], ...]:
    """The rows that a causal model needs to foresee continuations, each once, the longest first.

    A continuation's last token is never read. A row that another begins with is not needed: what comes after a
    position does not change it in a causal model.

    Args:
        pairs: What comes before, at least one token, and the continuation, at least one.
    """
    kept: list[tuple[int, ...]] = []
    for row in sorted({before + after[:-1] for before, after in pairs}, key=lambda row: (-len(row), row)):
        if not any(other[: len(row)] == row for other in kept):
            kept.append(row)
    return tuple(kept)


def places_in(rows: Sequence[tuple[int, ...]], before: tuple[int, ...], after: tuple[int, ...]) -> tuple[Place, ...]:
    """Where a causal model foresees a continuation's tokens: for each the position before it.

    Args:
        rows: Rows of which one begins with `before` and `after`, less its last token.
        before: What comes before, at least one token.
        after: The continuation.
    """
    needed = before + after[:-1]
    row = next(i for i, row in enumerate(rows) if row[: len(needed)] == needed)
    return tuple(Place(row, len(before) - 1 + i, token) for i, token in enumerate(after))


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a model made of an item that is scored by places.

    Attributes:
        logprobs: For each answer the summed log-probability of its tokens, in nats.
        greedy: For each answer, for each of its tokens, whether it was the model's first guess.
    """

    logprobs: tuple[float, ...]
    greedy: tuple[tuple[bool, ...], ...]

    @property
    def finite(self) -> bool:
        """Whether every log-probability is a number: routes can make activations overflow."""
        return all(map(math.isfinite, self.logprobs))


@dataclass(frozen=True, slots=True)
class Pair:
    """Two texts, and how much alike they mean.

    Args:
        name: What it is called in the results; unique within its task.
        first: Token ids, special tokens included.
        second: Token ids, special tokens included.
        similarity: As people rated it, on any scale.
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
        """None: they are compared by what the residual stream holds, not by what is foreseen."""
        return ()


Asked = TypeVar("Asked", bound=Named)
_Asked = TypeVar("_Asked", bound=Named, contravariant=True)
_AtPlaces = TypeVar("_AtPlaces", bound=Placed, contravariant=True)


@dataclass(frozen=True)
class Part(Generic[Asked]):
    """A piece of a task's work: what is computed, kept, and taken up again as one.

    Attributes:
        name: What it is called among the task's parts: letters, digits and dashes.
        label: What it is, for the progress bar.
        items: The items that it asks.
        tree: The routes that it asks them under.
    """

    name: str
    label: str
    items: tuple[Asked, ...]
    tree: PrefixTree


@runtime_checkable
class Scorer(Protocol[_Asked]):
    """What asks a model items and scores its answers: a `Task`."""

    def records(
        self, model: TransformerBridge, items: Sequence[_Asked], tree: PrefixTree, batch_size: int, advance: Advance
    ) -> Iterator[Record]:
        """Ask every item under every route; see `Task.records`."""
        ...


@runtime_checkable
class Judge(Protocol[_AtPlaces]):
    """What scores answers at places: a `PlaceTask`."""

    def judge(self, item: _AtPlaces, outcome: Outcome) -> tuple[float, str]:
        """The score of an answer, and its metrics as JSON; see `PlaceTask.judge`."""
        ...
