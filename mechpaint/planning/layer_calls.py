"""Which layer calls a sweep makes, and of how many visits: walked with the sweep's own agenda, without tensors."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType
from typing import Any, TypeAlias

import torch

from mechpaint.engine import sweep as sweeping
from mechpaint.engine.batch_size import tokens_that_pay
from mechpaint.routes.prefix_tree import Node, PrefixTree
from mechpaint.routes.schedule import Schedule
from mechpaint.routes.steps import Step
from mechpaint.scoring.batches import Batch


def visits_per_call(tokens: int, device: torch.device) -> int:
    """How many visits of a layer share a call at most, as sweeps have it."""
    return sweeping.visits_per_call(tokens, tokens_that_pay(device))


@lru_cache(maxsize=8)  # asked again for every batch of a plan, under the same few trees
def calls_of(tree: PrefixTree, per_call: int) -> Mapping[tuple[int, int], int]:
    """From layers and numbers of visits to how many calls a sweep makes of that layer with so many."""
    found: Counter[tuple[int, int]] = Counter()
    schedule = Schedule[_Stream](per_call)
    done = [tree.root]
    while done or schedule:
        while done:
            schedule.add(_Stream.of(done.pop()))
        if schedule:
            layer, streams = schedule.take()
            found[layer, len(streams)] += 1
            for stream in streams:
                done.extend(stream.read(layer))
    return MappingProxyType(found)


@dataclass(slots=True, eq=False)
class _Stream:
    """A node, the layers that have yet to read its stream, and those that its steps wait for."""

    node: Node
    layers: list[int]
    waiting: dict[Step, set[int]]

    @classmethod
    def of(cls, node: Node) -> _Stream:
        return cls(node, node.layers(), {step: set(step.layers) for step in node.children})

    def read(self, layer: int) -> list[Node]:
        """The nodes whose steps are complete now, groups first, as in a sweep."""
        complete: list[Node] = []
        for step in self.node.steps_reading(layer):
            self.waiting[step].discard(layer)
            if not self.waiting[step]:
                del self.waiting[step]
                complete.append(self.node.children[step])
        return complete


Sweeps: TypeAlias = Sequence[tuple[PrefixTree, Sequence[Batch[Any]]]]
"""Trees of routes, and the batches that are swept under each."""


def length_of(batch: Batch[Any]) -> int:
    """How long its rows are, padding included."""
    return max(map(len, batch.rows))


def tokens_of(batch: Batch[Any]) -> int:
    """How many tokens go through the model, padding included."""
    return len(batch.rows) * length_of(batch)


def scored_in(batch: Batch[Any]) -> int:
    """How many positions are scored."""
    return len({(place.row, place.position) for item in batch.places for answer in item for place in answer})
