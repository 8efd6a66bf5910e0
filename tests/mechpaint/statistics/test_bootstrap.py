from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from mechpaint.routes.route import Route
from mechpaint.statistics.bootstrap import Estimate, Scores, estimate, number, verdict
from mechpaint.statistics.metrics import Spearman
from mechpaint.statistics.random_effects import Drawn
from mechpaint.statistics.results import Results, TaskFacts

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
    score = scores.score("a", "baseline")
    half = 1.96 * values.std() / 20
    assert score.high - score.value == pytest.approx(half, rel=0.15)
    assert score.value - score.low == pytest.approx(half, rel=0.15)


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


def test_a_task_barely_above_chance_keeps_numbers_in_every_resample():
    """36 of 100 at a chance of 0.25: about 1 % of the resamples have no scale. Without them no interval is lost."""
    scores = Scores(_results({"a": ([1] * 36 + [0] * 64, [1] * 30 + [0] * 70)}))
    gap = scores.raw["a"][:, 0] - 0.25
    assert 0 < (gap <= 0).sum() < 25
    assert [t.name for t in scores.tasks] == ["a"]
    drawn = scores.of_task("a", ["skip"])
    assert np.isfinite(drawn).all()
    kept = gap > 0
    assert np.array_equal(drawn[kept], (scores.raw["a"][kept, 1] - 0.25) / gap[kept])
    assert set(drawn[~kept]) <= set(drawn[kept])
    assert np.allclose(scores.of_task("a", ["baseline"]), 1)


def test_what_is_no_number_is_not_averaged_away():
    scores = Scores(_results({"a": ([1.0] * 10, [1.0] * 9 + [math.nan]), "b": ([1.0] * 10, [1.0] * 10)}))
    assert math.isnan(scores.of_task("a", ["skip"])[0])
    assert math.isnan(scores.median(["skip"])[0])
    assert not math.isnan(scores.median(["baseline"])[0])
    assert Scores(_results({"a": ([1.0] * 10, [1.0] * 10)}, finite=False)).not_finite() == 20


def test_perplexity():
    assert Scores(_results({"a": ([1.0] * 5, [1.0] * 5)})).perplexity("a", "skip")[0] == pytest.approx(math.e)


def test_a_task_without_log_probabilities_has_no_perplexity():
    results = _results({"a": ([1.0] * 5, [1.0] * 5), "b": ([1.0] * 5, [1.0] * 5)})
    without = results.records["task"] == "a"
    records = results.records.assign(logprob=results.records["logprob"].mask(without))
    records.loc[without, "tokens"] = 0
    scores = Scores(replace(results, records=records))
    assert np.isnan(scores.perplexity("a", "skip")).all()
    assert scores.perplexity("b", "skip")[0] == pytest.approx(math.e)
    assert [scores.has_perplexity(task) for task in "ab"] == [False, True]


def test_a_task_is_scored_by_its_own_metric_of_paired_items():
    """A rank correlation: 1 where the order is the given one, whatever the values; paired, two such do not differ."""
    given = np.arange(40.0)
    results = _results({"a": (given**3, np.exp(given / 9))}, chance=0.0)
    targets = {f"{i:03d}": value for i, value in enumerate(given)}
    (task,) = results.tasks
    scores = Scores(replace(results, tasks=(replace(task, metric=Spearman(targets)),)))
    assert scores.score("a", "baseline") == Estimate(1.0, 1.0, 1.0)
    assert scores.score("a", "skip") == Estimate(1.0, 1.0, 1.0)
    shuffled = dict(zip(targets, np.random.default_rng(0).permutation(given), strict=True))
    other = Scores(replace(results, tasks=(replace(task, metric=Spearman(shuffled)),)))
    score = other.score("a", "baseline")
    assert score.value == pytest.approx(pd.Series(given).corr(pd.Series(list(shuffled.values()))))
    assert score.low < score.value < score.high
    assert np.array_equal(other.raw["a"][:, 0], other.raw["a"][:, 1])
    assert [t.name for t in other.unusable] == ["a"]


