from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mechpaint.toy.chains import Chain
from mechpaint.toy.sampling import AliasTable

WEIGHTS = st.one_of(st.just(0.0), st.floats(0, 1), st.floats(0, 1e-9), st.integers(0, 10**9).map(float))


@st.composite
def matrices(draw):
    columns = draw(st.integers(1, 30))
    row = st.lists(WEIGHTS, min_size=columns, max_size=columns).filter(lambda values: sum(values) > 1e-100)
    return np.array(draw(st.lists(row, min_size=1, max_size=5)))


@given(matrices())
def test_the_table_draws_exactly_what_the_rows_say(rows):
    wanted = rows / rows.sum(axis=1, keepdims=True)
    table = AliasTable.of(rows)
    found = table.probabilities()
    assert np.abs(found - wanted).max() < 1e-12
    assert (found[rows == 0] == 0).all()
    kept = table.threshold - np.arange(rows.shape[1])
    assert kept.min() >= 0
    assert kept.max() <= 1


@pytest.mark.parametrize("chain", [Chain.shakespeare(), Chain.uniform(300), Chain.zipf(500, 2.0)], ids=lambda c: c.name)
def test_tables_of_chains(chain):
    assert np.abs(AliasTable.of(chain.transitions).probabilities() - chain.transitions).max() < 1e-12


def test_a_row_with_one_possibility_always_gives_it():
    table = AliasTable.of(np.eye(50))
    rows = np.repeat(np.arange(50), 100)
    uniforms = np.tile(np.arange(100) / 100, 50)
    assert (table.draw(rows, uniforms) == rows).all()


@given(matrices())
def test_draws_are_as_frequent_as_the_probabilities(rows):
    """At evenly spaced numbers, each column is off by at most one for each of the pieces that it is made of."""
    table, points = AliasTable.of(rows), 10_000
    wanted = rows / rows.sum(axis=1, keepdims=True)
    uniforms = (np.arange(points) + 0.5) / points
    for row in range(len(rows)):
        drawn = table.draw(np.full(points, row), uniforms)
        found = np.bincount(drawn, minlength=rows.shape[1]) / points
        assert np.abs(found - wanted[row]).max() <= (rows.shape[1] + 1) / points
        assert wanted[row][drawn].min() > 0


@pytest.mark.parametrize("columns", [*range(1, 70), 127, 128, 129, 1000, 1023, 1025])
def test_the_ends_of_the_unit_interval_are_in_range(columns):
    ends = np.array([0.0, np.nextafter(1, 0)])
    drawn = AliasTable.of(np.ones((1, columns))).draw(np.zeros(2, np.int64), ends)
    assert drawn.tolist() == [0, columns - 1]
