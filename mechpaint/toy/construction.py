"""A constructed induction head: each learned matrix as a sum of outer products, without training.

Section 4.2 of "Birth of a Transformer" (arXiv 2306.00802). Random vectors in d dimensions are nearly orthogonal, so
`W = Σ_i left_i right_iᵀ` maps `right_i` to `left_i`. The scales are ours: the right answer of a key memory scores β,
and the right logit exceeds others by β.
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
    """W_K¹ = β√d/d² Σ_t p_t p_{t-1}ᵀ: at position t, attend to the previous one."""
    positions, d = _positions(model), model.config.dim
    return sharpness * d**-1.5 * outer_products(positions[1:], positions[:-1])


def induction_memory(model: SimplifiedTransformer, sharpness: float, tokens: Sequence[int] | None = None) -> Matrix:
    """W_K² = β√d/(d mean|w₁|²) Σ_v w_E(v) w₁(v)ᵀ: at token v, attend to where layer 1 wrote that v came before.

    `w₁(v) = W_O¹ W_V¹ w_E(v)` is layer 1's copy of v. The sum is over `tokens`, by default all; the paper's is over
    possible triggers, and each pair not stored saves cross-talk.
    """
    embed, d, attn = model.tok_embed.weight, model.config.dim, model.first.attn
    again, stored = attn.o(attn.v(embed)), _tokens(model, tokens)
    return sharpness * d**-0.5 / mean_square(again) * outer_products(embed[stored], again[stored])


def output_memory(model: SimplifiedTransformer, sharpness: float) -> Matrix:
    """W_O² = β/(mean|w_U|² mean|W_V² w_E|²) Σ_v w_U(v) (W_V² w_E(v))ᵀ: predict the attended token."""
    embed, unembed = model.tok_embed.weight, model.head.weight
    values = model.last.attn.v(embed)
    return sharpness / (mean_square(unembed) * mean_square(values)) * outer_products(unembed, values)


def first_position_memory(
    model: SimplifiedTransformer, sharpness: float, tokens: Sequence[int] | None = None
) -> Matrix:
    """-β√d/d² Σ_v w_E(v) p_0ᵀ over `tokens`, by default all: added to W_K², it keeps tokens off position 0."""
    embed, positions, d = model.tok_embed.weight[_tokens(model, tokens)], _positions(model), model.config.dim
    return -sharpness * d**-1.5 * outer_products(embed, positions[:1].expand_as(embed))


@torch.no_grad()
def construct(model: SimplifiedTransformer, sharpness: float = 30.0, tokens: Sequence[int] | None = None) -> None:
    """Write the paper's induction head into a two-layer model; a feed-forward, if any, is set to zero.

    Args:
        model: The model; its random matrices stay, its learned ones are replaced.
        sharpness: β, the margin of right answers over others.
        tokens: The tokens that W_K² stores, such as a task's `fixed_triggers`; None for all.

    Raises:
        ToyError: A model with another number of layers, or without position vectors; unknown tokens.
    """
    if len(model.layers) != 2:
        raise ToyError(f"the construction needs two layers, and this model has {len(model.layers)}")
    model.first.attn.k.weight.copy_(previous_token_memory(model, sharpness))
    model.last.attn.k.weight.copy_(induction_memory(model, sharpness, tokens))
    model.last.attn.o.weight.copy_(output_memory(model, sharpness))
    if model.last.ff is not None:
        model.last.ff.weight.zero_()


@torch.no_grad()
def mend_first_position(
    model: SimplifiedTransformer, sharpness: float = 30.0, tokens: Sequence[int] | None = None
) -> None:
    """Keep stored tokens from attending to position 0 in a constructed model, by one more outer product in W_K².

    The first token has no predecessor and attends to itself, so layer 1 writes that it follows itself, and a trigger
    that opens its sequence is taken for its own output. The remedy is ours, not the paper's.

    Args:
        model: A model that `construct` has written into.
        sharpness: β, as given to `construct`.
        tokens: The tokens that it was constructed with; None for all.

    Raises:
        ToyError: A model without position vectors; unknown tokens.
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
