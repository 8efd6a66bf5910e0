"""The probes of all models as curves over training, one a seed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float, Int

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Curve:
    """One probe under one condition.

    Attributes:
        steps: After how many updates it was probed.
        values: `[seed, step]`.
    """

    steps: Int[np.ndarray, " step"]
    values: Float[np.ndarray, "seed step"]

    def at(self, step: int) -> Float[np.ndarray, " seed"]:
        """The values at a step, or at the last one probed before it."""
        return self.values[:, int(np.searchsorted(self.steps, step, side="right")) - 1]

    @property
    def last(self) -> Float[np.ndarray, " seed"]:
        """The values at the end."""
        return self.values[:, -1]

    def first(self, value: float) -> Float[np.ndarray, " seed"]:
        """The first step at which each seed was at `value` or above; infinity where it never was."""
        return self._passage(lambda row: row >= value)

    def halfway(self) -> Float[np.ndarray, " seed"]:
        """The first step at which each seed had made half of its way from the first value to the last."""
        return self._passage(lambda row: abs(row - row[0]) >= abs(row[-1] - row[0]) / 2)

    def _passage(self, passed: Callable[[np.ndarray], np.ndarray]) -> Float[np.ndarray, " seed"]:
        hits = [passed(row) for row in self.values]
        return np.array([float(self.steps[hit.argmax()]) if hit.any() else np.inf for hit in hits])


class Curves:
    """All of a run's curves.

    Args:
        table: The records: `group`, `condition`, `seed`, `step`, `probe`, `value`.
    """

    def __init__(self, table: pd.DataFrame) -> None:
        by: Any = table.groupby(["group", "condition", "probe"], sort=False)
        self._curves = {key: _curve(rows) for key, rows in by}

    def conditions(self, group: str) -> list[str]:
        """What was trained for one figure, in order."""
        return list(dict.fromkeys(condition for own, condition, _ in self._curves if own == group))

    def curve(self, group: str, condition: str, probe: str) -> Curve:
        """One curve. Raises KeyError if it was not measured."""
        return self._curves[group, condition, probe]


def _curve(rows: Any) -> Curve:
    wide = rows.pivot(index="seed", columns="step", values="value")
    return Curve(wide.columns.to_numpy(), wide.to_numpy(dtype=float))


def spread(values: Float[np.ndarray, " seed"], digits: int = 2) -> str:
    """The mean over seeds, and the standard deviation where there are several."""
    text = f"{values.mean():.{digits}f}"
    return text if len(values) < 2 else f"{text} ± {values.std(ddof=1):.{digits}f}"


def shown(condition: str) -> str:
    """A condition or a matrix as it is written on pages: W_K² for `W_K^2`."""
    return condition.replace("^1", "¹").replace("^2", "²")


def passage(values: Float[np.ndarray, " seed"]) -> str:
    """When the seeds passed a value: each of them."""
    return ", ".join("never" if np.isinf(value) else f"{value:.0f}" for value in np.sort(values))
