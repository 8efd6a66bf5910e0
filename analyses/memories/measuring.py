"""Accuracy of models with an induction head, kinds of errors, and recall of their memories."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from mechpaint.statistics.hits import hits
from mechpaint.toy.bigram_task import ToyBatch
from mechpaint.toy.gradients import TOP_DOWN
from mechpaint.toy.probes import Learned, memory_scores
from mechpaint.toy.simplified import SimplifiedTransformer

ACCURACY, CHANGED, REPEATS = "accuracy", "accuracy where the output differs", "repeats"
OPENING, WRONG_OPENING, WRONG_OTHER = "opening", "wrong, opening", "wrong, other"
SAYS_TRIGGER = "wrong, opening, says the trigger"
RECALLS: Mapping[Learned, str] = {matrix: f"recall of {matrix}" for matrix in TOP_DOWN}


@torch.no_grad()
def accuracies(
    model: SimplifiedTransformer, batches: Sequence[ToyBatch], advance: Callable[[], None] | None = None
) -> dict[str, float]:
    """Measure outcomes at second and later occurrences of triggers; `advance` is called before each batch."""
    outcomes: list[Tensor] = []
    for batch in batches:
        if advance is not None:
            advance()
        where = batch.occurrences >= 2
        trigger, target = batch.tokens[where], batch.targets[where]
        logits = model.logits_at(batch.tokens, where)
        opens = (batch.tokens == batch.tokens[:, :1])[where].double()
        same = (target == trigger).double()
        outcomes.append(torch.stack([hits(logits, target), opens, same, hits(logits, trigger)]))
    right, opens, same, repeated = torch.cat(outcomes, 1)  # NaN where logits overflowed
    shares = {
        ACCURACY: right,
        CHANGED: right[same == 0],
        REPEATS: same,
        OPENING: opens,
        WRONG_OPENING: (1 - right) * opens,
        SAYS_TRIGGER: (1 - right) * opens * repeated,
        WRONG_OTHER: (1 - right) * (1 - opens),
    }
    return {name: float(values.mean()) for name, values in shares.items()}


def recalls(model: SimplifiedTransformer, batches: Sequence[ToyBatch]) -> dict[str, float]:
    """The share of right answers that score highest in each memory, by the names of `RECALLS`.

    W_O² and W_K¹ weigh all tokens and positions alike; W_K² weighs tokens as the batches do.
    """
    asked = torch.cat([batch.tokens[batch.occurrences >= 2] for batch in batches])
    values: dict[str, float] = {}
    for matrix, name in RECALLS.items():
        scores = memory_scores(model, matrix)
        right = hits(scores, torch.arange(len(scores)))
        values[name] = float((right[asked] if matrix == "W_K^2" else right).mean())
    return values
