"""p-values of many comparisons: against a plain loop, and how often one of them is wrong."""

from __future__ import annotations

import math

import numpy as np
import pytest

from mechpaint.statistics.multiple_comparisons import adjusted


def _by_the_book(draws):
    """Step by step: the largest that is left against the largest of what is left in each resample."""
    values, resamples = np.abs(draws[0]), draws[1:]
    errors = resamples.std(axis=0)
    sizes, around = values / errors, np.abs(resamples - draws[0]) / errors
    left, p_values, before = list(range(len(values))), {}, 0.0
    while left:
        best = max(left, key=lambda i: sizes[i])
        reached = sum(max(row[i] for i in left) >= sizes[best] for row in around)
        before = p_values[best] = max(before, (1 + reached) / (1 + len(around)))
        left.remove(best)
    return [p_values[i] for i in range(len(values))]


def _bootstrap(samples, rng, resamples=1000):
    """Means over rows first, then those of resampled rows."""
    n = len(samples)
    counts = np.concatenate([np.ones((1, n)), rng.multinomial(n, np.full(n, 1 / n), size=resamples)])
    return counts @ samples / n


def test_they_are_those_of_a_plain_loop():
    rng = np.random.default_rng(0)
    draws = _bootstrap(rng.normal(size=(50, 8)) + np.linspace(0, 0.6, 8), rng)
    p_values = adjusted(draws)
    assert p_values.tolist() == pytest.approx(_by_the_book(draws))
    assert p_values[-1] < 0.01 < p_values[0]
    assert adjusted(-draws).tolist() == p_values.tolist()


def test_of_many_true_equalities_one_is_rarely_denied():
    """36 differences of 9 equal variants, as correlated as such differences are; each alone would fail more often."""
    rng = np.random.default_rng(0)
    a, b = np.triu_indices(9, 1)
    wrong, alone = 0, 0
    for _ in range(200):
        samples = rng.normal(size=(200, 1)) + rng.normal(size=(200, 9))
        draws = _bootstrap(samples[:, a] - samples[:, b], rng, 500)
        wrong += bool((adjusted(draws) <= 0.05).any())
        alone += bool(any(adjusted(draws[:, [i]])[0] <= 0.05 for i in range(36)))
    assert 0.02 <= wrong / 200 <= 0.09
    assert alone / 200 > 0.3


def test_a_clear_difference_is_found_among_many():
    """With 1000 resamples, Bonferroni's and Holm's p-values of 60 comparisons would be 0.06 at least."""
    rng = np.random.default_rng(0)
    samples = rng.normal(size=(80, 60))
    samples[:, 7] += 2
    p_values = adjusted(_bootstrap(samples, rng))
    assert p_values[7] == pytest.approx(1 / 1001)
    assert np.delete(p_values, 7).min() > 0.05


def test_what_never_varies_and_what_is_no_number():
    rng = np.random.default_rng(0)
    usual = _bootstrap(rng.normal(size=(30, 1)), rng)
    same, apart, missing = np.zeros_like(usual), np.full_like(usual, 0.5), np.full_like(usual, math.nan)
    missing[0] = 1.0
    p_values = adjusted(np.concatenate([usual, same, apart, missing], axis=1))
    assert p_values[0] == adjusted(usual)[0]
    assert p_values[1:3].tolist() == [1.0, pytest.approx(1 / 1001)]
    assert math.isnan(p_values[3])
    assert adjusted(np.empty((5, 0))).tolist() == []
