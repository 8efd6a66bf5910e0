"""The induction head written down: each learned matrix as a sum of outer products, without any training.

Section 4.2 of "Birth of a Transformer" (arXiv 2306.00802). Random vectors in d dimensions are nearly orthogonal, so
`W = Σ_i left_i right_iᵀ` answers `left_i` when asked with `right_i`. The scales are ours: with them the right answer of
a key memory scores β, and the right logit is β higher than others.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from mechpaint.errors import ToyError
from mechpaint.toy.simplified import SimplifiedTransformer

Matrix = Float[Tensor, "dim dim"]


def outer_products(left: Float[Tensor, "n out"], right: Float[Tensor, "n dim"]) -> Float[Tensor, "out dim"]:
    """The memory `Σ_i left_i right_iᵀ`."""
    return left.T @ right


def previous_token_memory(model: SimplifiedTransformer, sharpness: float) -> Matrix:
    """W_K¹ = β√d/d² Σ_t p_t p_{t-1}ᵀ: at position t, look one back."""
    positions, d = _positions(model), model.config.dim
    return sharpness * d**-1.5 * outer_products(positions[1:], positions[:-1])


def induction_memory(model: SimplifiedTransformer, sharpness: float, tokens: Sequence[int] | None = None) -> Matrix:
    """W_K² = β√d/(d mean|w₁|²) Σ_v w_E(v) w₁(v)ᵀ: at token v, look where layer 1 has written that v came before.

    `w₁(v) = W_O¹ W_V¹ w_E(v)` is the token as layer 1 writes it anew. The sum is over `tokens`, by default all: the
    paper's is over those that are ever triggers, and every pair that is not stored is cross-talk saved.
    """
    embed, d, attn = model.tok_embed.weight, model.config.dim, model.first.attn
    again, stored = attn.o(attn.v(embed)), _tokens(model, tokens)
    return sharpness * d**-0.5 / mean_square(again) * outer_products(embed[stored], again[stored])


def output_memory(model: SimplifiedTransformer, sharpness: float) -> Matrix:
    """W_O² = β/(mean|w_U|² mean|W_V² w_E|²) Σ_v w_U(v) (W_V² w_E(v))ᵀ: say the token that is attended to."""
    embed, unembed = model.tok_embed.weight, model.head.weight
    values = model.last.attn.v(embed)
    return sharpness / (mean_square(unembed) * mean_square(values)) * outer_products(unembed, values)


def first_position_memory(
    model: SimplifiedTransformer, sharpness: float, tokens: Sequence[int] | None = None
) -> Matrix:
    """What, added to W_K², mends the first position: -β√d/d² Σ_v w_E(v) p_0ᵀ, over `tokens`, by default all.

    The first token has nothing before it and attends to itself, so layer 1 writes there that it follows itself; a
    trigger that opens the sequence is then taken for its own output. No token may look at position 0 for that.
    """
    embed, positions, d = model.tok_embed.weight[_tokens(model, tokens)], _positions(model), model.config.dim
    return -sharpness * d**-1.5 * outer_products(embed, positions[:1].expand_as(embed))


@torch.no_grad()
def construct(model: SimplifiedTransformer, sharpness: float = 30.0, tokens: Sequence[int] | None = None) -> None:
    """Write the paper's induction head into a model of two layers; a feed-forward, if there is one, is set to zero.

    Args:
        model: Its random matrices stay, its learned ones are replaced.
        sharpness: β, by how much the right answer scores above others.
        tokens: The tokens that W_K² stores, such as a task's `fixed_triggers`; None for all.

    Raises:
        ToyError: A model with another number of layers, or without position vectors; tokens that it has not.
    """
    if len(model.layers) != 2:
        raise ToyError(f"the construction is for two layers, and this model has {len(model.layers)}")
    model.first.attn.k.weight.copy_(previous_token_memory(model, sharpness))
    model.last.attn.k.weight.copy_(induction_memory(model, sharpness, tokens))
    model.last.attn.o.weight.copy_(output_memory(model, sharpness))
    if model.last.ff is not None:
        model.last.ff.weight.zero_()


@torch.no_grad()
def mend_first_position(
    model: SimplifiedTransformer, sharpness: float = 30.0, tokens: Sequence[int] | None = None
) -> None:
    """Keep every stored token from looking at position 0, in a constructed model: one more outer product in W_K².

    The first token has nothing before it and attends to itself, so that a trigger that opens its sequence is taken for
    its own output. This is ours, not the paper's.

    Args:
        model: A model that `construct` has written into.
        sharpness: β, as given to `construct`.
        tokens: The tokens that it was constructed with; None for all.

    Raises:
        ToyError: A model without position vectors; tokens that it has not.
    """
    model.last.attn.k.weight.add_(first_position_memory(model, sharpness, tokens))


def _positions(model: SimplifiedTransformer) -> Float[Tensor, "position dim"]:
    if model.pos is None:
        raise ToyError("the construction stores pairs of position vectors, and a rotary model has none")
    return model.pos.weight


def _tokens(model: SimplifiedTransformer, tokens: Sequence[int] | None) -> list[int]:
    vocabulary = model.config.vocabulary
    stored = list(range(vocabulary) if tokens is None else tokens)
    known = all(0 <= token < vocabulary for token in stored)
    if not stored or not known or len(set(stored)) < len(stored):
        raise ToyError(
            f"tokens to store are different numbers from 0 to {vocabulary - 1}, or None for all; got {tokens}"
        )
    return stored


def mean_square(vectors: Float[Tensor, "n dim"]) -> float:
    """The mean squared length."""
    return float(vectors.square().sum(-1).mean())
