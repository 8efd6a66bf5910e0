"""Batches: items of like length, padded and swept together."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar

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
    """Token rows for one sweep and the places in them that score some items.

    Attributes:
        items: The items.
        rows: Their token rows, each once.
        own: For each item, which of these are its own, in its order.
        places: For each item, for each of its answers, the place of each token.
    """

    items: tuple[InRows, ...]
    rows: tuple[tuple[int, ...], ...]
    own: tuple[tuple[int, ...], ...]
    places: tuple[tuple[tuple[Place, ...], ...], ...]

    @classmethod
    def of(cls, items: Sequence[InRows]) -> Batch[InRows]:
        """One batch out of items. A row that several of them have is in it once.

        Args:
            items: What to ask.
        """
        number: dict[tuple[int, ...], int] = {}
        own = tuple(tuple(number.setdefault(row, len(number)) for row in item.rows()) for item in items)
        places = tuple(
            tuple(tuple(replace(place, row=rows[place.row]) for place in answer) for answer in item.places())
            for item, rows in zip(items, own, strict=True)
        )
        return cls(tuple(items), tuple(number), own, places)

    def padded(self, device: Any) -> tuple[Int[Tensor, "row position"], Int[Tensor, "row position"]]:
        """The rows padded on the right to equal length, and their attention mask.

        Args:
            device: Where to.
        """
        length = max(map(len, self.rows))
        tokens = torch.zeros((len(self.rows), length), dtype=torch.long)
        mask = torch.zeros_like(tokens)
        for i, row in enumerate(self.rows):
            tokens[i, : len(row)] = torch.tensor(row)
            mask[i, : len(row)] = 1
        return tokens.to(device), mask.to(device)


def batches(items: Sequence[InRows], batch_size: int) -> list[Batch[InRows]]:
    """Items in batches, those of like length together.

    Args:
        items: What to ask.
        batch_size: How many token rows a batch has at most; an item with more has a batch of its own.
    """
    ordered = sorted(items, key=lambda item: max(map(len, item.rows())))
    found: list[Batch[InRows]] = []
    waiting: list[InRows] = []
    rows = 0
    for item in ordered:
        count = len(item.rows())
        if waiting and rows + count > batch_size:
            found.append(Batch[InRows].of(waiting))
            waiting, rows = [], 0
        waiting.append(item)
        rows += count
    return [*found, Batch[InRows].of(waiting)] if waiting else found


def swept(
    batch: Batch[InRows],
    tree: PrefixTree,
    score: Callable[[Batch[InRows], PrefixTree], Iterator[tuple[Route, list[Record]]]],
    advance: Advance,
) -> Iterator[Record]:
    """The records of a batch. Where memory does not suffice, what is left of its routes is done with half the batch.

    Args:
        batch: What is asked.
        tree: The routes.
        score: Sweeps a batch over routes: gives each with its records.
        advance: Called after each route of each batch, with the number of its items.

    Yields:
        All records that `score` gives.
    """
    done: set[Route] = set()
    try:
        for route, records in score(batch, tree):
            yield from records
            advance(len(batch.items))
            done.add(route)
        return
    except Exception as error:
        if len(batch.items) == 1 or not is_out_of_memory(error):
            raise
    # out of the `except`, for what it holds holds tensors
    clear_device_cache()
    left = PrefixTree(route for route in tree.routes if route not in done)
    half = len(batch.items) // 2
    for items in (batch.items[:half], batch.items[half:]):
        yield from swept(Batch[InRows].of(items), left, score, advance)
