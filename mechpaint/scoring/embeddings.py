"""Texts as vectors: the mean of the final residual stream over a text's tokens, under many routes."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from transformer_lens.model_bridge import TransformerBridge

from mechpaint.engine.sweep import Sweep
from mechpaint.routes.prefix_tree import PrefixTree
from mechpaint.routes.route import Route
from mechpaint.scoring.batches import Batch, batches, swept
from mechpaint.statistics.results import Advance, Record

if TYPE_CHECKING:
    from mechpaint.scoring.items import Pair


def mean_over_tokens(
    residual: Float[Tensor, "row position d_model"], attention_mask: Int[Tensor, "row position"]
) -> Float[Tensor, "row d_model"]:
    """The mean over the positions at which there are tokens, in float32.

    Args:
        residual: A residual stream.
        attention_mask: 1 at tokens, 0 at padding.
    """
    weights = (attention_mask != 0).unsqueeze(-1)
    # what is at padding may be no number, which times 0 is none either
    return residual.float().masked_fill(~weights, 0).sum(dim=1) / weights.sum(dim=1)


def score_pairs(
    model: TransformerBridge,
    task: str,
    items: Sequence[Pair],
    tree: PrefixTree,
    batch_size: int,
    advance: Advance,
) -> Iterator[Record]:
    """The cosine of the two embeddings of each pair, under each route.

    Args:
        model: A TransformerBridge.
        task: What the task is called in the results.
        items: The pairs.
        tree: The routes.
        batch_size: How many texts go through the model together.
        advance: Called after each route of each batch, with the number of its items.

    Yields:
        A record for each item and route.
    """

    def scored(batch: Batch[Pair], tree: PrefixTree) -> Iterator[tuple[Route, list[Record]]]:
        tokens, mask = batch.padded(model.cfg.device)
        first, second = (list(rows) for rows in zip(*batch.own, strict=True))
        for route, residual in Sweep(model, tokens, tree, mask).residuals():
            embeddings = mean_over_tokens(residual, mask)
            cosines: Any = torch.cosine_similarity(embeddings[first], embeddings[second])
            named = zip(batch.items, cosines.tolist(), strict=True)
            yield route, [_record(task, item.name, str(route), cosine) for item, cosine in named]

    for batch in batches(items, batch_size):
        yield from swept(batch, tree, scored, advance)


def _record(task: str, item: str, route: str, cosine: float) -> Record:
    finite = math.isfinite(cosine)
    return {
        "task": task,
        "item": item,
        "route": route,
        "score": cosine if finite else float("nan"),
        "logprob": float("nan"),
        "tokens": 0,
        "finite": finite,
        "metrics": "",
    }