def _shuffled(items, seeds, spread, rng, tasks=("a",)):
    """Results of hook sets "0", "1", … that are draws of many: the same of each for every task."""
    of_items, of_seeds, of_rest = spread
    orders = [Route.parse(f"0 {i} 3", 4) for i in ("1x2", "2x2", "1x3", "2x3", "1x4", "2x4", "1x5", "2x5")][:seeds]
    of_seed = of_seeds * rng.normal(size=seeds)
    rows = []
    for task in tasks:
        of_item = of_items * rng.normal(size=items)
        for i, order in enumerate([FULL, *orders]):
            own = 1.0 if i == 0 else 0.5 + of_seed[i - 1]
            score = own + of_item + of_rest * rng.normal(size=items)
            rows += [{"task": task, "item": f"{k:03d}", "route": str(order), "score": s} for k, s in enumerate(score)]
    routes = {"baseline": FULL, **{str(i): order for i, order in enumerate(orders)}}
    facts = tuple(TaskFacts(task, "accuracy", 0.0, items) for task in tasks)
    records = pd.DataFrame(rows).assign(logprob=math.nan, tokens=0, finite=True)
    return Results(records, routes, facts, "m", 4), Drawn(tuple(str(i) for i in range(seeds)))


def test_drawn_hook_sets_are_resampled_and_others_are_not():
    """Items that do not differ leave only the seeds: the interval of eight is Student's."""
    results, drawn = _shuffled(30, 8, (0.0, 0.1, 0.0), np.random.default_rng(0))
    scores = Scores(results)
    interval, fixed = (estimate(scores.of_task("a", labels)) for labels in (drawn, drawn.labels))
    means = np.array([scores.of_task("a", [label])[0] for label in drawn.labels])
    assert interval.value == pytest.approx(means.mean())
    assert fixed.high - fixed.low == pytest.approx(0, abs=1e-12)
    assert (interval.high - interval.low) / 2 == pytest.approx(2.365 * means.std(ddof=1) / math.sqrt(8), rel=0.1)


def test_each_draw_has_the_same_seeds_for_every_task():
    """Tasks that see the same of each seed: paired, their difference does not vary."""
    results, drawn = _shuffled(30, 5, (0.0, 0.1, 0.0), np.random.default_rng(0), tasks=("a", "b"))
    scores = Scores(results)
    a, b = (scores.of_task(task, drawn) for task in "ab")
    assert a[1:].std() > 0.02
    assert np.allclose(a, b)
    assert np.allclose(scores.median(drawn), a)


def test_a_single_drawn_hook_set_has_the_interval_of_its_items():
    results, drawn = _shuffled(30, 1, (0.1, 0.1, 0.1), np.random.default_rng(0))
    scores = Scores(results)
    assert np.array_equal(scores.of_task("a", drawn), scores.of_task("a", drawn.labels))


def test_a_single_item_and_a_seed_that_is_no_number():
    results, drawn = _shuffled(1, 3, (0.1, 0.1, 0.1), np.random.default_rng(0))
    scores = Scores(results)
    assert scores.score("a", "0") == Estimate(*[scores.score("a", "0").value] * 3)
    assert scores.error("a", "0") == pytest.approx(0)
    broken = str(results.routes["1"])
    records = results.records.assign(score=results.records["score"].where(results.records["route"] != broken))
    assert np.isnan(Scores(replace(results, records=records)).of_task("a", drawn)).all()


def test_items_on_the_normalised_scale_average_to_the_score():
    results, drawn = _shuffled(30, 3, (0.1, 0.1, 0.1), np.random.default_rng(0))
    scores = Scores(results)
    each = scores.by_item("a", drawn.labels)
    assert each.shape == (30, 3)
    assert each.mean() == pytest.approx(scores.of_task("a", drawn)[0])


def test_the_standard_error_is_that_of_a_mean():
    values = np.random.default_rng(0).normal(size=400)
    scores = Scores(_results({"a": (values + 9, values + 9)}))
    assert scores.error("a", "skip") == pytest.approx(values.std() / 20, rel=0.07)


