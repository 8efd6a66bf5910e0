"""What sweeps are made of, as plans count it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

from mechpaint.prefixtree import PrefixTree
from mechpaint.scoring import Batch

Sweeps: TypeAlias = Sequence[tuple[PrefixTree, Sequence[Batch[Any]]]]
"""Trees of routes, and the batches that are swept under each."""


def length_of(batch: Batch[Any]) -> int:
    """How long its rows are, padding included.

    Args:
        batch: Any.
    """
    return max(map(len, batch.rows))


def tokens_of(batch: Batch[Any]) -> int:
    """How many tokens go through the model, padding included.

    Args:
        batch: Any.
    """
    return len(batch.rows) * length_of(batch)


def scored_in(batch: Batch[Any]) -> int:
    """How many positions are scored.

    Args:
        batch: Any.
    """
    return len({(place.row, place.position) for item in batch.places for answer in item for place in answer})
