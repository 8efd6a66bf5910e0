"""The findings of `memories`: values of all seeds at once, read from the records."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from mechpaint.analyses.memories.constructing import CONSTRUCTED, CONSTRUCTION, MENDED, SHARPNESS
from mechpaint.analyses.memories.measuring import ACCURACY, OPENING, RECALLS, WRONG_OPENING, WRONG_OTHER
from mechpaint.analyses.memories.records import Setting
from mechpaint.analyses.memories.sources import FIXED, RANDOM, REAL, SOURCES, Source
from mechpaint.analyses.memories.stepping import DOWN, FIRST_STEP, STEPS
from mechpaint.analyses.seeds import Values

if TYPE_CHECKING:
    import pandas as pd

_TINY = 1e-12

HEADS = (Source(REAL, FIXED), Source(REAL, RANDOM))
"""Data on which constructed heads are tested."""


class Findings:
    """All measurements. Widths and lengths ascend; of `step_dims`, the limit comes last."""

    def __init__(self, table: pd.DataFrame) -> None:
        self._table: Any = table
        built, steps = self._of(CONSTRUCTION), self._of(STEPS)
        self.dims: list[int] = sorted(built["dim"].unique().tolist())
        self.lengths: list[int] = sorted(built["length"].unique().tolist())
        finite = sorted(set(steps["dim"].tolist()) - {Setting.LIMIT})
        self.step_dims: list[int] = [*finite, Setting.LIMIT]
        self.step_length = int(steps["length"].iloc[0])
        self.seeds = int(built["seed"].nunique())
        scanned = self._of(SHARPNESS)
        self.scanned_dim, self.scanned_length = int(scanned["dim"].iloc[0]), int(scanned["length"].iloc[0])
        self.sharpnesses: list[float] = sorted(scanned["sharpness"].unique().tolist())

    @property
    def ends(self) -> list[int]:
        """The smallest and largest width, or the only one."""
        return list(dict.fromkeys((self.dims[0], self.dims[-1])))

    def head(self, source: Source, dim: int, length: int, stage: str, probe: str = ACCURACY) -> Values:
        """A probe of a constructed head, at the stage `CONSTRUCTED` or `MENDED`."""
        return self._values(CONSTRUCTION, source, probe, dim=dim, length=length, stage=stage)

    def over_lengths(self, source: Source, dim: int, stage: str, probe: str = ACCURACY) -> Values:
        """The same averaged over lengths."""
        return np.mean([self.head(source, dim, length, stage, probe) for length in self.lengths], axis=0)

    def error_rates(self, source: Source, dim: int, stage: str) -> tuple[Values, Values]:
        """Error rates where the trigger opens the sequence and elsewhere, averaged over lengths."""
        opening = self.over_lengths(source, dim, stage, OPENING)
        wrong, other = (self.over_lengths(source, dim, stage, probe) for probe in (WRONG_OPENING, WRONG_OTHER))
        # in a small test, no trigger may open its sequence, or every one may
        return wrong / np.maximum(opening, _TINY), other / np.maximum(1 - opening, _TINY)

    def scan(self, source: Source, sharpness: float, stage: str) -> Values:
        """The accuracy of heads of one size at one sharpness."""
        return self._values(SHARPNESS, source, ACCURACY, sharpness=sharpness, stage=stage)

    def first_step(self, source: Source, dim: int) -> Values:
        """The recall of W_O² after its first step."""
        return self._values(FIRST_STEP, source, RECALLS["W_O^2"], dim=dim)

    def steps(self, source: Source, dim: int, stage: str, probe: str, variant: str = DOWN) -> Values:
        """A probe after one of three steps, or after all; empty if the variant was not run."""
        return self._values(STEPS, source, probe, dim=dim, stage=stage, variant=variant)

    def own_recall(self, source: Source, dim: int, matrix: str, variant: str = DOWN) -> Values:
        """The recall of a memory after its own step."""
        return self.steps(source, dim, matrix, f"recall of {matrix}", variant)

    def variants(self) -> list[tuple[str, Source, int]]:
        """The variants of three steps that were run, top-down first, with their data and widths."""
        steps = self._of(STEPS)
        names = sorted(steps["variant"].unique().tolist(), key=lambda name: name != DOWN)
        every = [(name, source, dim) for name in names for source in SOURCES for dim in self.step_dims]
        return [(name, s, d) for name, s, d in every if len(self.own_recall(s, d, "W_O^2", name))]

    def _of(self, kind: str) -> Any:
        return self._table[self._table["kind"] == kind]

    def _values(self, kind: str, source: Source, probe: str, **where: object) -> Values:
        rows = self._of(kind)
        where |= {"probe": probe, "data": source.data, "triggers": source.triggers}
        for column, value in where.items():
            rows = rows[rows[column] == value]
        values: np.ndarray = rows.sort_values("seed")["value"].to_numpy(dtype=float)
        return values


def percent(values: Values) -> str:
    """The mean over seeds in percent."""
    return f"{100 * values.mean():.1f} %"


def extent(values: Values, digits: int = 3) -> str:
    """The range of some values; one number if both ends print alike."""
    low, high = f"{values.min():.{digits}f}", f"{values.max():.{digits}f}"
    return low if low == high else f"{low} to {high}"


def width(dim: int) -> str:
    """A dimension, as a table shows it."""
    return "∞" if dim == Setting.LIMIT else str(dim)


def places(dim: int) -> str:
    """A dimension, as a sentence has it."""
    return "in infinitely many dimensions" if dim == Setting.LIMIT else f"at d = {dim}"


NAMES = {"W_O^2": "W_O²", "W_K^2": "W_K²", "W_K^1": "W_K¹"}
"""The matrices as reports write them, from the top down."""
STAGES = (CONSTRUCTED, MENDED)
"""The stages of constructed heads, in order."""
