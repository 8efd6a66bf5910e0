"""Base classes of tasks: how items are made, how a model is asked, how its answers are scored."""

from __future__ import annotations

import dataclasses
import random
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, ClassVar, Generic, TypeVar

from mechpaint.errors import TaskError
from mechpaint.scoring.encoding import context, encoding
from mechpaint.scoring.items import Item, Named, Outcome, Part, Placed, Rowed
from mechpaint.tasks.compatibility import require_causal

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge

    from mechpaint.planning.accelerators import Roofline
    from mechpaint.planning.cost import Cost
    from mechpaint.routes.prefix_tree import PrefixTree
    from mechpaint.statistics.metrics import Metric
    from mechpaint.statistics.results import Advance, Record, ReportedMetric

_ITEMS_PER_PART = 32
Asked = TypeVar("Asked", bound=Named)
InRows = TypeVar("InRows", bound=Rowed)
AtPlaces = TypeVar("AtPlaces", bound=Placed)


@dataclass(frozen=True)
class Selection(Generic[Asked]):
    """A task's items for a model.

    Attributes:
        items: The items.
        too_long: The names of items that were left out because they exceed the model's context, if the task checks
            that. No item is truncated.
        too_short: The names of rows of the source with too little text for an item.
    """

    items: tuple[Asked, ...]
    too_long: tuple[str, ...] = ()
    too_short: tuple[str, ...] = ()


