"""Probes of toy models: losses, accuracies, attention, and recall of their matrices.

The probes of "Birth of a Transformer" (arXiv 2306.00802, section 4 and appendix) on one fixed batch, plus accuracy
where the output differs from the trigger, and divergences from global and in-context bigrams. All return numbers by
name.
"""

from __future__ import annotations

from typing import Literal, TypeAlias, cast

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional

from mechpaint.errors import ToyError
from mechpaint.statistics.hits import hits, where_known
from mechpaint.toy.bigram_task import ToyBatch
from mechpaint.toy.simplified import SimplifiedTransformer

__all__ = [
    "attention",
    "divergences",
    "in_context_bigrams",
    "memory_scores",
    "predictions",
    "recall",
    "recalls",
]

Values: TypeAlias = dict[str, float]
Logits: TypeAlias = Float[Tensor, "batch position vocab"]
Pattern: TypeAlias = Float[Tensor, "batch query key"]
_START = 10
"""Positions that count as the start of a sequence."""
EARLY = 64
"""Positions that count as early for the recall of positions."""


def predictions(logits: Logits, batch: ToyBatch) -> Values:
    """Compute losses (nats per token) and accuracies.

    Args:
        logits: The model's predictions, `[batch, position, vocab]`.
        batch: The model's input.

    Returns:
        `loss` everywhere; `loss_bigram` where the chain drew the next token; `loss_in_context` at second and later
        occurrences of triggers. `accuracy_triggers` after all triggers; `accuracy_start` after those in the first 10
        positions; `accuracy_in_context` at second and later occurrences; `accuracy_changed` at those where the output
        differs from the trigger. `repeats`: the share of triggers whose output is the trigger itself.
    """
    losses = functional.cross_entropy(logits.flatten(0, 1), batch.targets.flatten(), reduction="none")
    losses = losses.view(batch.targets.shape)
    right = hits(logits, batch.targets)
    trigger, again = batch.occurrences >= 1, batch.occurrences >= 2
    same = batch.tokens == batch.targets
    return {
        "loss": _mean(losses),
        "loss_bigram": _mean(losses[~trigger]),
        "loss_in_context": _mean(losses[again]),
        "accuracy_triggers": _mean(right[trigger]),
        "accuracy_start": _mean(right[:, :_START][trigger[:, :_START]]),
        "accuracy_in_context": _mean(right[again]),
        "accuracy_changed": _mean(right[again & ~same]),
        "repeats": _mean(same[trigger]),
    }


def divergences(logits: Logits, batch: ToyBatch, transitions: Float[np.ndarray, "vocab vocab"]) -> Values:
    """Compute mean KL divergences of the model from global and in-context bigrams, in nats per token (figure 4, left).

    Args:
        logits: The model's predictions, `[batch, position, vocab]`.
        batch: The model's input.
        transitions: π_b, the probability of each token (column) after each (row).

    Returns:
        `kl_global`: from the chain's π_b(· | x_t) to the model, where the chain drew the next token.
        `kl_in_context`: from the frequencies of what followed x_t earlier in the same sequence to the model, where x_t
        occurred before.
    """
    chain = torch.tensor(transitions, device=logits.device)[batch.tokens]
    model = logits.double().log_softmax(-1)
    followed = in_context_bigrams(batch.tokens, batch.targets, logits.shape[-1])
    known = followed.sum(-1) > 0
    return {
        "kl_global": _mean(_kl(chain, model)[batch.occurrences == 0]),
        "kl_in_context": _mean(_kl(followed, model)[known]),
    }


def in_context_bigrams(
    tokens: Int[Tensor, "batch position"], targets: Int[Tensor, "batch position"], vocabulary: int
) -> Float[Tensor, "batch position vocab"]:
    """Compute, for each position, the frequencies of tokens after earlier occurrences of its token.

    Args:
        tokens: Tokens, `[batch, position]`.
        targets: The token after each.
        vocabulary: The number of tokens.

    Returns:
        `[batch, position, vocab]`: each row sums to 1, or is 0 where the token is new.
    """
    same = (tokens[:, :, None] == tokens[:, None, :]).double().tril(-1)
    counts = same @ functional.one_hot(targets, vocabulary).double()
    return counts / counts.sum(-1, keepdim=True).clamp(min=1)


def attention(first: Pattern, second: Pattern, logits: Logits, batch: ToyBatch) -> Values:
    """Compare the strongest attention of two one-headed layers with that of an induction head.

    Args:
        first: The pattern of the previous-token layer, `[batch, query, key]`.
        second: The pattern of the induction layer, `[batch, query, key]`.
        logits: The model's predictions, `[batch, position, vocab]`.
        batch: The model's input.

    Returns:
        Shares of positions. `previous_token`: one position after triggers, layer 1 attends to the trigger;
        `previous_token_first`: after first occurrences only. At second and later occurrences: `attends_output`, layer 2
        attends to a token equal to the right output; `attends_after_trigger`, to one that follows the trigger;
        `previous_token_there`, layer 1 at the attended position attends to the one before; `predicts_attended`, the
        model predicts the attended token. Where the output is the trigger itself, `repeat_1` and `repeat_2`: the layer
        attends to that token.
    """
    tokens, targets, occurrences = batch.tokens, batch.targets, batch.occurrences
    first_at, second_at = first.argmax(-1), second.argmax(-1)
    shifted = hits(first[:, 1:], torch.arange(tokens.shape[1] - 1, device=tokens.device).expand_as(first_at[:, 1:]))
    again = occurrences >= 2
    row, at = again.nonzero()[:, 0], second_at[again]
    attended, there = tokens[row, at], at >= 1
    before = (at - 1).clamp(min=0)
    repeated = again & (tokens == targets)
    return {
        "previous_token": _mean(shifted[occurrences[:, :-1] >= 1]),
        "previous_token_first": _mean(shifted[occurrences[:, :-1] == 1]),
        "attends_output": _mean(where_known(second[again], attended == targets[again])),
        "attends_after_trigger": _mean(where_known(second[again], there & (tokens[row, before] == tokens[again]))),
        "previous_token_there": _mean(where_known(second[again], hits(first[row, at], before))[there]),
        "predicts_attended": _mean(where_known(second[again], hits(logits[again], attended))),
        "repeat_1": _mean(where_known(first, tokens.gather(1, first_at) == targets)[repeated]),
        "repeat_2": _mean(where_known(second, tokens.gather(1, second_at) == targets)[repeated]),
    }


