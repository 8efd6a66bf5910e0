"""The layers' shared spaces: the split of the states that fits their similarities best."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations, combinations_with_replacement

import numpy as np
from jaxtyping import Float, Int

FEWEST_STATES = 6


@dataclass(frozen=True)
class Spaces:
    """Three consecutive stretches of states.

    `explained` is the share of the variance of similarities, of distinct states, that lies between blocks.
    `sure` is the share of resamples of windows with the same split.
    """

    beginning: range
    middle: range
    ending: range
    explained: float
    sure: float


def spaces(similarities: Float[np.ndarray, "draw state state"]) -> Spaces:
    """The split into three with the most uniform blocks, by least squares around block means, of all splits.

    There always is one; whether there are three spaces is another question: see `mechpaint.analyses.similarity.claims`.
    """
    cuts, explained = splits(similarities)
    n, (first, second) = similarities.shape[-1], (int(cut) for cut in cuts[0])
    sure = float((cuts[1:] == cuts[0]).all(axis=1).mean()) if len(cuts) > 1 else 1.0
    return Spaces(range(first), range(first, second), range(second, n), float(explained[0]), sure)


def splits(
    similarities: Float[np.ndarray, "draw state state"],
) -> tuple[Int[np.ndarray, "draw 2"], Float[np.ndarray, " draw"]]:
    """The starts of the second and third stretch of each draw's best split, and the share of variance explained.

    Block sums are read off running sums over rows and columns, so that a split costs the same for any number of states.
    """
    draws, n, _ = similarities.shape
    above = np.triu_indices(n, 1)
    values = similarities[:, above[0], above[1]]
    values = values - values.mean(axis=1, keepdims=True)
    running = np.zeros((draws, n + 1, n + 1))
    running[:, 1 + above[0], 1 + above[1]] = values
    running = running.cumsum(axis=1).cumsum(axis=2)

    def between(rows: range, columns: range) -> Float[np.ndarray, " draw"]:
        """The squares explained by a block's mean: its squared sum over its number of pairs."""
        pairs = len(rows) * (len(rows) - 1) // 2 if rows == columns else len(rows) * len(columns)
        total = running[:, rows.stop, columns.stop] - running[:, rows.start, columns.stop]
        total = total - running[:, rows.stop, columns.start] + running[:, rows.start, columns.start]
        return total**2 / max(pairs, 1)

    best, cuts = np.full(draws, -np.inf), np.zeros((draws, 2), dtype=np.int64)
    for first, second in combinations(range(1, n), 2):
        stretches = (range(first), range(first, second), range(second, n))
        explained = sum(between(*block) for block in combinations_with_replacement(stretches, 2))
        better = explained > best + 1e-12
        best, cuts[better] = np.where(better, explained, best), (first, second)
    spread = (values**2).sum(axis=1)
    return cuts, np.where(spread > 0, best / np.where(spread > 0, spread, 1), 0)
