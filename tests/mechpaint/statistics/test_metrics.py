"""Metrics against closed forms computed item by item; resamples against the same metric of repeated items."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest

from mechpaint.statistics.metrics import F1, Accuracy, Matthews, Mean, Pearson, Spearman, WeightedMean

NAMES = [f"item {i}" for i in range(40)]
RNG = np.random.default_rng(0)
VALUES = RNG.integers(0, 8, size=(40, 3)).astype(float)  # with ties
CLASSES = RNG.integers(0, 2, size=(40, 3)).astype(float)
GIVEN = dict(zip(NAMES, RNG.integers(0, 6, size=40).astype(float), strict=True))
RIGHT = dict(zip(NAMES, RNG.integers(0, 2, size=40).astype(float), strict=True))
METRICS = {
    "mean": (Mean(), VALUES),
    "weighted mean": (WeightedMean({name: 1.0 + i for i, name in enumerate(NAMES)}), VALUES),
    "pearson": (Pearson(GIVEN), VALUES),
    "spearman": (Spearman(GIVEN), VALUES),
    "matthews": (Matthews(RIGHT), CLASSES),
    "f1": (F1(RIGHT), CLASSES),
    "accuracy": (Accuracy(RIGHT), CLASSES),
}


def _confusion(chosen):
    pairs = [(bool(c), bool(RIGHT[name])) for name, c in zip(NAMES, chosen, strict=True)]
    return [pairs.count(pair) for pair in ((True, True), (True, False), (False, True), (False, False))]


def _expected(name, column):
    given = pd.Series([GIVEN[n] for n in NAMES])
    if name == "mean":
        return sum(column) / 40
    if name == "weighted mean":
        return sum((1 + i) * x for i, x in enumerate(column)) / sum(range(1, 41))
    if name == "pearson":
        return pd.Series(column).corr(given)
    if name == "spearman":
        return pd.Series(column).rank().corr(given.rank())
    tp, fp, fn, tn = _confusion(column)
    if name == "matthews":
        return (tp * tn - fp * fn) / math.sqrt((tp + fp) * (tp + fn) * (tn + fp) * (tn + fn))
    return 2 * tp / (2 * tp + fp + fn) if name == "f1" else (tp + tn) / 40


@pytest.mark.parametrize("name", METRICS)
def test_scores_are_those_of_the_closed_form(name):
    metric, scores = METRICS[name]
    assert metric(NAMES, scores) == pytest.approx([_expected(name, column) for column in scores.T])


@pytest.mark.parametrize("name", METRICS)
def test_a_resample_is_the_metric_of_repeated_items(name):
    metric, scores = METRICS[name]
    rng = np.random.default_rng(1)
    counts = rng.multinomial(40, np.full(40, 1 / 40), size=5)
    for drawn, value in zip(counts, metric.resampled(NAMES, scores, counts.astype(float)), strict=True):
        index = np.repeat(np.arange(40), drawn)
        assert value == pytest.approx(metric([NAMES[i] for i in index], scores[index]))


@pytest.mark.parametrize("name", METRICS)
def test_what_is_no_number_makes_none(name):
    metric, scores = METRICS[name]
    broken = scores.copy()
    broken[7, 1] = math.nan
    counts = np.ones((2, 40))
    counts[1, 7] = 0  # not even where it is not drawn
    assert np.isnan(metric.resampled(NAMES, broken, counts)).tolist() == [[False, True, False]] * 2
    assert np.isnan(metric(NAMES, broken)).tolist() == [False, True, False]


@pytest.mark.parametrize("metric", [Pearson(GIVEN), Spearman(GIVEN), Matthews(RIGHT), F1(RIGHT)])
def test_what_is_constant_agrees_with_nothing(metric):
    constant = np.full((40, 1), 0.0)
    assert metric(NAMES, constant).tolist() == [0]
    if not isinstance(metric, F1):
        assert metric(NAMES, constant + 0.1).tolist() == [0]


def test_f1_without_any_of_the_class_is_zero():
    assert F1(dict.fromkeys(NAMES, 0.0))(NAMES, np.zeros((40, 1))).tolist() == [0]


def test_correlations_do_not_depend_on_shift_and_scale():
    for metric in (Pearson(GIVEN), Spearman(GIVEN)):
        assert metric(NAMES, 1e6 + 1e-3 * VALUES) == pytest.approx(metric(NAMES, VALUES))
    cubes = Spearman(GIVEN)(NAMES, VALUES**3)
    assert cubes == pytest.approx(Spearman(GIVEN)(NAMES, VALUES))
