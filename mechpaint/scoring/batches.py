"""Batches: items of similar length, padded and swept together."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeAlias, TypeVar

import torch
from jaxtyping import Int
from torch import Tensor

from mechpaint.engine.batch_size import clear_device_cache, is_out_of_memory
from mechpaint.routes.prefix_tree import PrefixTree
from mechpaint.routes.route import Route
from mechpaint.scoring.items import Place, Rowed
from mechpaint.statistics.results import Advance, Record

InRows = TypeVar("InRows", bound=Rowed)


@dataclass(frozen=True, slots=True)
class Batch(Generic[InRows]):
    """Distinct token rows for one sweep; for each item, the indices of its rows, and its answers' places in them."""

    items: tuple[InRows, ...]
    rows: tuple[tuple[int, ...], ...]
    own: tuple[tuple[int, ...], ...]
    places: tuple[tuple[tuple[Place, ...], ...], ...]

    @classmethod
    def of(cls, items: Sequence[InRows]) -> Batch[InRows]:
        """Make one batch of items; a row that several of them share is in it once."""
        number: dict[tuple[int, ...], int] = {}
        own = tuple(tuple(number.setdefault(row, len(number)) for row in item.rows()) for item in items)
        places = tuple(
            tuple(tuple(replace(place, row=rows[place.row]) for place in answer) for answer in item.places())
            for item, rows in zip(items, own, strict=True)
        )
        return cls(tuple(items), tuple(number), own, places)

    def padded(self, device: Any) -> tuple[Int[Tensor, "row position"], Int[Tensor, "row position"]]:
        """The rows padded on the right to equal length, and their attention mask."""
        length = max(map(len, self.rows))
        tokens = torch.zeros((len(self.rows), length), dtype=torch.long)
        mask = torch.zeros_like(tokens)
        for i, row in enumerate(self.rows):
            tokens[i, : len(row)] = torch.tensor(row)
            mask[i, : len(row)] = 1
        return tokens.to(device), mask.to(device)


def batches(items: Sequence[InRows], batch_size: int) -> list[Batch[InRows]]:
    """Group items of similar length into batches of at most `batch_size` rows; an item with more gets its own."""
    ordered = sorted(items, key=lambda item: max(map(len, item.rows())))
    full: list[Batch[InRows]] = []
    waiting: list[InRows] = []
    rows = 0
    for item in ordered:
        count = len(item.rows())
        if waiting and rows + count > batch_size:
            full.append(Batch[InRows].of(waiting))
            waiting, rows = [], 0
        waiting.append(item)
        rows += count
    return [*full, Batch[InRows].of(waiting)] if waiting else full


Watch: TypeAlias = Callable[[int], None]
"""Called with how many layer calls a sweep has made since."""


def sweep_batch(
    batch: Batch[InRows],
    tree: PrefixTree,
    score: Callable[[Batch[InRows], PrefixTree, Watch], Iterator[tuple[Route, list[Record]]]],
    advance: Advance,
) -> Iterator[Record]:
    """Score a batch under all routes; when memory runs out, do the remaining routes in halves of the batch."""
    done: set[Route] = set()
    ticks = _Ticks(len(batch.items) * len(tree.routes), tree.layer_calls, advance)
    try:
        for route, records in score(batch, tree, ticks.watch):
            yield from records
            done.add(route)
        ticks.correct(ticks.all)
        return
    except Exception as error:
        if len(batch.items) == 1 or not is_out_of_memory(error):
            raise
    # after the `except`, whose traceback keeps tensors alive
    ticks.correct(len(batch.items) * len(done))
    clear_device_cache()
    left = PrefixTree(route for route in tree.routes if route not in done)
    half = len(batch.items) // 2
    for items in (batch.items[:half], batch.items[half:]):
        yield from sweep_batch(Batch[InRows].of(items), left, score, advance)


class _Ticks:
    """Ticks of a batch by its layer calls: routes that share work are done late, and then many at once."""

    def __init__(self, ticks: int, layer_calls: int, advance: Advance) -> None:
        self.all, self._layer_calls, self._advance = ticks, layer_calls, advance
        self._made = self._told = 0

    def watch(self, layer_calls: int) -> None:
        """Advance by what so many more layer calls are worth."""
        self._made += layer_calls
        self.correct(self.all * self._made // max(1, self._layer_calls))

    def correct(self, ticks: int) -> None:
        """Advance to so many ticks."""
        self._advance(ticks - self._told)
        self._told = ticks