def test_the_interval_of_a_perplexity_is_over_items():
    """exp of the interval of a mean, items weighted by their tokens, as resampled by a loop."""
    rng = np.random.default_rng(0)
    results = _results({"a": ([1.0] * 200, [1.0] * 200)})
    tokens = np.tile(rng.integers(1, 5, size=200), 2)
    logprobs = -tokens * rng.exponential(size=400)
    scores = Scores(replace(results, records=results.records.assign(logprob=logprobs, tokens=tokens)))
    perplexity = estimate(scores.perplexity("a", "skip"))
    own, weight = logprobs[200:], tokens[200:]
    drawn = [rng.integers(200, size=200) for _ in range(2000)]
    low, high = np.percentile([np.exp(-own[at].sum() / weight[at].sum()) for at in drawn], (2.5, 97.5))
    assert perplexity.value == pytest.approx(np.exp(-own.sum() / weight.sum()))
    assert (perplexity.low, perplexity.high) == (pytest.approx(low, rel=0.03), pytest.approx(high, rel=0.03))


def test_an_infinite_perplexity_is_shown_as_one():
    results = _results({"a": ([1.0] * 5, [1.0] * 5)})
    infinite = results.records["logprob"].where(results.records["item"] != "001", -math.inf)
    perplexity = estimate(
        Scores(replace(results, records=results.records.assign(logprob=infinite))).perplexity("a", "skip")
    )
    assert perplexity.value == math.inf
    assert math.isnan(perplexity.low)


def test_verdicts():
    assert verdict(Estimate(0.2, 0.1, 0.3)) == "held"
    assert verdict(Estimate(-0.2, -0.3, -0.1)) == "not held"
    assert verdict(Estimate(0.1, -0.1, 0.3)) == "undecided"
    assert verdict(Estimate(math.nan, math.nan, math.nan)) == "undecided"


@pytest.mark.parametrize(
    ("value", "low", "high", "text"),
    [
        (0.5, 0.4, 0.6, "0.50 [0.40, 0.60]"),
        (0.3891, 0.3534, 0.4206, "0.389 [0.353, 0.421]"),
        (0.9, 0.89999, 0.90001, "0.900 [0.900, 0.900]"),
        (1.0, 1.0, 1.0, "1.000 [1.000, 1.000]"),
        (-0.0001, -0.0002, 0.0002, "0.000 [0.000, 0.000]"),
        (-1e-17, -1e-17, 1e-17, "0.000 [0.000, 0.000]"),
        (0.001, -0.46, 0.46, "0.00 [-0.46, 0.46]"),
        (14.2, 11.0, 19.0, "14.2 [11.0, 19.0]"),
        (12345.0, 11000.0, 14000.0, "12300 [11000, 14000]"),
        (3.07e6, 8.67e5, 1e7, "3.1e6 [0.9e6, 10.0e6]"),
        (0.0, -5e6, 5e6, "0.0e6 [-5.0e6, 5.0e6]"),
        (5e22, 1e3, 4e25, "5e+22 [1e+03, 4e+25]"),
        (1e9, 1e9, 1e9, "1.000e9 [1.000e9, 1.000e9]"),
        (math.inf, 3.0, math.inf, "inf [3, inf]"),
        (math.nan, math.nan, math.nan, "nan [nan, nan]"),
    ],
)
def test_an_estimate_prints_the_digits_that_its_interval_allows(value, low, high, text):
    assert str(Estimate(value, low, high)) == f"{Estimate(value, low, high)}" == text


def test_an_estimate_prints_as_it_is_told_and_never_minus_zero():
    interval = estimate(np.array([0.5, 0.4, 0.4, 0.6, 0.6]))
    assert f"{interval:.1g}" == "0.5 [0.4, 0.6]"
    assert f"{Estimate(-0.0001, -0.5, 0.5):.3f}" == "0.000 [-0.500, 0.500]"
    assert (number(-0.0004), number(-0.0005001), number(-1e-9, ".2g")) == ("0.000", "-0.001", "-1e-09")
