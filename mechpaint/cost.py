"""What asking a model will cost: time and memory, from a measurement of a few seconds here and now."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import torch

from mechpaint.conductor import Conductor
from mechpaint.prefixtree import PrefixTree
from mechpaint.scoring import Batch

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge

Sweeps: TypeAlias = Sequence[tuple[PrefixTree, Sequence[Batch[Any]]]]
"""Trees of routes, and the batches that are swept under each."""


@dataclass(frozen=True)
class Cost:
    """What asking will take.

    Attributes:
        batches: How many batches go through the model.
        layer_calls: How many times a layer runs on one.
        layer_calls_unshared: How many times it would if every route ran alone.
        seconds: About how long it takes.
        memory: About how many bytes it takes at its peak.
    """

    batches: int
    layer_calls: int
    layer_calls_unshared: int
    seconds: float
    memory: int


def of_sweeps(model: TransformerBridge, sweeps: Sweeps) -> Cost:
    """The cost of sweeps.

    Args:
        model: A TransformerBridge.
        sweeps: Trees of routes, and the batches that are swept under each.
    """
    return Cost(
        batches=sum(len(batches) for _, batches in sweeps),
        layer_calls=sum(len(batches) * tree.layer_calls for tree, batches in sweeps),
        layer_calls_unshared=sum(len(batches) * tree.layer_calls_unshared for tree, batches in sweeps),
        seconds=seconds(model, sweeps),
        memory=memory(model, [batch for _, batches in sweeps for batch in batches]),
    )


def seconds(model: TransformerBridge, sweeps: Sweeps) -> float:
    """About how long sweeps take: the largest batch is timed on its tree's first route, and scaled up.

    Args:
        model: A TransformerBridge.
        sweeps: Trees of routes, and the batches that are swept under each.
    """
    conductor = Conductor(model)
    batch, tree = max(((b, tree) for tree, batches in sweeps for b in batches), key=lambda pair: _tokens(pair[0]))
    tokens, mask = batch.padded(model.cfg.device)
    with torch.no_grad():
        recording = conductor.record(tokens, mask)
        a_token = timed(lambda: conductor.run(tree.routes[0], recording))
        a_token /= tree.routes[0].layer_calls * tokens.numel()
        a_row = 0.0
        if _scored(batch):
            rows = recording.embeddings.flatten(0, 1)[:64]
            a_row = timed(lambda: conductor.tail(rows)) / len(rows)
    layers = sum(tree.layer_calls * sum(map(_tokens, batches)) for tree, batches in sweeps)
    rows_out = sum(len(tree.routes) * sum(map(_scored, batches)) for tree, batches in sweeps)
    return layers * a_token + rows_out * a_row


def memory(model: TransformerBridge, batches: Sequence[Batch[Any]]) -> int:
    """About how many bytes sweeps take at their peak.

    Args:
        model: A TransformerBridge.
        batches: What is swept.
    """
    parameters = sum(p.numel() * p.element_size() for p in model.original_model.parameters())
    vocabulary, width = int(model.cfg.d_vocab), int(model.cfg.d_model)
    # residuals that wait, and what one layer makes on the way
    activations = 4 * max(map(_tokens, batches)) * width * 24
    # a block of logits, and what scoring makes of it
    logits = 3 * max(2**27, 4 * vocabulary) if any(map(_scored, batches)) else 0
    return parameters + activations + logits


def _tokens(batch: Batch[Any]) -> int:
    """How many tokens go through the model, padding included."""
    return len(batch.rows) * max(map(len, batch.rows))


def _scored(batch: Batch[Any]) -> int:
    """How many positions are scored."""
    return len({(place.row, place.position) for item in batch.places for answer in item for place in answer})


def timed(work: Callable[[], object]) -> float:
    """How many seconds something takes the second time: the first is slower.

    Args:
        work: What is timed.
    """
    work()
    began = time.monotonic()
    work()
    return time.monotonic() - began
