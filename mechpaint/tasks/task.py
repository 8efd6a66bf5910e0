"""What a task is: items of a kind of its own, how a model is asked them, and how the answers are scored."""

from __future__ import annotations

import dataclasses
import random
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, ClassVar, Generic, TypeVar

from mechpaint.errors import TaskError
from mechpaint.scoring.encoding import begin, context, encode, within_context
from mechpaint.scoring.items import Item, Named, Outcome, Part, Placed, Rowed
from mechpaint.tasks.compatibility import require_causal

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge

    from mechpaint.planning.accelerators import Roofline
    from mechpaint.planning.cost import Cost
    from mechpaint.routes.prefix_tree import PrefixTree
    from mechpaint.statistics.metrics import Metric
    from mechpaint.statistics.results import Advance, Record, ReportedMetric

__all__ = [
    "CausalTask",
    "ChoiceTask",
    "Item",
    "Outcome",
    "Part",
    "PlaceTask",
    "RowTask",
    "Selection",
    "Task",
    "TaskError",
    "begin",
    "context",
    "encode",
    "within_context",
]

_ITEMS_A_PART = 32
Asked = TypeVar("Asked", bound=Named)
InRows = TypeVar("InRows", bound=Rowed)
AtPlaces = TypeVar("AtPlaces", bound=Placed)


@dataclass(frozen=True)
class Selection(Generic[Asked]):
    """The items that a task has for a model.

    Attributes:
        items: The items.
        too_long: The names of those among which they were that are longer than the model's context, where the task
            minds that. They are not asked, and never cut.
        too_short: The names of rows of the source that have too little text to make an item of.
    """

    items: tuple[Asked, ...]
    too_long: tuple[str, ...] = ()
    too_short: tuple[str, ...] = ()


@dataclass(frozen=True)
class Task(ABC, Generic[Asked]):
    """A source of items, the way a model is asked them, and how that is scored.

    Subclasses are frozen dataclasses whose fields are the task's settings. Made known by `registry.add_task`. Where
    log-probabilities of tokens are what counts, subclass `PlaceTask`, `CausalTask` or `ChoiceTask`.
    """

    name: ClassVar[str]
    """What it is called on the command line."""
    measure: ClassVar[str]
    """What its score is, with the unit: it labels figures."""

    @abstractmethod
    def generate(self, model: TransformerBridge, rng: random.Random) -> Iterator[Asked]:
        """All items, in an order that `rng` decides.

        Args:
            model: Whose tokens they are made of.
            rng: What everything random comes from.

        Raises:
            TaskError: The source cannot be read, or the tokenizer does not split where it must.
            LoadError: The task needs a tokenizer and the model has none.
        """

    @abstractmethod
    def chance(self, model: TransformerBridge, items: Sequence[Asked]) -> float:
        """The score of guessing, or of always giving the most frequent answer.

        Args:
            model: The model that was asked.
            items: What it was asked.
        """

    @abstractmethod
    def records(
        self, model: TransformerBridge, items: Sequence[Asked], tree: PrefixTree, batch_size: int, advance: Advance
    ) -> Iterator[Record]:
        """Ask every item under every route, and score the answers.

        Args:
            model: The model to ask.
            items: What to ask it.
            tree: The routes.
            batch_size: How many token rows may go through the model together.
            advance: To be called with the number of items that were asked under a route, at least once a second or
                so, with 0 where none were done.

        Yields:
            For each item and route a record: `task`, `item`, `route`, `score`, `logprob` (nats, summed over the right
            answer's tokens), `tokens` (how many these are), `finite`, `metrics`. A task without log-probabilities, or
            an item without a right answer, has a `logprob` of NaN and 0 `tokens`. Where the model's answer is no
            number, `finite` is false and the score is NaN, so that it cannot be averaged unnoticed. `metrics` is what
            else the task makes of the item, as JSON; empty where the score is all, and where that is NaN.
        """

    @abstractmethod
    def cost(
        self, model: TransformerBridge, parts: Sequence[Part[Asked]], batch_size: int, on: Roofline | None = None
    ) -> Cost:
        """What asking will take, by a measurement of a few seconds here and now, or on an accelerator by its rates.

        Args:
            model: The model to ask.
            parts: What to ask it.
            batch_size: How many token rows may go through the model together.
            on: Where it is to run; None for here.

        Raises:
            PlanError: The task can only be measured.
        """

    def batch_size(self, model: TransformerBridge, items: Sequence[Asked]) -> int:
        """How many token rows should go through a model together, where nobody says: 32, unless a task knows better.

        Args:
            model: The model to ask.
            items: What to ask it.
        """
        return 32

    def metric(self, items: Sequence[Asked]) -> Metric:
        """How the task's score comes from its items' scores: their mean, unless a task says otherwise.

        Args:
            items: All items that are asked.
        """
        from mechpaint.statistics.metrics import Mean

        return Mean()

    def reported(self) -> tuple[ReportedMetric, ...]:
        """The metrics that its records have in `metrics`, shown in tables of their own: by default none."""
        return ()

    def measured(self) -> str:
        """What its score is, with the unit: `measure`, unless that depends on its settings."""
        return self.measure

    def check(self, model: TransformerBridge) -> None:
        """Refuse a model that the task has no use for, before items are made.

        Args:
            model: The model to ask.

        Raises:
            TaskError: It is none that can be asked. The message says which tasks are for it.
        """

    def parts(self, items: Sequence[Asked], tree: PrefixTree) -> list[Part[Asked]]:
        """How the work is cut: 32 items at a time, under all routes, which then share their work.

        Where more items are asked for, the first are cut as they were.

        Args:
            items: All items.
            tree: All routes.
        """
        bounds = [*range(0, len(items), _ITEMS_A_PART), len(items)]
        return [
            Part(f"{first:05d}-{last:05d}", f"items {first + 1} to {last}", tuple(items[first:last]), tree)
            for first, last in pairwise(bounds)
        ]

    def select(self, model: TransformerBridge, limit: int | None = None, seed: int = 0) -> Selection[Asked]:
        """The first `limit` items in the order of `seed`, less those that do not fit it.

        Args:
            model: Whose tokens they are made of.
            limit: How many at most; None for all.
            seed: Of their choice and order.

        Raises:
            TaskError: There are none, the limit is not positive, or the model is none for this task.
            LoadError: The task needs a tokenizer and the model has none.
        """
        self._check_asked(model, limit)
        return self._select(model, self.generate(model, self._rng(seed)), limit)

    def _select(self, model: TransformerBridge, items: Iterator[Asked], limit: int | None) -> Selection[Asked]:
        """Take the first items that fit."""
        fitting: list[Asked] = []
        too_long: list[str] = []
        for item in items:
            if limit is not None and len(fitting) == limit:
                break
            if self.fits(model, item):
                fitting.append(item)
            else:
                too_long.append(item.name)
        if not fitting:
            longer = f": all {len(too_long)} are longer than the model's {context(model)} tokens" if too_long else ""
            raise TaskError(f"the task {self} has no items{longer}")
        return Selection(tuple(fitting), tuple(too_long))

    def _rng(self, seed: int) -> random.Random:
        return random.Random(f"{self.name} {seed}")

    def _check_asked(self, model: TransformerBridge, limit: int | None) -> None:
        """Refuse a limit or a model for which there can be no items."""
        if limit is not None and limit < 1:
            raise TaskError(f"the limit must be 1 item or more, got {limit}")
        self.check(model)

    def items(self, model: TransformerBridge, limit: int | None = None, seed: int = 0) -> list[Asked]:
        """The items of `select`.

        Args:
            model: Whose tokens they are made of.
            limit: How many at most; None for all.
            seed: Of their choice and order.

        Raises:
            TaskError: There are none, the limit is not positive, or the model is none for this task.
            LoadError: The task needs a tokenizer and the model has none.
        """
        return list(self.select(model, limit, seed).items)

    def fits(self, model: TransformerBridge, item: Asked) -> bool:
        """Whether the model's context is long enough for an item: always, unless a task says otherwise.

        Args:
            model: The model to ask.
            item: What to ask it.
        """
        return True

    @classmethod
    def from_argument(cls, argument: str | None) -> Task[Asked]:
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


