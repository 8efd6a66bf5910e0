"""Probes as curves over training, one per seed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float, Int

from mechpaint.analyses import seeds
from mechpaint.analyses.seeds import Values

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Curve:
    """The values of one probe under one condition, at the given training steps."""

    steps: Int[np.ndarray, " step"]
    values: Float[np.ndarray, "seed step"]

    def at(self, step: int) -> Values:
        """The values at a step, or at the last probed step before it."""
        return self.values[:, int(np.searchsorted(self.steps, step, side="right")) - 1]

    @property
    def last(self) -> Values:
        """The values at the end."""
        return self.values[:, -1]

    def first(self, value: float) -> Values:
        """The first step at which each seed reached `value`; infinity if it never did, NaN if some value is NaN."""
        return self._passage(lambda row: row >= value)

    def halfway(self) -> Values:
        """The first step at which each seed was halfway from its first value to its last; NaN if some value is NaN."""
        return self._passage(lambda row: abs(row - row[0]) >= abs(row[-1] - row[0]) / 2)

    def _passage(self, passed: Callable[[np.ndarray], np.ndarray]) -> Values:
        return np.array([self._passed(row, passed(row)) for row in self.values])

    def _passed(self, row: np.ndarray, hits: np.ndarray) -> float:
        if np.isnan(row).any():
            return np.nan
        return float(self.steps[hits.argmax()]) if hits.any() else np.inf


class Curves:
    """All curves of a run."""

    def __init__(self, table: pd.DataFrame) -> None:
        by: Any = table.groupby(["group", "condition", "probe"], sort=False)
        self._curves = {key: _curve(rows) for key, rows in by}

    def conditions(self, group: str) -> list[str]:
        """The conditions of one figure, in order."""
        return list(dict.fromkeys(condition for own, condition, _ in self._curves if own == group))

    def curve(self, group: str, condition: str, probe: str) -> Curve:
        """Look up one curve; KeyError if it was not measured."""
        return self._curves[group, condition, probe]


def _curve(rows: Any) -> Curve:
    wide = rows.pivot(index="seed", columns="step", values="value")
    return Curve(wide.columns.to_numpy(), wide.to_numpy(dtype=float))


def spread(values: Values, digits: int = 2) -> str:
    """The mean over seeds, with the standard deviation if there are several."""
    return seeds.spread(values, digits)


def shown(condition: str) -> str:
    """A condition or a matrix as reports write it: W_K² for `W_K^2`."""
    return condition.replace("^1", "¹").replace("^2", "²")


def passage(values: Values) -> str:
    """The sorted steps at which the seeds passed a value."""
    return ", ".join("never" if np.isinf(value) else f"{value:.0f}" for value in np.sort(values))
