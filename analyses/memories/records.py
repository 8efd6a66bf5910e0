"""Trials and their records."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar, Protocol, runtime_checkable

from mechpaint.analyses.memories.sources import Source
from mechpaint.statistics.results import Advance, Record


@runtime_checkable
class Trial(Protocol):
    """A trial: a function of its fields."""

    @property
    def label(self) -> str:
        """The name of the trial."""
        ...

    @property
    def ticks(self) -> int:
        """The approximate cost."""
        ...

    def measure(self, advance: Advance) -> Iterable[Record]:
        """Run the trial."""
        ...


@dataclass(frozen=True)
class Setting:
    """The data, width (`LIMIT` for infinitely many dimensions), sequence length and seed of a model."""

    source: Source
    dim: int
    length: int
    seed: int

    LIMIT: ClassVar[int] = 0

    def __str__(self) -> str:
        width = "limit" if self.dim == self.LIMIT else f"d={self.dim}"
        return f"{self.source} {width} length={self.length} seed={self.seed}"

    def record(self, kind: str, variant: str, sharpness: float, stage: str, probe: str, value: float) -> Record:
        """Make a row of the table."""
        return {
            "kind": kind,
            "data": self.source.data,
            "triggers": self.source.triggers,
            "dim": self.dim,
            "length": self.length,
            "variant": variant,
            "seed": self.seed,
            "sharpness": float(sharpness),
            "stage": stage,
            "probe": probe,
            "value": value,
        }


def cost(dim: int) -> int:
    """The ticks of a batch through a model of this width."""
    return 1 + dim // 64
