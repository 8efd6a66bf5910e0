"""Where the layers' shared spaces begin and end: the split of the states that fits their similarities best."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import numpy as np
from jaxtyping import Float

FEWEST_STATES = 6


@dataclass(frozen=True)
class Spaces:
    """Three consecutive stretches of states.

    Attributes:
        beginning: The first.
        middle: The second.
        ending: The third.
        explained: Which share of the variance of the similarities of distinct states is between the blocks that they
            cut the matrix into, from 0 to 1.
    """

    beginning: range
    middle: range
    ending: range
    explained: float


def spaces(similarity: Float[np.ndarray, "state state"]) -> Spaces:
    """The split into three whose blocks are the most uniform: the least squares around each block's mean.

    Every split is tried. It always finds one, so whether there *are* three spaces is another question: see
    `mechpaint.analyses.similarity.claims`.

    Args:
        similarity: Symmetric, of 3 states or more, without NaN. The diagonal does not count.
    """
    n = len(similarity)
    pairs = np.triu_indices(n, 1)
    values = similarity[pairs]
    spread = float(((values - values.mean()) ** 2).sum())

    def left(cuts: tuple[int, int]) -> float:
        stretch = np.searchsorted(cuts, np.arange(n), side="right")
        block = 3 * stretch[pairs[0]] + stretch[pairs[1]]
        counts = np.bincount(block, minlength=9)
        means = np.bincount(block, values, minlength=9) / np.maximum(counts, 1)
        return float(((values - means[block]) ** 2).sum())

    first, second = min(combinations(range(1, n), 2), key=left)
    explained = 1 - left((first, second)) / spread if spread else 0.0
    return Spaces(range(first), range(first, second), range(second, n), explained)
