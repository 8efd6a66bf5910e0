"""Tasks of graded difficulty, of which a model gets the hardest level that it can do."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

from mechpaint.errors import TaskError
from mechpaint.models.loading import require_tokenizer
from mechpaint.routes.prefix_tree import PrefixTree
from mechpaint.routes.route import Route
from mechpaint.scoring.items import Item
from mechpaint.tasks.task import CausalTask

if TYPE_CHECKING:
    import random

    from transformer_lens.model_bridge import TransformerBridge

_ITEMS_TRIED = 32
_ROWS = 16
_ENOUGH = 0.5
"""Of the way from chance to a perfect score: below it, little is left to lose."""


@dataclass(frozen=True)
class Graded(CausalTask):
    """A question in several levels of difficulty.

    Args:
        level: The level; None for the hardest of `levels` at which the full model scores at least halfway from chance
            to 1, on 32 items, or the easiest if there is none.
    """

    levels: ClassVar[tuple[int, ...]]
    """From the easiest to the hardest."""
    level: int | None = None

    def __post_init__(self) -> None:
        if self.level is not None and self.level < 1:
            raise TaskError(f"{self.name} needs a level of 1 or more, such as {self._examples()}; got {self.level}")

    @classmethod
    def from_argument(cls, argument: str | None) -> Graded:
        """`NAME` or `NAME:LEVEL`."""
        if argument is None:
            return cls()
        if not argument.isdecimal():
            raise TaskError(f"expected a level of {cls.name}, such as {cls._examples()}; got {argument!r}")
        return cls(level=int(argument))

    @classmethod
    def _examples(cls) -> str:
        return ", ".join(f"{cls.name}:{level}" for level in cls.levels)

    @abstractmethod
    def at(self, level: int, model: TransformerBridge, rng: random.Random) -> Iterator[Item]:
        """All items of a level, in an order determined by `rng`.

        Args:
            level: The level.
            model: The model whose tokens they consist of.
            rng: The only source of randomness.
        """

    def generate(self, model: TransformerBridge, rng: random.Random) -> Iterator[Item]:
        """The items of its level, or of the one that the model can do."""
        level = self.level or self.fitted(model).level
        return self.at(level or self.levels[0], model, rng)

    def fitted(self, model: TransformerBridge) -> Graded:
        """The task at a level that the model can do."""
        if self.level is not None:
            return self
        from mechpaint.models.meta_device import is_meta

        self.check(model)
        require_tokenizer(model, f"the task {self}")
        easiest, *harder = (replace(self, level=level) for level in self.levels)
        if is_meta(model):
            return easiest
        return next((task for task in reversed(harder) if task.is_done_by(model)), easiest)

    def is_done_by(self, model: TransformerBridge) -> bool:
        """Tell whether the full model scores at least halfway from chance to 1."""
        items = self.items(model, _ITEMS_TRIED)
        full = PrefixTree([Route.identity(len(model.blocks))])
        scores = [record["score"] for record in self.records(model, items, full, _ROWS, lambda done: None)]
        chance = self.chance(model, items)
        return sum(scores) / len(scores) >= chance + _ENOUGH * (1 - chance)

    def __str__(self) -> str:
        return self.name if self.level is None else f"{self.name}:{self.level}"
