"""Texts as vectors: the mean of the final residual stream over a text's tokens, under many routes."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from transformer_lens.model_bridge import TransformerBridge

from mechpaint.engine.sweep import Sweep
from mechpaint.routes.prefix_tree import PrefixTree
from mechpaint.routes.route import Route
from mechpaint.scoring.batches import Batch, Watch, batches, sweep_batch
from mechpaint.scoring.items import Pair, record
from mechpaint.statistics.results import Advance, Record


def mean_over_tokens(
    residual: Float[Tensor, "row position d_model"], attention_mask: Int[Tensor, "row position"]
) -> Float[Tensor, "row d_model"]:
    """The mean over the positions that hold tokens, in float32."""
    weights = (attention_mask != 0).unsqueeze(-1)
    # padding may hold NaN, and NaN times 0 is NaN
    return residual.float().masked_fill(~weights, 0).sum(dim=1) / weights.sum(dim=1)


def score_pairs(
    model: TransformerBridge,
    task: str,
    items: Sequence[Pair],
    tree: PrefixTree,
    batch_size: int,
    advance: Advance,
) -> Iterator[Record]:
    """Score each pair by the cosine of its two embeddings, under each route.

    Args:
        model: A TransformerBridge.
        task: The task's name in the results.
        items: The pairs.
        tree: The routes.
        batch_size: The largest number of texts that go through the model together.
        advance: Called after each route of each batch, with its number of items.

    Yields:
        A record for each item and route, as `Task.records` describes them.
    """

    def scored(batch: Batch[Pair], tree: PrefixTree, watch: Watch) -> Iterator[tuple[Route, list[Record]]]:
        tokens, mask = batch.padded(model.cfg.device)
        first, second = (list(rows) for rows in zip(*batch.own, strict=True))
        sweep = Sweep(model, tokens, tree, mask)
        sweep.watch = watch
        for route, residual in sweep.residuals():
            embeddings = mean_over_tokens(residual, mask)
            cosines: Any = torch.cosine_similarity(embeddings[first], embeddings[second])
            named = zip(batch.items, cosines.tolist(), strict=True)
            yield route, [record(task, item.name, route, cosine, math.isfinite(cosine)) for item, cosine in named]

    for batch in batches(items, batch_size):
        yield from sweep_batch(batch, tree, scored, advance)
