"""What a trial is, and the records that it gives."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar, Protocol, runtime_checkable

from mechpaint.analyses.memories.sources import Source
from mechpaint.statistics.results import Advance, Record


@runtime_checkable
class Trial(Protocol):
    """One trial: a function of its fields."""

    @property
    def label(self) -> str:
        """What it is called."""
        ...

    @property
    def ticks(self) -> int:
        """Roughly what it costs."""
        ...

    def measure(self, advance: Advance) -> Iterable[Record]:
        """Carry it out."""
        ...


@dataclass(frozen=True)
class Setting:
    """What a model was made and tested with.

    Args:
        source: The data.
        dim: The model's; 0 for the limit of infinitely many.
        length: Of the sequences.
        seed: Of the model and the sequences.
    """

    source: Source
    dim: int
    length: int
    seed: int

    LIMIT: ClassVar[int] = 0

    def __str__(self) -> str:
        width = "limit" if self.dim == self.LIMIT else f"d={self.dim}"
        return f"{self.source} {width} length={self.length} seed={self.seed}"

    def record(self, kind: str, variant: str, sharpness: float, stage: str, probe: str, value: float) -> Record:
        """A row of the table."""
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
    """Ticks that a batch through a model of this width is worth."""
    return 1 + dim // 64
