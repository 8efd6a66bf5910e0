"""The grid of scores, group sizes by iterations, and its maxima."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float, Int

from mechpaint.analyses.painters.variants import Variant
from mechpaint.statistics.bootstrap import Estimate, Scores, estimate
from mechpaint.statistics.results import Results

if TYPE_CHECKING:
    from mechpaint.analyses.loops import Loops

FEWEST_SIZES = 3
_ASIDE = 2
"""The paper excludes this many of the largest sizes from the fit."""


class Grid:
    """Medians over tasks of normalised scores, and the best number of iterations of each draw and size.

    Draw 0 is the data, the others are bootstrap resamples. NaN ranks below every number; ties go to fewer iterations.
    """

    draws: Float[np.ndarray, "draw size iteration"]
    best: Int[np.ndarray, "draw size"]

    def __init__(self, analysis: Loops, results: Results, scores: Scores) -> None:
        starts = analysis.starts(results.n_layers)
        self.sizes = [results.n_layers - 2 * start - 1 for start in starts]
        self.iterations = list(analysis.counts(results.n_layers))
        rows = [
            [scores.median([str(Variant("loop_parallel", start, times))]) for times in self.iterations]
            for start in starts
        ]
        self.draws = np.moveaxis(np.array(rows), -1, 0)
        self.best = 1 + np.where(np.isnan(self.draws), -np.inf, self.draws).argmax(axis=2)

    def at(self, size: int, iterations: int) -> Estimate:
        """A score with its interval."""
        return estimate(self.draws[:, self.sizes.index(size), self.iterations.index(iterations)])

    def share(self, size: int, iterations: int) -> float:
        """The share of resamples in which a size is best with this many iterations."""
        return float((self.best[1:, self.sizes.index(size)] == iterations).mean())

    def best_of(self, size: int) -> Estimate:
        """The best number of iterations for a size, with its interval."""
        return estimate(self.best[:, self.sizes.index(size)].astype(float))

    def score_of(self, size: int) -> Estimate:
        """The score at the best number of iterations, with its interval."""
        return self.at(size, int(self.best[0, self.sizes.index(size)]))

    def fitted(self) -> list[int]:
        """The sizes to fit: best score above chance, without the two largest and the single layer."""
        small = self.sizes[: max(0, len(self.sizes) - _ASIDE)]
        return [size for size in small if size > 1 and self.score_of(size).low > 0]

    def fit(self) -> tuple[Float[np.ndarray, " draw"], Float[np.ndarray, " draw"]] | None:
        """Slope and intercept of the best number of iterations over the size; None with fewer than three sizes."""
        sizes = self.fitted()
        if len(sizes) < FEWEST_SIZES:
            return None
        best = self.best[:, [self.sizes.index(size) for size in sizes]].astype(float)
        slope, intercept = np.polyfit(sizes, best.T, 1)
        return slope, intercept

    def line(self) -> list[Estimate]:
        """The fitted line at each fitted size, with its interval; empty without a fit."""
        fit = self.fit()
        return [] if fit is None else [estimate(fit[1] + fit[0] * size) for size in self.fitted()]
