"""Sources of sequences."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from mechpaint.toy.bigram_task import BigramTask, ToyBatch
from mechpaint.toy.chains import Chain

REAL, UNIFORM = "real", "uniform"
FIXED, RANDOM = "fixed", "random"
VOCABULARY = 65

_BATCH_TOKENS = 4096
"""Tokens per batch, few enough for the processor's cache."""
_HELD_OUT = 1_000_000
"""Added to a seed for held-out sequences."""


@dataclass(frozen=True)
class Source:
    """A kind of data: `REAL` (tiny Shakespeare) or `UNIFORM` bigrams, `FIXED` or `RANDOM` triggers, five of them."""

    data: str
    triggers: str

    def __str__(self) -> str:
        return f"{self.data} {self.triggers}"

    @property
    def described(self) -> str:
        """The description in captions."""
        return f"{self.data} bigrams, {self.triggers} triggers"

    @property
    def task(self) -> BigramTask:
        """The in-context bigram task on 65 tokens."""
        chain = Chain.uniform(VOCABULARY) if self.data == UNIFORM else Chain.shakespeare()
        return BigramTask(chain, fixed=self.triggers == FIXED)

    def sequences(
        self, count: int, length: int, seed: int, advance: Callable[[], None] | None = None
    ) -> Iterator[ToyBatch]:
        """Make `count` sequences in batches; `advance` is called before each."""
        task, size = self.task, batch_size(length)
        for index in range(batches(count, length)):
            if advance is not None:
                advance()
            yield task.batch(min(size, count - index * size), length, seed, index)

    def held_out(self, tokens: int, length: int, seed: int) -> list[ToyBatch]:
        """Make batches of at least this many tokens, disjoint from `sequences` for all usual seeds."""
        return list(self.sequences(-(-tokens // length), length, _HELD_OUT + seed))


def batch_size(length: int) -> int:
    """The number of sequences in a batch."""
    return max(1, _BATCH_TOKENS // length)


def batches(count: int, length: int) -> int:
    """The number of batches that hold `count` sequences."""
    return -(-count // batch_size(length))


SOURCES = (Source(UNIFORM, RANDOM), Source(REAL, RANDOM), Source(REAL, FIXED))
"""Data for gradient steps: the theory's and the paper's."""