@dataclass(frozen=True)
class Task(ABC, Generic[Asked]):
    """A source of items, and the way a model is asked and scored on them.

    Subclasses are frozen dataclasses whose fields are the task's settings. For tasks scored by log-probabilities of
    tokens, subclass `PlaceTask`, `CausalTask` or `ChoiceTask`.
    """

    name: ClassVar[str]
    """Its name on the command line."""
    measure: ClassVar[str]
    """A description of its score, with the unit, for labels of figures."""
    argument: ClassVar[str] = ""
    """What may follow its name on the command line, such as `[:FILE]`; empty if nothing may."""

    @abstractmethod
    def generate(self, model: TransformerBridge, rng: random.Random) -> Iterator[Asked]:
        """All items, in an order determined by `rng`.

        Args:
            model: The model whose tokens they consist of.
            rng: The only source of randomness.

        Raises:
            TaskError: The source cannot be read, or the tokenizer does not split text where it must.
            LoadError: The task needs a tokenizer and the model has none.
        """

    @abstractmethod
    def chance(self, model: TransformerBridge, items: Sequence[Asked]) -> float:
        """The score of guessing, or of always giving the most frequent answer.

        Args:
            model: The model.
            items: Its items.
        """

    @abstractmethod
    def records(
        self, model: TransformerBridge, items: Sequence[Asked], tree: PrefixTree, batch_size: int, advance: Advance
    ) -> Iterator[Record]:
        """Score every item under every route.

        Args:
            model: The model.
            items: Its items.
            tree: The routes.
            batch_size: The largest number of token rows that go through the model together.
            advance: To be called with the number of items scored under a route, at least about once a second, with 0 if
                none are done.

        Yields:
            For each item and route a record: `task`, `item`, `route`, `score`, `logprob` (nats, summed over the right
                answer's tokens), `tokens` (the number of these), `finite`, `metrics`. Without log-probabilities or a
                right answer, `logprob` is NaN and `tokens` 0. If the model's answer is not finite, `finite` is false
                and the score is NaN, so that no mean hides it. `metrics` holds further metrics of the item as JSON; it
                is empty if there are none, or the score is NaN.
        """

    @abstractmethod
    def cost(
        self, model: TransformerBridge, parts: Sequence[Part[Asked]], batch_size: int, on: Roofline | None = None
    ) -> Cost:
        """Estimate the cost of scoring: measured for a few seconds here, or from the rates of an accelerator.

        Args:
            model: The model.
            parts: The work.
            batch_size: The largest number of token rows that go through the model together.
            on: The accelerator; None for this machine.

        Raises:
            PlanError: The task's cost can only be measured.
        """

    def batch_size(self, model: TransformerBridge, items: Sequence[Asked]) -> int:
        """The default number of token rows that go through the model together: 32, unless a task overrides it.

        Args:
            model: The model.
            items: Its items.
        """
        return 32

    def metric(self, items: Sequence[Asked]) -> Metric:
        """The way the task's score follows from its items' scores: their mean, unless a task overrides it.

        Args:
            items: All its items.
        """
        from mechpaint.statistics.metrics import Mean

        return Mean()

    def reported(self) -> tuple[ReportedMetric, ...]:
        """The metrics in its records' `metrics` that get tables of their own: none by default."""
        return ()

    def measured(self) -> str:
        """A description of the score, with the unit: `measure`, unless it depends on the settings."""
        return self.measure

    def check(self, model: TransformerBridge) -> None:
        """Refuse a model that the task is not for, before items are made.

        Args:
            model: The model.

        Raises:
            TaskError: The task is not for this model; the message names tasks that are.
        """

    def parts(self, items: Sequence[Asked], tree: PrefixTree) -> list[Part[Asked]]:
        """Cut the work into parts: 32 items each, under all routes, so that these share their work.

        With more items, the first parts stay the same.

        Args:
            items: All items.
            tree: All routes.
        """
        bounds = [*range(0, len(items), _ITEMS_PER_PART), len(items)]
        return [
            Part(f"{first:05d}-{last:05d}", f"items {first + 1} to {last}", tuple(items[first:last]), tree)
            for first, last in pairwise(bounds)
        ]

    def select(self, model: TransformerBridge, limit: int | None = None, seed: int = 0) -> Selection[Asked]:
        """The first `limit` items in the order of `seed`, without those that do not fit the model.

        Args:
            model: The model whose tokens they consist of.
            limit: The largest number of items; None for all.
            seed: The seed of their choice and order.

        Raises:
            TaskError: There are none, the limit is not positive, or the task is not for this model.
            LoadError: The task needs a tokenizer and the model has none.
        """
        self._check_asked(model, limit)
        with encoding(f"the task {self}"):
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
        """The items of `select(model, limit, seed)`."""
        return list(self.select(model, limit, seed).items)

    def fits(self, model: TransformerBridge, item: Asked) -> bool:
        """Whether an item fits the model's context: always, unless a task overrides it.

        Args:
            model: The model.
            item: The item.
        """
        return True

    @classmethod
    def from_argument(cls, argument: str | None) -> Task[Asked]:
        """Make the task from what follows the colon in `--task name:argument`.

        Args:
            argument: That text; None without a colon.

        Raises:
            TaskError: The task does not take this argument.
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
    """A task whose items are rows of tokens, which sweeps run under all routes at once."""

    def batch_size(self, model: TransformerBridge, items: Sequence[InRows]) -> int:
        """The largest number of rows that is worthwhile and fits in memory."""
        from mechpaint.engine.batch_size import optimal_tree_rows

        return optimal_tree_rows(model, [item.rows() for item in items])

    def cost(
        self, model: TransformerBridge, parts: Sequence[Part[InRows]], batch_size: int, on: Roofline | None = None
    ) -> Cost:
        """The cost of sweeps over batches of rows."""
        from mechpaint.planning.cost import of_rows

        return of_rows(model, self, parts, batch_size, on)


class PlaceTask(RowTask[AtPlaces]):
    """A task scored by the log-probabilities of tokens at places in its items' rows."""

    @abstractmethod
    def score(self, item: AtPlaces, outcome: Outcome) -> float:
        """One item's score, for a finite outcome.

        Args:
            item: The item.
            outcome: The model's answers.
        """

    def evaluate(self, item: AtPlaces, outcome: Outcome) -> tuple[float, str]:
        """One item's score, and its further metrics as JSON: by default none, an empty text.

        Args:
            item: The item.
            outcome: The model's answers, which are finite.
        """
        return self.score(item, outcome), ""

    def records(
        self, model: TransformerBridge, items: Sequence[AtPlaces], tree: PrefixTree, batch_size: int, advance: Advance
    ) -> Iterator[Record]:
        """Sweep for logits at the items' places."""
        from mechpaint.scoring.score import score_at_places

        return score_at_places(model, self, items, tree, batch_size, advance)


class CausalTask(PlaceTask[Item]):
    """A task of prompts and continuations, for causal language models."""

    def check(self, model: TransformerBridge) -> None:
        """Refuse models that do not predict the next token."""
        require_causal(model, f"the task {self}")


class ChoiceTask(CausalTask):
    """A task scored by accuracy: the right choice must be the likeliest. Ties count as wrong."""

    measure: ClassVar[str] = "accuracy"

    def score(self, item: Item, outcome: Outcome) -> float:
        """1 if the right choice has the highest log-probability, else 0."""
        others = (value for i, value in enumerate(outcome.logprobs) if i != item.answer)
        return float(all(outcome.logprobs[item.answer] > value for value in others))

    def chance(self, model: TransformerBridge, items: Sequence[Item]) -> float:
        """The accuracy of choosing at random."""
        return sum(1 / len(item.choices) for item in items) / len(items)
