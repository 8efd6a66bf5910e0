"""What a learned matrix stores: associations that make an induction head, and others."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

from mechpaint.toy.construction import mean_square, outer_products
from mechpaint.toy.gradients import TOP_DOWN
from mechpaint.toy.memories import Learned, learned, memory_scores
from mechpaint.toy.simplified import SimplifiedTransformer


def margin(scores: Float[Tensor, "query answer"]) -> float:
    """By how much right answers, on the diagonal, score above the average."""
    return float((scores.diagonal() - scores.mean(1)).mean())


@torch.no_grad()
def own_token_margin(model: SimplifiedTransformer, matrix: Learned) -> float:
    """By how much a token's query, in a key matrix, scores keys of the same token above those of others.

    No induction head needs this: it is what else a gradient step stores.
    """
    embed, key = model.tok_embed.weight, learned(model, matrix)
    return margin(embed @ key @ embed.T / math.sqrt(model.config.dim))


@torch.no_grad()
def sharpen(model: SimplifiedTransformer, sharpness: float) -> None:
    """Scale every memory so that its right answers score this much above the average, as constructed ones do."""
    for matrix in TOP_DOWN:
        own = abs(margin(memory_scores(model, matrix)))
        if own:
            learned(model, matrix).mul_(sharpness / own)


@torch.no_grad()
def keep_associations(model: SimplifiedTransformer) -> None:
    """Write every memory anew from its own scores: what it answers to what it may be asked, and nothing else."""
    embed, scale = model.tok_embed.weight, math.sqrt(model.config.dim)
    values = model.last.attn.v(embed)
    again = model.first.attn.o(model.first.attn.v(embed))
    sides = {"W_O^2": (model.head.weight, values), "W_K^2": (embed, again)}
    if model.pos is not None:
        sides["W_K^1"] = (model.pos.weight[1:], model.pos.weight[:-1])
    for matrix in TOP_DOWN:
        scores = memory_scores(model, matrix)
        left, right = sides[matrix]
        between = scores.T if matrix == "W_O^2" else scale * scores
        learned(model, matrix).copy_(outer_products(left, between @ right) / (mean_square(left) * mean_square(right)))
