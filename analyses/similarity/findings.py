"""What was found, read out of the table of records."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from mechpaint.analyses.similarity.labels import FULL, REPEAT, SKIP
from mechpaint.analyses.similarity.measures import SIMILARITY, VARIANCE
from mechpaint.analyses.similarity.spaces import FEWEST_STATES, Spaces, spaces
from mechpaint.statistics import Estimate

if TYPE_CHECKING:
    import pandas as pd

    from mechpaint.analyses.similarity import Similarity
    from mechpaint.analysis import ModelFacts

_TWO_SIDED = 1.96


@dataclass(frozen=True)
class Mean:
    """A mean over windows.

    Args:
        value: The mean.
        error: Its standard error, or a bound on it.
    """

    value: float
    error: float

    def __sub__(self, other: Mean) -> Mean:
        return Mean(self.value - other.value, self.error + other.error)

    def __mul__(self, factor: float) -> Mean:
        return Mean(self.value * factor, self.error * abs(factor))

    def estimate(self) -> Estimate:
        """With its 95 % interval."""
        return Estimate(self.value, self.value - _TWO_SIDED * self.error, self.value + _TWO_SIDED * self.error)

    def __str__(self) -> str:
        return f"{self.value:.3f} ± {self.error:.3f}"


def average(means: Iterable[Mean]) -> Mean:
    """The mean of some means. All are of the same windows, so its error is at most the mean of theirs."""
    given = list(means)
    return Mean(sum(m.value for m in given) / len(given), sum(m.error for m in given) / len(given))


class Findings:
    """The records of one run, by what they are.

    Args:
        analysis: What was asked.
        table: The records: `label`, `measure`, `first`, `second`, `value`, `error`.
        facts: The model.

    Attributes:
        labels: The hook sets, the full model first.
        rerouted: Whether the user's own hook sets come after each of these.
        spaces: The split of the full model's states; None where they are too few, or some are no numbers.
    """

    def __init__(self, analysis: Similarity, table: pd.DataFrame, facts: ModelFacts) -> None:
        self.analysis, self.facts = analysis, facts
        self.labels = list(facts.routes)
        self.rerouted = not facts.routes[FULL].is_identity
        self._values: dict[tuple[str, str], np.ndarray] = {}
        self._errors: dict[tuple[str, str], np.ndarray] = {}
        for label, measure, first, second, value, error in table.itertuples(index=False):
            self._fill(self._values, (label, measure), first, second, value)
            self._fill(self._errors, (label, measure), first, second, error)
        full = self.matrix(FULL, SIMILARITY)
        self.spaces: Spaces | None = None
        if len(full) >= FEWEST_STATES and np.isfinite(full).all():
            self.spaces = spaces(full)

    def _fill(
        self, into: dict[tuple[str, str], np.ndarray], key: tuple[str, str], first: int, second: int, value: float
    ) -> None:
        if key not in into:
            count = len(self.facts.routes[key[0]].steps) + 1
            into[key] = np.full((count, count), np.nan)
        into[key][first, second] = into[key][second, first] = value

    def matrix(self, label: str, measure: str) -> Float[np.ndarray, "state state"]:
        """A measure of all pairs of states under a hook set."""
        return self._values[label, measure]

    def pair(self, label: str, measure: str, first: int, second: int) -> Mean:
        """The same of one pair, with its error."""
        key = label, measure
        return Mean(float(self._values[key][first, second]), float(self._errors[key][first, second]))

    def variance(self, label: str, state: int) -> Mean:
        """A state's variance."""
        return self.pair(label, VARIANCE, state, state)

    def variances(self, label: str) -> Float[np.ndarray, " state"]:
        """Every state's."""
        return np.diag(self.matrix(label, VARIANCE))

    def names(self, label: str) -> list[str]:
        """What each state of a hook set comes from: the embedding, or a step."""
        return ["embedding", *map(str, self.facts.routes[label].steps)]

    def stretch(self, states: range) -> str:
        """Some of the full model's states in words."""
        names = self.names(FULL)
        if len(states) == 1:
            return "the embedding" if states[0] == 0 else f"layer {names[states[0]]}"
        if states[0] == 0:
            return f"the embedding to layer {names[states[-1]]}"
        return f"layers {names[states[0]]} to {names[states[-1]]}"

    def starts(self) -> list[int]:
        """The start layers of skip and middle repeat."""
        return list(self.analysis.starts(self.facts.n_layers))

    def skip(self, start: int) -> str:
        """The label of a skip."""
        return SKIP.format(start)

    def repeat(self, start: int) -> str:
        """The label of a middle repeat."""
        return REPEAT.format(start)

    def broken(self) -> list[str]:
        """The hook sets under which something measured is no number."""
        return [
            label
            for label in self.labels
            if not (np.isfinite(self.matrix(label, SIMILARITY)).all() and np.isfinite(self.variances(label)).all())
        ]
