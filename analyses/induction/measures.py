"""Scores of routes and heads, and the attention of the best heads on one sequence."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch
from jaxtyping import Bool, Int
from torch import Tensor
from torch.nn import functional

from mechpaint.circuits.attention_patterns import MOST_TOKENS
from mechpaint.circuits.heads import HeadScore, Repeated, head_scores, repeated_tokens
from mechpaint.engine.attach import attach
from mechpaint.engine.sweep import sweep
from mechpaint.models.token_text import token_texts
from mechpaint.routes.hookset import ATTENTION, HookSet, Patterns
from mechpaint.routes.stages import edited
from mechpaint.statistics.hits import hits
from mechpaint.statistics.results import Record
from mechpaint.toy.bridge import task_of

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge

    from mechpaint.analyses.induction import Induction

_LOGITS_AT_ONCE = 2**26
SCORES = ("previous_token", "prefix_matching", "duplicate_token", "copying")


def measure(analysis: Induction, model: TransformerBridge, hook_set: HookSet, look: bool) -> Iterator[Record]:
    """Count what was `asked` and `right` and sum the `loss` (nats), per sequence; with `look` also score the heads."""
    data = repeated_tokens(model, analysis.sequences, analysis.period, analysis.seed)
    yield from _scores("repeated tokens", model, hook_set, data.tokens[:, :-1], data.tokens[:, 1:], _second_half(data))
    task = task_of(model)
    if task is not None:
        batch = task.batch(256, int(model.cfg.n_ctx), analysis.seed).to(model.cfg.device)
        again, same = batch.occurrences >= 2, batch.tokens == batch.targets
        yield from _scores("its own task", model, hook_set, batch.tokens, batch.targets, again)
        yield from _scores("its own task where y ≠ x", model, hook_set, batch.tokens, batch.targets, again & ~same)
    if not look:
        return
    scores = head_scores(model, data, hook_set)
    for score in scores:
        for name in SCORES:
            yield _record("head", name, getattr(score, name), layer=score.visit.layer, head=score.head)
    tokens = batch.tokens[:1] if task is not None else data.tokens[:1]
    yield from _attention(model, hook_set, tokens[:, :MOST_TOKENS], _best(scores, analysis.heads))


def _record(kind: str, name: str, value: float, **where: int) -> Record:
    nowhere = dict.fromkeys(("sequence", "layer", "head", "query", "key"), -1)
    return {"kind": kind, "name": name, **nowhere, **where, "value": value}


def _second_half(data: Repeated) -> Bool[Tensor, "sequence position"]:
    """Mark the positions whose next token follows the same token in the first half."""
    where = torch.zeros(data.tokens[:, :-1].shape, dtype=torch.bool, device=data.tokens.device)
    where[:, data.second] = True
    return where


def _scores(
    name: str,
    model: TransformerBridge,
    hook_set: HookSet,
    tokens: Int[Tensor, "sequence position"],
    targets: Int[Tensor, "sequence position"],
    where: Bool[Tensor, "sequence position"],
) -> Iterator[Record]:
    """Sum over each sequence, at the positions whose next token is known from context."""
    route = edited(hook_set, len(model.blocks))
    concurrency = max(1, _LOGITS_AT_ONCE // (int(model.cfg.d_vocab) * tokens.shape[1]))
    for rows in torch.arange(len(tokens)).split(concurrency):
        ((_, logits),) = sweep(model, tokens[rows], [route], positions=where[rows])
        wanted, sequence = targets[rows][where[rows]], where[rows].nonzero()[:, 0]
        each = {
            "asked": torch.ones_like(wanted, dtype=torch.float64),
            "right": hits(logits, wanted),
            "loss": functional.cross_entropy(logits.float(), wanted, reduction="none").double(),
        }
        for kind, values in each.items():
            sums = values.new_zeros(len(rows)).index_add(0, sequence, values)
            for at, value in zip(rows.tolist(), sums.tolist(), strict=True):
                yield _record(kind, name, value, sequence=at)


def _best(scores: tuple[HeadScore, ...], count: int) -> list[HeadScore]:
    """The best induction and previous-token heads, half each, in the order of the model."""
    chosen: list[HeadScore] = []
    by = [
        sorted(scores, key=lambda score: -score.prefix_matching),
        sorted(scores, key=lambda score: -score.previous_token),
    ]
    for pair in zip(*by, strict=True):
        chosen += [score for score in pair if score not in chosen]
    return sorted(chosen[:count], key=lambda score: (score.visit.step, score.head))


def _attention(
    model: TransformerBridge, hook_set: HookSet, tokens: Int[Tensor, "1 position"], heads: list[HeadScore]
) -> Iterator[Record]:
    with torch.no_grad(), attach(model, hook_set + Patterns()) as session:
        model(tokens, return_type=None)
    for place, text in enumerate(token_texts(model, tokens[0])):
        yield _record("token", text, float(tokens[0, place]), query=place)
    for score in heads:
        pattern = session[ATTENTION][score.visit][0, score.head]
        for query, row in enumerate(pattern.tolist()):
            for key, value in enumerate(row[: query + 1]):
                at = {"layer": score.visit.layer, "head": score.head, "query": query, "key": key}
                yield _record("attention", "", value, **at)
