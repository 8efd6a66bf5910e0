"""Hook sets that are draws of many, such as ten of all random orders: how far their mean is from that of all.

Items and seeds are crossed: each item is scored under each seed. So both are resampled (A. B. Owen, "The pigeonhole
bootstrap", Annals of Applied Statistics 1, 2007): intervals are then rather too wide than too narrow.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

_NORMAL = 1.959964


@dataclass(frozen=True, slots=True)
class Drawn:
    """Hook sets that were drawn at random from many, where the question is about all of them.

    Args:
        labels: Of one or more, in the order of their seeds: the n-th of one `Drawn` is resampled together with the n-th
            of every other that has as many.
    """

    labels: tuple[str, ...]

    def __post_init__(self) -> None:
        if not self.labels:
            raise ValueError("expected the label of one hook set or more, got none")


def weights(members: int, resamples: int, rng: np.random.Generator) -> Float[np.ndarray, "draw member"]:
    """What each of some hook sets counts in the mean: the same first, then as often as each resample has it.

    A resample of few scatters too little, and its percentiles know nothing of Student's t. So deviations are drawn out
    by `t / 1.96 · √(n / (n - 1))` for n members (T. C. Hesterberg, "What teachers should know about the bootstrap",
    The American Statistician 69, 2015, section 4.3), by which weights can fall below 0. Of a single one nothing can be
    said but what it is: its weight is always 1.

    Args:
        members: How many there are.
        resamples: How many draws follow the first.
        rng: What draws them.
    """
    same = np.full((1, members), 1 / members)
    if members == 1:
        return np.ones((1 + resamples, 1))
    drawn = rng.multinomial(members, same[0], size=resamples) / members
    wider = student(members - 1) / _NORMAL * math.sqrt(members / (members - 1))
    return np.concatenate([same, same + wider * (drawn - same)])


def student(freedom: int) -> float:
    """The 97.5th percentile of Student's t distribution.

    With `t = √freedom · tan(angle)` its density is that of `cos(angle) ** (freedom - 1)`, added up here.

    Args:
        freedom: Degrees of freedom, 1 or more.
    """
    angle = np.linspace(0, np.pi / 2, 100_001)
    density = np.cos(angle) ** (freedom - 1)
    below = np.concatenate([[0.0], np.cumsum(density[1:] + density[:-1])])
    return math.sqrt(freedom) * math.tan(float(np.interp(0.95, below / below[-1], angle)))


@dataclass(frozen=True, slots=True)
class Components:
    """Where the variance of scores comes from.

    Attributes:
        items: The variance between items, whatever the seed.
        seeds: Between seeds, whatever the item.
        rest: What is left: that an item is hard for one seed and not for another.
    """

    items: float
    seeds: float
    rest: float

    def error(self, items: int, seeds: int) -> float:
        """The standard error of the mean over so many items and seeds.

        Args:
            items: How many.
            seeds: How many.
        """
        return math.sqrt(self.items / items + self.seeds / seeds + self.rest / (items * seeds))


def components(scores: Float[np.ndarray, "item seed"]) -> Components:
    """Variance components of a two-way crossed table without repetition, by equating mean squares with expectations.

    The usual estimators of balanced data (S. R. Searle, G. Casella and C. E. McCulloch, "Variance Components", 1992,
    chapter 4). One that comes out below 0 is 0.

    Args:
        scores: Of each item under each seed. With fewer than 2 of either nothing can be told apart: all are NaN.
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
