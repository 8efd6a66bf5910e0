"""Watching a model learn: every probe that it has, on held-out sequences that stay the same."""

from __future__ import annotations

import torch

from mechpaint.hookset import HookSet
from mechpaint.patterns import ATTENTION, Patterns
from mechpaint.session import attach
from mechpaint.toy import probes
from mechpaint.toy.bigram_task import BigramTask
from mechpaint.toy.bridging import as_bridge
from mechpaint.toy.full import FullTransformer
from mechpaint.toy.simplified import SimplifiedTransformer

_HELD_OUT = 2**31
"""Batches with this index are never trained on."""


class Observer:
    """Probes one model, as often as asked.

    Args:
        model: A toy model; what it weighs at the time of asking counts.
        task: Where the held-out sequences come from.
        size: How many of them.
        seed: Of the sequences.
    """

    def __init__(self, model: SimplifiedTransformer | FullTransformer, task: BigramTask, size: int, seed: int) -> None:
        self.model, self.task = model, task
        self.bridge = as_bridge(model)
        device = next(model.parameters()).device
        self.batch = task.batch(size, model.config.length, seed, _HELD_OUT).to(device)

    def accuracy(self) -> float:
        """The in-context accuracy alone, which is quicker."""
        where = self.batch.occurrences >= 2
        with torch.no_grad():
            right = self.model.logits_at(self.batch.tokens, where).argmax(-1) == self.batch.targets[where]
        return right.double().mean().item()

    def values(self) -> probes.Values:
        """Every probe's value, by name: those of attention and memories where the model is of the paper's form."""
        simplified = self.model if isinstance(self.model, SimplifiedTransformer) else None
        paper = simplified is not None and len(simplified.layers) >= 2
        with torch.no_grad(), attach(self.bridge, Patterns() if paper else HookSet()) as session:
            logits = self.bridge(self.batch.tokens)
        values = probes.predictions(logits, self.batch)
        values |= probes.divergences(logits, self.batch, self.task.chain.transitions)
        if simplified is None or not paper:
            return values
        patterns = [pattern[:, 0] for pattern in session[ATTENTION].values()]
        values |= probes.attention(patterns[0], patterns[-1], logits, self.batch)
        return values | probes.recalls(simplified, self.task.fixed_triggers, self.task.chain.transitions)
