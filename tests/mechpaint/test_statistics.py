from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest

from mechpaint.analysis import Results, TaskFacts
from mechpaint.route import Route
from mechpaint.statistics import Estimate, Scores, estimate, verdict

FULL, SKIP = Route.identity(4), Route.parse("0 3", 4)


def _results(scores, chance=0.25, finite=True):
    """Scores by task and route: `{"task": ([full], [skip])}`."""
    rows = [
        {"task": t, "item": f"{i:03d}", "route": str(r), "score": s, "logprob": -2.0, "tokens": 2, "finite": finite}
        for t, both in scores.items()
        for r, own in zip((FULL, SKIP), both, strict=True)
        for i, s in enumerate(own)
    ]
    tasks = tuple(TaskFacts(t, "accuracy", chance, len(both[0])) for t, both in scores.items())
    return Results(pd.DataFrame(rows), {"baseline": FULL, "skip": SKIP}, tasks, "m", 4)


def test_chance_is_zero_and_the_full_model_one():
    scores = Scores(_results({"a": ([1] * 8 + [0] * 2, [1] * 5 + [0] * 5)}))
    assert scores.of_task("a", ["baseline"])[0] == pytest.approx(1)
    assert scores.of_task("a", ["skip"])[0] == pytest.approx((0.5 - 0.25) / (0.8 - 0.25))
    assert scores.score("a", "skip").value == pytest.approx(0.5)


def test_the_interval_of_a_mean_is_the_known_one():
    rng = np.random.default_rng(0)
    values = rng.normal(size=400)
    scores = Scores(_results({"a": (values + 9, values + 9)}))
    found = scores.score("a", "baseline")
    half = 1.96 * values.std() / 20
    assert found.high - found.value == pytest.approx(half, rel=0.15)
    assert found.value - found.low == pytest.approx(half, rel=0.15)


def test_items_are_paired_between_routes():
    """Items differ much and routes by a constant: paired, their difference has no spread at all."""
    values = np.random.default_rng(0).normal(size=50) + 10
    scores = Scores(_results({"a": (values, values - 1)}, chance=0.0))
    raw = scores.raw["a"]
    difference = raw[:, 0] - raw[:, 1]
    assert np.allclose(difference, 1)
    assert raw[:, 0].std() > 0.05


def test_medians_are_over_tasks():
    tasks = {name: ([1.0] * 20, [value] * 20) for name, value in (("a", 0.4), ("b", 0.7), ("c", 1.0))}
    assert Scores(_results(tasks)).median(["skip"])[0] == pytest.approx((0.7 - 0.25) / 0.75)


def test_tasks_at_chance_are_left_out_and_named():
    good, at_chance = ([1] * 40, [1] * 40), ([1, 0, 0, 0] * 10, [1] * 40)
    scores = Scores(_results({"good": good, "chance": at_chance}))
    assert [t.name for t in scores.tasks] == ["good"]
    assert [t.name for t in scores.unusable] == ["chance"]
    nothing = Scores(_results({"chance": at_chance}))
    assert math.isnan(nothing.median(["skip"])[0])


def test_what_is_no_number_is_not_averaged_away():
    scores = Scores(_results({"a": ([1.0] * 10, [1.0] * 9 + [math.nan]), "b": ([1.0] * 10, [1.0] * 10)}))
    assert math.isnan(scores.of_task("a", ["skip"])[0])
    assert math.isnan(scores.median(["skip"])[0])
    assert not math.isnan(scores.median(["baseline"])[0])
    assert Scores(_results({"a": ([1.0] * 10, [1.0] * 10)}, finite=False)).not_finite() == 20


def test_perplexity():
    assert Scores(_results({"a": ([1.0] * 5, [1.0] * 5)})).perplexity("a", "skip") == pytest.approx(math.e)


def test_verdicts():
    assert verdict(Estimate(0.2, 0.1, 0.3)) == "held"
    assert verdict(Estimate(-0.2, -0.3, -0.1)) == "not held"
    assert verdict(Estimate(0.1, -0.1, 0.3)) == "undecided"
    assert verdict(Estimate(math.nan, math.nan, math.nan)) == "undecided"


def test_an_estimate_prints_its_interval():
    assert str(estimate(np.array([0.5, 0.4, 0.4, 0.6, 0.6]))) == "0.500 [0.400, 0.600]"
