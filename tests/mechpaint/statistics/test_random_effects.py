"""Draws of many: weights of resamples, how often intervals cover what they are of, and variance components."""

from __future__ import annotations

import math

import numpy as np
import pytest

from mechpaint.statistics.random_effects import Components, Drawn, components, student, weights


def _crossed(items, seeds, spread, rng):
    """Scores of mean 0 with standard deviations between items, between seeds, and of the rest."""
    of_items, of_seeds, of_rest = spread
    noise = of_rest * rng.normal(size=(items, seeds))
    return of_items * rng.normal(size=(items, 1)) + of_seeds * rng.normal(size=(1, seeds)) + noise


def test_the_percentiles_of_student_s_t_are_those_of_tables():
    known = {1: 12.706, 2: 4.303, 3: 3.182, 9: 2.262, 29: 2.045, 1000: 1.962}
    assert {freedom: round(student(freedom), 3) for freedom in known} == known


@pytest.mark.parametrize("members", [2, 10])
def test_weights_average_to_the_mean_and_scatter_as_student_s_t(members):
    draws = weights(members, 20_000, np.random.default_rng(0))
    assert np.allclose(draws[0], 1 / members)
    assert np.allclose(draws.sum(axis=1), 1)
    values = np.random.default_rng(1).normal(size=members)
    drawn = draws[1:] @ values
    assert drawn.mean() == pytest.approx(values.mean(), abs=0.05 * student(members - 1))
    expected = values.std(ddof=1) / math.sqrt(members) * student(members - 1) / 1.96
    assert drawn.std() == pytest.approx(expected, rel=0.03)


def test_a_single_member_stays_what_it_is():
    assert weights(1, 5, np.random.default_rng(0)).tolist() == [[1.0]] * 6
    with pytest.raises(ValueError, match="expected the label of one hook set or more"):
        Drawn(())


@pytest.mark.parametrize(
    ("items", "seeds", "spread", "at_least", "at_most"),
    [
        (60, 10, (1.0, 0.0, 0.0), 0.92, 0.98),  # as if there were no seeds
        (60, 10, (0.0, 1.0, 0.0), 0.92, 0.98),  # as if there were no items
        (60, 10, (1.0, 0.5, 1.0), 0.93, 1.0),
        (60, 3, (1.0, 0.5, 1.0), 0.95, 1.0),
        (60, 10, (0.0, 0.0, 1.0), 0.95, 1.0),  # counted twice: too wide, as is known
    ],
)
def test_intervals_cover_the_mean_of_all_items_and_all_seeds(items, seeds, spread, at_least, at_most):
    rng = np.random.default_rng(0)
    counts = np.concatenate([np.ones((1, items)), rng.multinomial(items, np.full(items, 1 / items), size=1000)])
    each = weights(seeds, 1000, rng)

    def covers(table, by_seed):
        draws = ((counts / items) @ table * by_seed).sum(axis=1)
        low, high = np.percentile(draws[1:], (2.5, 97.5))
        return low <= 0 <= high

    tables = [_crossed(items, seeds, spread, rng) for _ in range(400)]
    assert at_least <= np.mean([covers(table, each) for table in tables]) <= at_most
    if spread[1]:  # with the same seeds in every draw they are taken for all that there are
        assert np.mean([covers(table, each[:1]) for table in tables]) < 0.85


def test_components_of_many_tables_average_to_the_known_ones():
    rng = np.random.default_rng(0)
    estimates = [components(_crossed(40, 8, (1.0, 0.5, 0.8), rng)) for _ in range(300)]
    assert np.mean([c.items for c in estimates]) == pytest.approx(1.0, rel=0.05)
    assert np.mean([c.seeds for c in estimates]) == pytest.approx(0.25, rel=0.1)
    assert np.mean([c.rest for c in estimates]) == pytest.approx(0.64, rel=0.05)


def test_the_error_that_components_foretell_is_that_of_means():
    """Of twice the items and twice the seeds, too."""
    known = Components(items=1.0, seeds=0.25, rest=0.64)
    for items, seeds in ((40, 8), (80, 8), (40, 16)):
        rng = np.random.default_rng(1)
        means = [_crossed(items, seeds, (1.0, 0.5, 0.8), rng).mean() for _ in range(3000)]
        assert known.error(items, seeds) == pytest.approx(np.std(means), rel=0.05)


def test_components_of_a_table_by_hand():
    """Additive: nothing is left. The variances are those of (0, 2) and of (0, 1, 5)."""
    parts = components(np.array([[0.0, 1.0, 5.0], [2.0, 3.0, 7.0]]))
    assert (parts.items, parts.seeds, parts.rest) == pytest.approx((2.0, 7.0, 0.0))


def test_components_where_there_is_little_to_tell():
    assert components(np.ones((5, 4))) == Components(0.0, 0.0, 0.0)
    turned = np.array([[0.0, 1.0], [1.0, 0.0]])  # by item and by seed all means are the same: both come out below 0
    assert components(turned) == Components(0.0, 0.0, 1.0)
    for table in (np.ones((1, 4)), np.ones((5, 1)), np.array([[1.0, math.nan], [0.0, 1.0]])):
        parts = components(table)
        assert all(math.isnan(value) for value in (parts.items, parts.seeds, parts.rest, parts.error(9, 9)))
