"""The layer calls that a sweep makes, and their visits: the sweep's own walk, without tensors."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import lru_cache
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeAlias

import torch

from mechpaint.engine import sweep as sweeping
from mechpaint.engine.batch_size import tokens_that_pay
from mechpaint.engine.token_tree import TokenTree, shareable
from mechpaint.engine.tree_attention import shares_tokens
from mechpaint.models.meta_device import is_meta
from mechpaint.routes.prefix_tree import PrefixTree
from mechpaint.routes.schedule import Schedule
from mechpaint.routes.steps import Step
from mechpaint.routes.walk import Stream, Waiting, walk
from mechpaint.scoring.batches import Batch

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge


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


class Shapes:
    """The shapes in which a model's layers get batches: rows, or packed where sweeps will share what begins alike."""

    def __init__(self, model: TransformerBridge) -> None:
        self.model = model
        self._known: dict[int, tuple[Batch[Any], TokenTree | None]] = {}

    def tree(self, batch: Batch[Any]) -> TokenTree | None:
        """The batch as its sweeps pack it; None if they do not."""
        if id(batch) not in self._known:
            self._known[id(batch)] = batch, None if is_meta(self.model) else self._packed(batch)
        return self._known[id(batch)][1]

    def _packed(self, batch: Batch[Any]) -> TokenTree | None:
        tokens, mask = batch.padded(self.model.cfg.device)
        tree = shareable(tokens, mask, int(self.model.cfg.d_model))
        exact = tree is not None and shares_tokens(self.model, tokens.shape[1], tree.tokens.shape[1])
        return tree if exact else None

    def rows(self, batch: Batch[Any]) -> int:
        """The rows that go through a layer."""
        tree = self.tree(batch)
        return len(batch.rows if tree is None else tree.tokens)

    def length(self, batch: Batch[Any]) -> int:
        """Their length, padding included."""
        tree = self.tree(batch)
        return max(map(len, batch.rows)) if tree is None else tree.tokens.shape[1]

    def tokens(self, batch: Batch[Any]) -> int:
        """The tokens that go through a layer, padding included."""
        return self.rows(batch) * self.length(batch)

    def scored(self, batch: Batch[Any]) -> int:
        """The positions that go through the unembedding."""
        tree = self.tree(batch)
        places = {(place.row, place.position) for item in batch.places for answer in item for place in answer}
        return len(places if tree is None else {int(tree.index[place]) for place in places})
