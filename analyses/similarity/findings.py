"""The findings of `similarity`, read from its records."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from mechpaint.analyses.similarity.labels import FULL, REPEAT, SKIP
from mechpaint.analyses.similarity.measures import BY_TOKEN, SIMILARITY, VARIANCE
from mechpaint.analyses.similarity.spaces import FEWEST_STATES, Spaces, spaces
from mechpaint.statistics.bootstrap import RESAMPLES, combine

if TYPE_CHECKING:
    import pandas as pd

    from mechpaint.statistics.results import ModelFacts

Draws = Float[np.ndarray, " draw"]
"""The value over all windows, then over each bootstrap resample of them."""


class Findings:
    """The records of one run, the full model first among its `labels`.

    All hook sets, measures and pairs of states share the resamples of windows, so that differences are paired.
    `rerouted` means that the user's own hook sets follow each label. `spaces`, of whole windows, and `spaces_by_token`
    are None with too few states, or with NaN.
    """

    def __init__(self, table: pd.DataFrame, facts: ModelFacts) -> None:
        self.facts = facts
        self.labels = list(facts.routes)
        self.windows = int(table["window"].max()) + 1
        self.rerouted = not facts.routes[FULL].is_identity
        counts = np.random.default_rng(0).multinomial(
            self.windows, np.full(self.windows, 1 / self.windows), size=RESAMPLES
        )
        self._weights = np.concatenate([np.ones((1, self.windows)), counts]) / self.windows
        self._each = {key: self._by_window(rows) for key, rows in table.groupby(["label", "measure"], sort=False)}
        self.spaces, self.spaces_by_token = self._spaces(SIMILARITY), self._spaces(BY_TOKEN)

    def _by_window(self, rows: pd.DataFrame) -> Float[np.ndarray, "window state state"]:
        window, first, second = (rows[name].to_numpy() for name in ("window", "first", "second"))
        states = int(second.max()) + 1
        matrices = np.full((self.windows, states, states), np.nan)
        matrices[window, first, second] = matrices[window, second, first] = rows["value"].to_numpy()
        return matrices

    def _spaces(self, measure: str) -> Spaces | None:
        full = self.matrix(FULL, measure)
        if len(full) < FEWEST_STATES or not np.isfinite(full).all():
            return None
        return spaces(self.matrices(FULL, measure))

    def matrix(self, label: str, measure: str) -> Float[np.ndarray, "state state"]:
        """The mean of a measure over windows, for all pairs of states."""
        return self._each[label, measure].mean(axis=0)

    def matrices(self, label: str, measure: str) -> Float[np.ndarray, "draw state state"]:
        """Draws of a measure, for all pairs of states."""
        each = self._each[label, measure]
        return (self._weights @ each.reshape(len(each), -1)).reshape(-1, *each.shape[1:])

    def pair(self, label: str, measure: str, first: int, second: int) -> Draws:
        """Draws of a measure for one pair of states."""
        return self._weights @ self._each[label, measure][:, first, second]

    def mean(self, label: str, measure: str, pairs: Iterable[tuple[int, int]]) -> Draws:
        """Draws of the mean over pairs of states."""
        return combine([self.pair(label, measure, *pair) for pair in pairs], np.mean)

    def variance(self, label: str, state: int) -> Draws:
        """Draws of a state's variance."""
        return self.pair(label, VARIANCE, state, state)

    def names(self, label: str) -> list[str]:
        """The origin of each state: the embedding, or a step."""
        return ["embedding", *map(str, self.facts.routes[label].steps)]

    def stretch(self, states: range) -> str:
        """Describe a stretch of the full model's states."""
        names = self.names(FULL)
        if len(states) == 1:
            return "the embedding" if states[0] == 0 else f"layer {names[states[0]]}"
        if states[0] == 0:
            return f"the embedding to layer {names[states[-1]]}"
        return f"layers {names[states[0]]} to {names[states[-1]]}"

    def starts(self) -> list[int]:
        """The start layers of skip and middle repeat."""
        return [start for start in range(self.facts.n_layers) if self.skip(start) in self.labels]

    def skip(self, start: int) -> str:
        """The label of a skip."""
        return SKIP.format(start)

    def repeat(self, start: int) -> str:
        """The label of a middle repeat."""
        return REPEAT.format(start)

    def broken(self) -> list[str]:
        """The hook sets with non-finite measurements."""
        return [
            label
            for label in self.labels
            if not np.isfinite(self.matrix(label, SIMILARITY)).all()
            or not np.isfinite(np.diag(self.matrix(label, VARIANCE))).all()
        ]
