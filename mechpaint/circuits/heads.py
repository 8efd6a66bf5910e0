"""Scores for every head of any model, on repeated random tokens.

Definitions: previous-token, duplicate-token and prefix-matching (induction) scores after Olsson et al. 2022
(transformer-circuits.pub, "In-context Learning and Induction Heads"), copying after Elhage et al. 2021 ("A Mathematical
Framework for Transformer Circuits").
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import torch
from jaxtyping import Float, Int
from torch import Tensor

from mechpaint.engine.arguments import Routing, as_hook_set
from mechpaint.engine.attach import attach
from mechpaint.errors import InputError, TextTooLong
from mechpaint.models.loading import require_language_model
from mechpaint.routes.hookset import ATTENTION, Patterns
from mechpaint.routes.steps import Visit

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge


@dataclass(frozen=True)
class Repeated:
    """Sequences of random tokens, each repeated once.

    Attributes:
        tokens: `[sequence, position]`: an optional beginning-of-sequence token, then `period` tokens twice.
        period: The distance between repeats.
        start: 1 with a beginning-of-sequence token, else 0.
    """

    tokens: Int[Tensor, "sequence position"]
    period: int
    start: int

    @property
    def second(self) -> slice:
        """The positions of the second half whose next token is predictable."""
        return slice(self.start + self.period, self.start + 2 * self.period - 1)


@dataclass(frozen=True)
class HeadScore:
    """One head on one visit of its layer.

    Attributes:
        visit: The visit, with its step and layer.
        head: The index of the head.
        previous_token: Mean attention from each token to the one before it; at most 1.
        duplicate_token: Mean attention from each token's second occurrence to its first.
        prefix_matching: Mean attention from each token's second occurrence to what followed its first.
        copying: Σλ/Σ|λ| over the eigenvalues of the head's OV circuit from embedding to unembedding, without layer
            norms: 1 if attending to a token always raises that token's logit, -1 if it always lowers it.
    """

    visit: Visit
    head: int
    previous_token: float
    duplicate_token: float
    prefix_matching: float
    copying: float

    @property
    def name(self) -> str:
        """The head as everyone writes it: L1H0."""
        return head_name(self.visit.layer, self.head)


def head_name(layer: int, head: int) -> str:
    """A head as everyone writes it: L1H0."""
    return f"L{layer}H{head}"


def repeated_tokens(model: TransformerBridge, count: int, period: int, seed: int = 0) -> Repeated:
    """Make sequences of distinct random tokens repeated once, after a beginning-of-sequence token if the model has one.

    Args:
        model: The model whose tokens are used, except special ones.
        count: The number of sequences.
        period: The distance between repeats, 2 or more.
        seed: Random seed.

    Returns:
        The sequences.

    Raises:
        TextTooLong: More distinct tokens or positions than the model has.
    """
    tokenizer = model.tokenizer
    special: set[int] = set(cast(list[int], tokenizer.all_special_ids)) if tokenizer is not None else set()
    starts = tokenizer is not None and bool(model.cfg.default_prepend_bos)
    ordinary = torch.tensor([t for t in range(int(model.cfg.d_vocab)) if t not in special])
    length = 2 * period + starts
    if period < 2 or period > len(ordinary) or length > int(model.cfg.n_ctx):
        raise TextTooLong(
            f"cannot repeat {period} distinct tokens: expected 2 or more, no more than {len(ordinary)} and no more "
            f"than fit twice into {int(model.cfg.n_ctx)} positions"
        )
    if not 0 <= seed < 2**63:
        raise InputError(f"expected a seed from 0 to 2^63 - 1, got {seed}")
    generator = torch.Generator().manual_seed(seed)
    once = torch.stack([ordinary[torch.randperm(len(ordinary), generator=generator)[:period]] for _ in range(count)])
    first = [torch.full((count, 1), cast(int, tokenizer.bos_token_id))] if tokenizer is not None and starts else []
    return Repeated(torch.cat([*first, once, once], 1).to(model.cfg.device), period, int(starts))


def head_scores(model: TransformerBridge, data: Repeated, hook_set: Routing | None = None) -> tuple[HeadScore, ...]:
    """Score every head, on every visit of a route.

    Args:
        model: The bridge.
        data: Sequences from `repeated_tokens`.
        hook_set: A hook set or route, or the text of either, to run the model under; None for neither.

    Returns:
        Scores for each visit and head, in the order of the route.
    """
    under = as_hook_set(hook_set or "") + Patterns()
    with torch.no_grad(), attach(model, under) as session:
        model(data.tokens, return_type=None)
    copying = copying_scores(model)
    everywhere, again = slice(data.start + 1, None), slice(data.start + data.period, None)
    return tuple(
        HeadScore(
            visit,
            head,
            previous_token=_band(pattern[:, head], everywhere, 1),
            duplicate_token=_band(pattern[:, head], again, data.period),
            prefix_matching=_band(pattern[:, head], again, data.period - 1),
            copying=float(copying[visit.layer, head]),
        )
        for visit, pattern in session[ATTENTION].items()
        for head in range(pattern.shape[1])
    )


def copying_scores(model: TransformerBridge) -> Float[Tensor, "layer head"]:
    """Compute the copying score of every head, from weights alone (Elhage et al. 2021).

    Args:
        model: A bridge with value, output, embedding and unembedding matrices.

    Returns:
        `[layer, head]` scores from -1 to 1; see `HeadScore`.

    Raises:
        LoadError: A model without a language-modelling head, and so without an unembedding.
    """
    require_language_model(model, "the copying score of heads")
    with torch.no_grad():
        values, outputs = model.W_V.float(), model.W_O.float()
        values = values.repeat_interleave(outputs.shape[1] // values.shape[1], dim=1)  # grouped-query attention
        through = model.W_U.float() @ model.W_E.float()
        if not (through.isfinite().all() and values.isfinite().all() and outputs.isfinite().all()):
            raise InputError("this model has weights that are NaN or infinite, so its heads have no copying score")
        # the non-zero eigenvalues of W_E W_V W_O W_U are those of the small W_O W_U W_E W_V
        eigenvalues = cast(Tensor, torch.linalg.eigvals(outputs @ through @ values))
        return eigenvalues.real.sum(-1) / eigenvalues.abs().sum(-1)


def _band(pattern: Float[Tensor, "sequence query key"], rows: slice, back: int) -> float:
    """The mean attention of some queries to the position `back` before them."""
    at = torch.arange(pattern.shape[-1], device=pattern.device)[rows]
    return float(pattern[:, at, at - back].double().mean())
