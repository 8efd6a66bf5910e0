"""The learned matrices of a simplified model, read as associative memories (arXiv 2306.00802, section 4.2)."""

from __future__ import annotations

from typing import Literal, TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor

from mechpaint.toy.simplified import SimplifiedTransformer, ToyModelError

Learned: TypeAlias = Literal["W_O^2", "W_K^2", "W_K^1"]
"""The paper's names of what the circuit needs; for models of more layers, the last layer stands for the second."""


def learned(model: SimplifiedTransformer, matrix: Learned) -> Tensor:
    """The parameter of that name."""
    return {"W_O^2": model.last.attn.o, "W_K^2": model.last.attn.k, "W_K^1": model.first.attn.k}[matrix].weight


@torch.no_grad()
def memory_scores(model: SimplifiedTransformer, matrix: Learned) -> Float[Tensor, "query answer"]:
    """What a memory answers to each query, with the right answers on the diagonal.

    Args:
        model: With two layers or more; those read are the first and the last.
        matrix: The paper's name, such as `"W_K^1"`.

    Returns:
        For `W_O^2` the logits `w_U(u) · W_O² W_V² w_E(v)` for each v; for `W_K^2` the attention scores
        `w_E(v) · W_K² w₁(u) / √d`, w₁(u) being u as layer 1 writes it anew; for `W_K^1` the scores
        `p_t · W_K¹ p_s / √d` for t from 1 and s up to the last but one.

    Raises:
        ToyModelError: `W_K^1` of a model without position vectors.
    """
    embed, scale = model.tok_embed.weight, model.config.dim**-0.5
    if matrix == "W_O^2":
        return model.last.attn.o(model.last.attn.v(embed)) @ model.head.weight.T
    if matrix == "W_K^2":
        return scale * embed @ model.last.attn.k(model.first.attn.o(model.first.attn.v(embed))).T
    if model.pos is None:
        raise ToyModelError("a rotary model has no position vectors to recall")
    positions = model.pos.weight
    return scale * positions[1:] @ model.first.attn.k(positions[:-1]).T


def recall(scores: Float[Tensor, "query answer"]) -> float:
    """How often the highest score of a query is on the diagonal: from 0 to 1, 1 over the number of answers by chance.

    Args:
        scores: From `memory_scores`, or rows and columns of them.
    """
    return float((scores.argmax(-1) == torch.arange(len(scores), device=scores.device)).double().mean())