def recalls(
    model: SimplifiedTransformer,
    triggers: tuple[int, ...] = (),
    transitions: Float[np.ndarray, "vocab vocab"] | None = None,
) -> Values:
    """Compute the recall of a simplified model's matrices (section 4.2): how often the right argument scores highest.

    Args:
        model: A model with two layers or more; the first and the last are read.
        triggers: Fixed triggers; if empty, only the recall over all tokens is computed.
        transitions: π_b, for the feed-forward; None to skip it.

    Returns:
        `recall_output`: `w_U(u) · W_O² W_V² w_E(v)` is highest at u = v. `recall_positions`: `p_t · W_K¹ p_s` is
        highest at s = t - 1, and `recall_early` on the first 64 positions alone. `recall_triggers`:
        `w_E(i) · W_K² W_O¹ W_V¹ w_E(j)` is highest at j = i among triggers, `recall_tokens` among all tokens.
        `kl_feed_forward`: mean KL of softmax(W_U W_F w_E(v)) from π_b(· | v), in nats, over tokens that are not
        triggers; `kl_feed_forward_all` over all.

    Raises:
        ToyError: A model with fewer than two layers.
    """
    if len(model.layers) < 2:
        raise ToyError("recalls need a model with two layers or more: a key memory reads an earlier layer")
    keys = memory_scores(model, "W_K^2")
    values = {"recall_output": recall(memory_scores(model, "W_O^2")), "recall_tokens": recall(keys)}
    if model.pos is not None:
        positions = memory_scores(model, "W_K^1")
        values |= {
            "recall_positions": recall(positions),
            "recall_early": recall(positions[: EARLY - 1, : EARLY - 1]),
        }
    if triggers:
        values["recall_triggers"] = recall(keys[list(triggers)][:, list(triggers)])
    if model.last.ff is not None and transitions is not None:
        with torch.no_grad():
            logits = model.last.ff(model.tok_embed.weight) @ model.head.weight.T
        divergence = _kl(torch.tensor(transitions, device=logits.device), logits.double().log_softmax(-1))
        others = [v for v in range(len(divergence)) if v not in triggers]
        values |= {"kl_feed_forward": _mean(divergence[others]), "kl_feed_forward_all": _mean(divergence)}
    return values


def _kl(p: Float[Tensor, "*rows vocab"], log_q: Float[Tensor, "*rows vocab"]) -> Float[Tensor, "*rows"]:
    entropy = cast(Tensor, torch.special.xlogy(p, p))
    return (entropy - p * log_q).sum(-1)


def _mean(values: Float[Tensor, "..."] | Bool[Tensor, "..."]) -> float:
    """The mean; NaN if empty."""
    return values.double().mean().item()


Learned: TypeAlias = Literal["W_O^2", "W_K^2", "W_K^1"]
"""The paper's names of the circuit's matrices; in deeper models, the last layer stands for the second."""


def learned(model: SimplifiedTransformer, matrix: Learned) -> Tensor:
    """Look a parameter up by the paper's name."""
    return {"W_O^2": model.last.attn.o, "W_K^2": model.last.attn.k, "W_K^1": model.first.attn.k}[matrix].weight


@torch.no_grad()
def memory_scores(model: SimplifiedTransformer, matrix: Learned) -> Float[Tensor, "query answer"]:
    """Compute the scores of a memory's answers to each query, with the right answers on the diagonal.

    Args:
        model: A model with two layers or more; the first and the last are read.
        matrix: The paper's name, such as `"W_K^1"`.

    Returns:
        For `W_O^2` the logits `w_U(u) · W_O² W_V² w_E(v)` for each v; for `W_K^2` the attention scores
        `w_E(v) · W_K² w₁(u) / √d`, where w₁(u) is u as layer 1 copies it; for `W_K^1` the scores
        `p_t · W_K¹ p_s / √d` for t from 1 and s up to the last but one.

    Raises:
        ToyError: `W_K^1` of a model without position vectors.
    """
    embed, scale = model.tok_embed.weight, model.config.dim**-0.5
    if matrix == "W_O^2":
        return model.last.attn.o(model.last.attn.v(embed)) @ model.head.weight.T
    if matrix == "W_K^2":
        return scale * embed @ model.last.attn.k(model.first.attn.o(model.first.attn.v(embed))).T
    if model.pos is None:
        raise ToyError("a rotary model has no position vectors to recall")
    positions = model.pos.weight
    return scale * positions[1:] @ model.first.attn.k(positions[:-1]).T


def recall(scores: Float[Tensor, "query answer"]) -> float:
    """The share of queries with the highest score on the diagonal; chance is 1 over the number of answers.

    Args:
        scores: Scores from `memory_scores`, or some of their rows and columns.
    """
    return float(hits(scores, torch.arange(len(scores), device=scores.device)).mean())
