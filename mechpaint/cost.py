"""What scoring will cost: time and memory, from a measurement of a few seconds here and now."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import torch

from mechpaint.conductor import Conductor
from mechpaint.prefixtree import PrefixTree
from mechpaint.scoring import Batch

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge


def seconds(model: TransformerBridge, tree: PrefixTree, batches: Sequence[Batch]) -> float:
    """About how long sweeps of all batches take: the largest is timed on the tree's first route, and scaled up."""
    conductor = Conductor(model)
    batch = max(batches, key=_tokens)
    tokens, mask = batch.padded(model.cfg.device)
    with torch.no_grad():
        recording = conductor.record(tokens, mask)
        rows = recording.embeddings.flatten(0, 1)[:64]
        a_token = _timed(lambda: conductor.run(tree.routes[0], recording))
        a_token /= tree.routes[0].layer_calls * tokens.numel()
        a_row = _timed(lambda: conductor.tail(rows)) / len(rows)
    all_tokens = sum(map(_tokens, batches))
    all_rows = sum(len({(p.row, p.position) for i in b.places for c in i for p in c}) for b in batches)
    return all_tokens * tree.layer_calls * a_token + all_rows * len(tree.routes) * a_row


def memory(model: TransformerBridge, batches: Sequence[Batch]) -> int:
    """About how many bytes it takes at its peak."""
    parameters = sum(p.numel() * p.element_size() for p in model.original_model.parameters())
    vocabulary, width = int(model.cfg.d_vocab), int(model.cfg.d_model)
    # residuals that wait, and what one layer makes on the way
    activations = 4 * max(map(_tokens, batches)) * width * 24
    # a block of logits, and what scoring makes of it
    logits = 3 * max(2**27, 4 * vocabulary)
    return parameters + activations + logits


def _tokens(batch: Batch) -> int:
    """How many tokens go through the model, padding included."""
    return len(batch.rows) * max(map(len, batch.rows))


def _timed(work: Callable[[], object]) -> float:
    """Seconds of the second time: the first is slower."""
    work()
    began = time.monotonic()
    work()
    return time.monotonic() - began
