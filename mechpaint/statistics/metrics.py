"""From scores of items to the score of a task: means, correlations, and what classification is judged by.

A metric counts each item as often as it is told to. So a bootstrap resample is a row of counts, and 1000 of them are
computed at once for all routes, without a loop over resamples.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float

Scores = Float[np.ndarray, "item route"]
Counts = Float[np.ndarray, "draw item"]
Draws = Float[np.ndarray, "draw route"]

_ROUNDING = 1e-12


class Metric(ABC):
    """How a task's score comes from its items'. An item whose score is no number makes the task's none."""

    @abstractmethod
    def resampled(self, names: Sequence[str], scores: Scores, counts: Counts) -> Draws:
        """The task's score under each route, for each draw of items.

        Args:
            names: What the items are called.
            scores: Their scores under each route.
            counts: How often each draw has each item.
        """

    def __call__(self, names: Sequence[str], scores: Scores) -> Float[np.ndarray, " route"]:
        """The task's score under each route.

        Args:
            names: What the items are called.
            scores: Their scores under each route.
        """
        return self.resampled(names, scores, np.ones((1, len(names))))[0]


@dataclass(frozen=True)
class Mean(Metric):
    """The mean over items."""

    def resampled(self, names: Sequence[str], scores: Scores, counts: Counts) -> Draws:
        """A product of matrices."""
        return (counts / counts.sum(axis=1, keepdims=True)) @ scores

    def __call__(self, names: Sequence[str], scores: Scores) -> Float[np.ndarray, " route"]:
        """As numpy has it: the same for routes with the same scores, to the last digit."""
        return scores.mean(axis=0)


@dataclass(frozen=True)
class WeightedMean(Metric):
    """A mean in which items count differently: that of tokens, where items have different numbers of them.

    Args:
        weights: How much each item counts, by its name.
    """

    weights: Mapping[str, float] = field(repr=False)

    def resampled(self, names: Sequence[str], scores: Scores, counts: Counts) -> Draws:
        """A product of matrices."""
        weighted = counts * _values(self.weights, names)
        return (weighted / weighted.sum(axis=1, keepdims=True)) @ scores


@dataclass(frozen=True)
class Pearson(Metric):
    """Pearson's correlation of the items' scores with given values. Where either is constant it is 0.

    Args:
        targets: The given values, by the items' names.
    """

    targets: Mapping[str, float] = field(repr=False)

    def resampled(self, names: Sequence[str], scores: Scores, counts: Counts) -> Draws:
        """From the means of the values, their squares and products."""
        weights = counts / counts.sum(axis=1, keepdims=True)
        x, y = _unit(scores), _unit(_values(self.targets, names)[:, None])
        own, given = weights @ x, weights @ y
        return _correlation(weights @ (x * y) - own * given, weights @ x**2 - own**2, weights @ y**2 - given**2)


@dataclass(frozen=True)
class Matthews(Pearson):
    """Matthews' correlation of chosen classes, 0 or 1, with the right ones: Pearson's, of two binary variables.

    Args:
        targets: The right classes, by the items' names.
    """


@dataclass(frozen=True)
class Spearman(Metric):
    """Spearman's rank correlation of the items' scores with given values. Where either is constant it is 0.

    Equal values share the mean of their ranks.

    Args:
        targets: The given values, by the items' names.
    """

    targets: Mapping[str, float] = field(repr=False)

    def resampled(self, names: Sequence[str], scores: Scores, counts: Counts) -> Draws:
        """Route by route: the scores are sorted once, and the ranks of all draws are read off their order."""
        given = _ranks(_values(self.targets, names), counts)
        return np.stack([_rank_correlation(column, given, counts) for column in scores.T], axis=1)


@dataclass(frozen=True)
class Accuracy(Metric):
    """The share of chosen classes that are right.

    Args:
        targets: The right classes, by the items' names.
    """

    targets: Mapping[str, float] = field(repr=False)

    def resampled(self, names: Sequence[str], scores: Scores, counts: Counts) -> Draws:
        """The mean of what is right."""
        right = (scores == _values(self.targets, names)[:, None]).astype(float)
        return Mean().resampled(names, np.where(np.isnan(scores), np.nan, right), counts)


@dataclass(frozen=True)
class F1(Metric):
    """The harmonic mean of precision and recall of class 1, where the classes are 0 and 1.

    It is 0 where class 1 is neither chosen nor right.

    Args:
        targets: The right classes, by the items' names.
    """

    targets: Mapping[str, float] = field(repr=False)

    def resampled(self, names: Sequence[str], scores: Scores, counts: Counts) -> Draws:
        """Twice the true positives, over all that were chosen and all that are right."""
        right = _values(self.targets, names)[:, None]
        both = counts @ scores + counts @ right
        return 2 * (counts @ (scores * right)) / np.where(both == 0, 1, both)


def _values(by_name: Mapping[str, float], names: Sequence[str]) -> Float[np.ndarray, " item"]:
    return np.array([by_name[name] for name in names], dtype=float)


def _unit(values: Scores) -> Scores:
    """Shifted and scaled to at most 1, which changes no correlation, so that rounding can be told from variance."""
    spread = np.ptp(values, axis=0)
    return (values - values.mean(axis=0)) / np.where(spread == 0, 1, spread)


def _ranks(values: Float[np.ndarray, " item"], counts: Counts) -> Counts:
    """The rank of each item in each draw, less the mean rank."""
    distinct, which = np.unique(values, return_inverse=True)
    order = np.argsort(which, kind="stable")
    starts = np.searchsorted(which[order], np.arange(len(distinct)))
    by_value = np.add.reduceat(counts[:, order], starts, axis=1)
    centred = np.cumsum(by_value, axis=1) - by_value / 2 - counts.sum(axis=1, keepdims=True) / 2
    return centred[:, which]


def _rank_correlation(scores: Float[np.ndarray, " item"], given: Counts, counts: Counts) -> Float[np.ndarray, " draw"]:
    if np.isnan(scores).any():
        return np.full(len(counts), np.nan)
    own = _ranks(scores, counts)
    weighted = counts * own
    # ranks are multiples of a half, so that these sums are exact
    return _correlation((weighted * given).sum(axis=1), (weighted * own).sum(axis=1), (counts * given**2).sum(axis=1))


def _correlation(covariance: np.ndarray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """The covariance over the root of both variances; 0 where one of them is no more than rounding."""
    constant = np.minimum(first, second) <= _ROUNDING  # where one is no number, this is not so
    return np.where(constant, 0, covariance) / np.sqrt(np.where(constant, 1, first * second))