class RowTask(Task[InRows]):
    """A task whose items are rows of tokens, which sweeps take through the model, all routes at once."""

    def batch_size(self, model: TransformerBridge, items: Sequence[InRows]) -> int:
        """As many as pay and fit."""
        from mechpaint.engine.batch_size import optimal_batch_rows

        return optimal_batch_rows(model, (len(row) for item in items for row in item.rows()))

    def cost(
        self, model: TransformerBridge, parts: Sequence[Part[InRows]], batch_size: int, on: Roofline | None = None
    ) -> Cost:
        """That of sweeps over batches of rows."""
        from mechpaint.planning.cost import of_rows

        return of_rows(model, self, parts, batch_size, on)


class PlaceTask(RowTask[AtPlaces]):
    """A task that is scored by the log-probabilities of tokens at places in its items' rows."""

    @abstractmethod
    def score(self, item: AtPlaces, outcome: Outcome) -> float:
        """One item's score. Only called where the outcome is finite.

        Args:
            item: What was asked.
            outcome: What the model made of it.
        """

    def evaluate(self, item: AtPlaces, outcome: Outcome) -> tuple[float, str]:
        """One item's score, and what else the task makes of the item, as JSON: by default nothing, an empty text.

        Args:
            item: What was asked.
            outcome: What the model made of it, which is finite.
        """
        return self.score(item, outcome), ""

    def records(
        self, model: TransformerBridge, items: Sequence[AtPlaces], tree: PrefixTree, batch_size: int, advance: Advance
    ) -> Iterator[Record]:
        """Sweeps for logits at the items' places."""
        from mechpaint.scoring.score import score_at_places

        return score_at_places(model, self, items, tree, batch_size, advance)


class CausalTask(PlaceTask[Item]):
    """A task of prompts and their continuations, for causal language models."""

    def check(self, model: TransformerBridge) -> None:
        """Refuse models that do not say what comes next."""
        require_causal(model, f"the task {self}")


class ChoiceTask(CausalTask):
    """A task whose score is accuracy: is the right choice the likeliest? Ties are not right."""

    measure: ClassVar[str] = "accuracy"

    def score(self, item: Item, outcome: Outcome) -> float:
        """1 if the right choice has the highest log-probability, else 0."""
        others = (value for i, value in enumerate(outcome.logprobs) if i != item.answer)
        return float(all(outcome.logprobs[item.answer] > value for value in others))

    def chance(self, model: TransformerBridge, items: Sequence[Item]) -> float:
        """Of choosing at random."""
        return sum(1 / len(item.choices) for item in items) / len(items)
