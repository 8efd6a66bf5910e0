"""Random draws of hook sets, such as ten of all random orders: the error of their mean as an estimate for all.

Items and seeds are crossed: each item is scored under each seed. So both are resampled (A. B. Owen, "The pigeonhole
bootstrap", Annals of Applied Statistics 1, 2007), which makes intervals conservative.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

_NORMAL = 1.959964


@dataclass(frozen=True, slots=True)
class Drawn:
    """Hook sets drawn at random from many, for a question about all of them.

    Args:
        labels: Their labels, at least one, in the order of their seeds: the n-th of one `Drawn` is resampled together
            with the n-th of every other of the same length.
    """

    labels: tuple[str, ...]

    def __post_init__(self) -> None:
        if not self.labels:
            raise ValueError("expected the label of one hook set or more, got none")


def weights(members: int, resamples: int, rng: np.random.Generator) -> Float[np.ndarray, "draw member"]:
    """Weights of hook sets in their mean: equal first, then those of each resample.

    A resample of few members varies too little, and its percentiles ignore Student's t. So deviations are scaled by
    `t / 1.96 · √(n / (n - 1))` for n members (T. C. Hesterberg, "What teachers should know about the bootstrap", The
    American Statistician 69, 2015, section 4.3), which can make weights negative. A single member always has weight 1.
    """
    same = np.full((1, members), 1 / members)
    if members == 1:
        return np.ones((1 + resamples, 1))
    drawn = rng.multinomial(members, same[0], size=resamples) / members
    wider = student(members - 1) / _NORMAL * math.sqrt(members / (members - 1))
    return np.concatenate([same, same + wider * (drawn - same)])


def student(freedom: int) -> float:
    """The 97.5th percentile of Student's t distribution with 1 or more degrees of freedom.

    With `t = √freedom · tan(angle)` its density is that of `cos(angle) ** (freedom - 1)`, integrated here.
    """
    angle = np.linspace(0, np.pi / 2, 100_001)
    density = np.cos(angle) ** (freedom - 1)
    below = np.concatenate([[0.0], np.cumsum(density[1:] + density[:-1])])
    return math.sqrt(freedom) * math.tan(float(np.interp(0.95, below / below[-1], angle)))


@dataclass(frozen=True, slots=True)
class Components:
    """Variance components of scores.

    Attributes:
        items: The variance between items, across seeds.
        seeds: The variance between seeds, across items.
        rest: The residual: interaction of item and seed.
    """

    items: float
    seeds: float
    rest: float

    def error(self, items: int, seeds: int) -> float:
        """The standard error of the mean over so many items and seeds.

        Args:
            items: The number of items.
            seeds: The number of seeds.
        """
        return math.sqrt(self.items / items + self.seeds / seeds + self.rest / (items * seeds))


def components(scores: Float[np.ndarray, "item seed"]) -> Components:
    """Estimate variance components of a two-way crossed table without replication.

    Mean squares are equated with their expectations, as usual for balanced data (S. R. Searle, G. Casella and C. E.
    McCulloch, "Variance Components", 1992, chapter 4). Negative estimates become 0.

    Args:
        scores: Each item's score under each seed.

    Returns:
        The components; all NaN with fewer than 2 items or 2 seeds, which cannot be told apart.
    """
    items, seeds = scores.shape
    if min(items, seeds) < 2:
        return Components(math.nan, math.nan, math.nan)
    by_item, by_seed = scores.mean(axis=1, keepdims=True), scores.mean(axis=0, keepdims=True)
    left = scores - by_item - by_seed + scores.mean()
    rest = float((left**2).sum()) / ((items - 1) * (seeds - 1))
    between_items = float(by_item.var(ddof=1)) - rest / seeds
    between_seeds = float(by_seed.var(ddof=1)) - rest / items
    return Components(float(np.maximum(between_items, 0)), float(np.maximum(between_seeds, 0)), rest)
