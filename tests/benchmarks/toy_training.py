"""A training step of the simplified model against a plain PyTorch loop, in one run.

`python -m tests.benchmarks.toy_training` prints it. One thread; dim 128, batch 64, length 64, the loss at second
and later occurrences of 5 fixed triggers.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable

import torch
from torch import nn
from torch.nn import functional

from mechpaint.toy import BigramTask, Chain, Sgd, SimplifiedConfig, SimplifiedTransformer
from mechpaint.toy.training import batch_loss

ROUNDS, STEPS = 15, 4


class Plain(nn.Module):
    """The same model as everyone would write it: every query, every key, all logits."""

    def __init__(self, dim: int = 128, vocabulary: int = 65, length: int = 64) -> None:
        super().__init__()
        self.embed, self.pos = nn.Embedding(vocabulary, dim), nn.Embedding(length, dim)
        names = [f"{part}{layer}" for layer in (1, 2) for part in "kvo"]
        self.maps = nn.ModuleDict({name: nn.Linear(dim, dim, bias=False) for name in names})
        self.head = nn.Linear(dim, vocabulary, bias=False)
        for name, parameter in self.named_parameters():
            parameter.requires_grad_(any(learned in name for learned in ("k1", "k2", "o2")))

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Logits everywhere."""
        length = tokens.shape[1]
        mask = torch.full((length, length), -torch.inf).triu(1)
        h = self.embed(tokens) + self.pos.weight[:length]
        for layer in (1, 2):
            key, value = self.maps[f"k{layer}"](h), self.maps[f"v{layer}"](h)
            pattern = (h @ key.mT / math.sqrt(h.shape[-1]) + mask).softmax(-1)
            h = h + self.maps[f"o{layer}"](pattern @ value)
        return self.head(h)


def rows() -> list[tuple[str, str, str]]:
    """What was compared, the ratio of medians with the times, and what is wanted."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        batches = [BigramTask(Chain.shakespeare()).batch(64, 64, seed=0, index=i) for i in range(STEPS)]
        ours, plain = SimplifiedTransformer(SimplifiedConfig()), Plain()

        def plain_loss(batch: object) -> torch.Tensor:
            where = batch.occurrences >= 2
            return functional.cross_entropy(plain(batch.tokens)[where], batch.targets[where])

        step, other = _stepper(ours, lambda b: batch_loss(ours, b, "in_context")), _stepper(plain, plain_loss)
        times: list[tuple[float, float]] = []
        for _ in range(ROUNDS):  # in turns, for the machine's speed drifts
            times.append((_seconds(step, batches), _seconds(other, batches)))
        a, b = (statistics.median(column) for column in zip(*times, strict=True))
    finally:
        torch.set_num_threads(threads)
    what = "a training step over a plain PyTorch loop's (dim 128, batch 64, length 64)"
    return [(what, f"{a / b:.2f}  ({1e3 * a:.1f} ms over {1e3 * b:.1f} ms)", "at most 0.80")]


def _stepper(model: nn.Module, loss: Callable[[object], torch.Tensor]) -> Callable[[object], None]:
    optimizer = Sgd().make([p for p in model.parameters() if p.requires_grad])

    def step(batch: object) -> None:
        optimizer.zero_grad()
        loss(batch).backward()
        optimizer.step()

    return step


def _seconds(step: Callable[[object], None], batches: list[object]) -> float:
    began = time.perf_counter()
    for batch in batches:
        step(batch)
    return (time.perf_counter() - began) / len(batches)


if __name__ == "__main__":
    for row in rows():
        print(*row, sep="  |  ")
