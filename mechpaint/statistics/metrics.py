"""From scores of items to the score of a task: means, correlations, and metrics of classification.

A metric takes counts of the items. So a bootstrap resample is a row of counts, and 1000 of them are computed at once
for all routes, without a loop over resamples.
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
    """The way a task's score follows from its items' scores. NaN propagates."""

    @abstractmethod
    def resampled(self, names: Sequence[str], scores: Scores, counts: Counts) -> Draws:
        """The task's score under each route, for each draw of items.

        Args:
            names: The items' names.
            scores: Their scores under each route.
            counts: The number of times each draw contains each item.
        """

    def __call__(self, names: Sequence[str], scores: Scores) -> Float[np.ndarray, " route"]:
        """The task's score under each route.

        Args:
            names: The items' names.
            scores: Their scores under each route.
        """
        return self.resampled(names, scores, np.ones((1, len(names))))[0]


@dataclass(frozen=True)
class Mean(Metric):
    """The mean over items."""

    def resampled(self, names: Sequence[str], scores: Scores, counts: Counts) -> Draws:
        """A matrix product."""
        return (counts / counts.sum(axis=1, keepdims=True)) @ scores

    def __call__(self, names: Sequence[str], scores: Scores) -> Float[np.ndarray, " route"]:
        """numpy's mean, which is equal to the last digit for routes with equal scores."""
        return scores.mean(axis=0)


@dataclass(frozen=True)
class WeightedMean(Metric):
    """A mean with weights for items: over tokens, say, if items have different numbers of them.

    Args:
        weights: The items' weights, by name.
    """

    weights: Mapping[str, float] = field(repr=False)

    def resampled(self, names: Sequence[str], scores: Scores, counts: Counts) -> Draws:
        """A matrix product."""
        weighted = counts * _values(self.weights, names)
        return (weighted / weighted.sum(axis=1, keepdims=True)) @ scores


@dataclass(frozen=True)
class Pearson(Metric):
    """Pearson's correlation of the items' scores with given values; 0 if either is constant.

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
    """Matthews' correlation of predicted classes, 0 or 1, with the right ones: Pearson's, of two binary variables.

    Args:
        targets: The right classes, by the items' names.
    """


@dataclass(frozen=True)
class Spearman(Metric):
    """Spearman's rank correlation of the items' scores with given values; 0 if either is constant.

    Equal values share the mean of their ranks.

    Args:
        targets: The given values, by the items' names.
    """

    targets: Mapping[str, float] = field(repr=False)

    def resampled(self, names: Sequence[str], scores: Scores, counts: Counts) -> Draws:
        """Route by route: the scores are sorted once, and the ranks of all draws follow from their order."""
        given = _ranks(_values(self.targets, names), counts)
        return np.stack([_rank_correlation(column, given, counts) for column in scores.T], axis=1)


@dataclass(frozen=True)
class Accuracy(Metric):
    """The share of predicted classes that are right.

    Args:
        targets: The right classes, by the items' names.
    """

    targets: Mapping[str, float] = field(repr=False)

    def resampled(self, names: Sequence[str], scores: Scores, counts: Counts) -> Draws:
        """The mean of the right ones."""
        right = (scores == _values(self.targets, names)[:, None]).astype(float)
        return Mean().resampled(names, np.where(np.isnan(scores), np.nan, right), counts)


@dataclass(frozen=True)
class F1(Metric):
    """The harmonic mean of precision and recall of class 1, for classes 0 and 1.

    It is 0 if class 1 is neither predicted nor right.

    Args:
        targets: The right classes, by the items' names.
    """

    targets: Mapping[str, float] = field(repr=False)

    def resampled(self, names: Sequence[str], scores: Scores, counts: Counts) -> Draws:
        """Twice the true positives, over all positives, predicted and right."""
        right = _values(self.targets, names)[:, None]
        both = counts @ scores + counts @ right
        return 2 * (counts @ (scores * right)) / np.where(both == 0, 1, both)


def _values(by_name: Mapping[str, float], names: Sequence[str]) -> Float[np.ndarray, " item"]:
    return np.array([by_name[name] for name in names], dtype=float)


def _unit(values: Scores) -> Scores:
    """Shift and scale to at most 1, which changes no correlation, so that rounding can be told from variance."""
    spread = np.ptp(values, axis=0)
    return (values - values.mean(axis=0)) / np.where(spread == 0, 1, spread)


def _ranks(values: Float[np.ndarray, " item"], counts: Counts) -> Counts:
    """The rank of each item in each draw, minus the mean rank."""
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
    """The covariance over the root of both variances; 0 if one of them is no more than rounding."""
    constant = np.minimum(first, second) <= _ROUNDING  # False for NaN
    return np.where(constant, 0, covariance) / np.sqrt(np.where(constant, 1, first * second))
