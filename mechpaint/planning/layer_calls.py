"""The layer calls that a sweep makes, and their visits: the sweep's own walk, without tensors."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import lru_cache
from types import MappingProxyType
from typing import Any, TypeAlias

import torch

from mechpaint.engine import sweep as sweeping
from mechpaint.engine.batch_size import tokens_that_pay
from mechpaint.routes.prefix_tree import PrefixTree
from mechpaint.routes.schedule import Schedule
from mechpaint.routes.steps import Step
from mechpaint.routes.walk import Stream, Waiting, walk
from mechpaint.scoring.batches import Batch


def visits_per_call(tokens: int, device: torch.device) -> int:
    """The most visits of a layer that share a call, as in sweeps on such a device."""
    return sweeping.visits_per_call(tokens, tokens_that_pay(device))


@lru_cache(maxsize=8)  # asked again for every batch of a plan, under the same few trees
def calls_of(tree: PrefixTree, per_call: int) -> Mapping[tuple[int, int], int]:
    """Count a sweep's calls by layer and number of visits, with up to `per_call` visits each."""
    counts: Counter[tuple[int, int]] = Counter()

    def count(layer: int, waiting: Sequence[Waiting[None]]) -> list[None]:
        counts[layer, len(waiting)] += 1
        return [None] * len(waiting)

    for _ in walk(tree, Schedule[Stream[None]](per_call), None, _Members, count):
        pass
    return MappingProxyType(counts)


class _Members:
    """Counts a step's members in, as `GroupMerge` does with tensors."""

    __slots__ = ("_waiting",)

    def __init__(self, step: Step, incoming: None) -> None:
        self._waiting = len(step.layers)

    def add(self, output: None) -> None:
        self._waiting -= 1

    @property
    def complete(self) -> bool:
        return self._waiting == 0

    def merged(self) -> None:
        return None


Sweeps: TypeAlias = Sequence[tuple[PrefixTree, Sequence[Batch[Any]]]]
"""Trees of routes, and the batches that are swept under each."""


def length_of(batch: Batch[Any]) -> int:
    """The length of a batch's rows, padding included."""
    return max(map(len, batch.rows))


def tokens_of(batch: Batch[Any]) -> int:
    """The tokens of a batch, padding included."""
    return len(batch.rows) * length_of(batch)


def scored_in(batch: Batch[Any]) -> int:
    """The number of positions that are scored in a batch."""
    return len({(place.row, place.position) for item in batch.places for answer in item for place in answer})
