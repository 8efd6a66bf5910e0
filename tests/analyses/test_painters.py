from __future__ import annotations

import random
import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from mechpaint.analyses.painters import METHODS, Painters, Variant, suite, variant
from mechpaint.analyses.painters.claims import claims
from mechpaint.analyses.painters.curves import Curves
from mechpaint.analyses.painters.report import report
from mechpaint.display.sanitize import sanitize
from mechpaint.errors import AnalysisError
from mechpaint.report import Figure, Table, write_report
from mechpaint.routes.route import Route
from mechpaint.statistics.bootstrap import estimate
from mechpaint.statistics.results import Results, TaskFacts
from tests.hostile import HOSTILE
from tests.seen import check_page


@pytest.mark.parametrize("n_layers", [5, 6, 18, 32])
def test_variants_by_the_papers_ranges(n_layers):
    """Written anew from the ranges: head 0..N, middle N+1..T-N-1, tail T-N..T-1."""
    for start in range((n_layers + 1) // 2):
        head, tail = list(range(start + 1)), list(range(n_layers - start, n_layers))
        middle = list(range(start + 1, n_layers - start))
        shuffled = middle[:]
        random.Random(7).shuffle(shuffled)
        expected = {
            ("skip", None): head + tail,
            ("reverse", None): head + middle[::-1] + tail,
            ("middle_repeat", None): head + [n_layers // 2] * len(middle) + tail,
            ("random", 7): head + shuffled + tail,
            ("loop_parallel", 1): [*head, *([tuple(middle)] if middle else []), *tail],
            ("loop_parallel", 3): [*head, *([tuple(middle)] * 3 if middle else []), *tail],
            ("repeat_sequence", 2): head + middle * 2 + tail,
        }
        for (method, extra), order in expected.items():
            assert variant(method, n_layers, start, extra) == Route.of(order, n_layers)
    assert variant("skip_idx_layer", n_layers, 2) == Route.identity(n_layers).without(2, 2)
    assert variant("baseline", n_layers) == Route.identity(n_layers)
    assert str(variant("switch_idx_layer", 5, 1)) == "0 2-1 3-4"
    assert str(variant("pairs", 18, 3)) == "0-3 (4+5) (6+7) (8+9) (10+11) (12+13) 14-17"


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (("skip", 18, 9), "N=9 does not fit 18 layers.*expected 0 <= N <= 8"),
        (("reverse", 5, 3), "overlap"),
        (("skip", 18, -1), "does not fit"),
        (("random", 18, 3), "takes a seed, got None"),
        (("loop_parallel", 18, 3), "takes a repeat, got None"),
        (("skip", 18, 3, 2), "takes no repeat or seed, got 2"),
        (("skip_idx_layer", 18, 18), "expected 0 to 17"),
        (("switch_idx_layer", 18, 17), "expected 0 to 16"),
        (("skipp", 18, 3), "there is no method 'skipp'; there are: baseline, skip"),
    ],
)
def test_what_the_paper_does_not_define_is_refused(call, words):
    with pytest.raises(AnalysisError, match=words):
        variant(*call)


def test_the_suite_has_every_method_and_no_experiment_twice():
    found = suite(18)
    assert len(set(found)) == len(found)
    assert {v.method for v in found} == set(METHODS) - {"baseline"}
    assert {v.start_layer for v in found if v.method == "reverse"} == set(range(9))
    assert sum(v.method == "random" for v in found) == 90
    assert {v.start_layer for v in suite(18, start_layers=[3, 5]) if v.method == "skip"} == {3, 5}
    with pytest.raises(AnalysisError, match="overlap"):
        suite(18, start_layers=[9])


def test_labels_are_unique():
    assert len(Painters().hook_sets(18)) == len(suite(18))


@pytest.mark.parametrize("settings", [{"seeds": 0}, {"loops": (0,)}])
def test_settings_that_mean_nothing_are_refused(settings):
    with pytest.raises(AnalysisError, match="1 seed or more"):
        Painters(**settings)


def _results(score, n_layers=18, items=60, analysis=None):
    """Results in which the score of each route is `score(variant)`, items differing a little."""
    analysis = analysis or Painters(seeds=2)
    routes = {"baseline": Route.identity(n_layers)}
    value = {str(routes["baseline"]): 1.0}
    for v in analysis.variants(n_layers):
        routes[str(v)] = v.hook_set(n_layers).route(n_layers)
        value.setdefault(str(routes[str(v)]), score(v))
    noise = np.random.default_rng(0).normal(scale=0.05, size=items)
    rows = [
        {"task": t, "item": f"{i}", "route": r, "score": s + noise[i], "logprob": np.log(max(s, 1e-9))}
        for t in ("facts", "arithmetic")
        for r, s in value.items()
        for i in range(items)
    ]
    tasks = tuple(TaskFacts(t, "accuracy", 0.0, items) for t in ("facts", "arithmetic"))
    return analysis, Results(pd.DataFrame(rows).assign(tokens=1, finite=True), routes, tasks, "made up", n_layers)


_AS_IN_THE_PAPER = {
    "skip": 0.55, "middle_repeat": 0.05, "reverse": 0.7, "random": 0.8, "loop_parallel": 0.6, "pairs": 0.95,
    "repeat_sequence": 0.9, "switch_idx_layer": 0.95,
}  # fmt: skip


def _score(v):
    if v.method == "skip_idx_layer":
        return 0.001 if v.start_layer in (0, 17) else 0.9
    if v.method == "loop_parallel" and v.repeat_or_seed == 3:
        return 0.85
    return _AS_IN_THE_PAPER[v.method]


def _verdicts(score):
    analysis, results = _results(score)
    return {c.text: c.verdict for c in claims(Curves(analysis.variants(18), results))}


def test_claims_hold_on_results_like_the_papers():
    found = _verdicts(_score)
    undecided = "Mathematics depends on the order of layers more than other tasks do."
    assert found.pop(undecided) == "undecided"  # both tasks were given the same scores
    assert set(found.values()) == {"held"}
    assert len(found) == 13


def test_claims_do_not_hold_on_the_opposite():
    opposite = {"skip": 0.8, "middle_repeat": 0.95, "reverse": 0.3, "random": 0.2, "loop_parallel": 0.4,
                "pairs": 0.5, "repeat_sequence": 1.3, "switch_idx_layer": 0.95}  # fmt: skip

    def score(v):
        if v.method == "skip_idx_layer":
            return 0.9
        if v.method == "loop_parallel" and v.repeat_or_seed == 3:
            return 0.35
        return opposite[v.method]

    found = _verdicts(score)
    held = {text for text, verdict in found.items() if verdict == "held"}
    assert held == {"Skipping the middle degrades gracefully: a few middle layers cost less than half."}
    assert "held" not in {found["Repeating the centre layer is the worst of all variants."]}


def test_curves_take_the_mean_of_seeds_and_the_highest_loop():
    analysis = Painters(seeds=2, loops=(2, 4))
    order = {
        ("random", 0): 0.2,
        ("random", 1): 0.4,
        ("loop_parallel", 1): 0.5,
        ("loop_parallel", 2): 0.6,
        ("loop_parallel", 4): 0.7,
    }
    _, results = _results(lambda v: order.get((v.method, v.repeat_or_seed), 0.3), analysis=analysis)
    curves = Curves(analysis.variants(18), results)
    for start in (2, 4):
        assert curves.median("random order", start)[0] == pytest.approx(0.3, abs=0.02)
        assert curves.median("parallel", start)[0] == pytest.approx(0.5, abs=0.02)
        assert curves.median("looped parallel", start)[0] == pytest.approx(0.7, abs=0.02)
    assert curves.affected(3) == 11


def test_the_report_has_every_figure_and_says_what_they_show():
    analysis, results = _results(_score)
    made = report(analysis, results)
    figures = {s.name: s for s in made.sections if isinstance(s, Figure)}
    variants = figures.pop("variants")
    assert "skip, 9 layers: 0-4 14-17;" in variants.alt
    assert "looped parallel, 9 layers: 0-4 (5-13)x" in variants.alt
    assert list(figures) == ["figure-2", *(f"figure-{i}" for i in range(4, 10)), "figure-11", "figure-17"]
    for figure in figures.values():
        assert figure.alt
        assert len(figure.caption) > 60
        assert all(ax.get_xlabel() and ax.get_lines() for ax in figure.drawing.axes)
    skip = figures["figure-4"].drawing.axes[0]
    median = next(line for line in skip.get_lines() if line.get_label() == "median")
    assert list(median.get_xdata()) == [17 - 2 * n for n in range(9)]
    assert np.allclose(median.get_ydata()[:8], 0.55, atol=0.02)  # the ninth skips a single layer
    assert "layers 0, 17 and" in figures["figure-2"].caption
    assert made.first is figures["figure-11"]
    assert "the M in between are affected" in made.first.caption  # where M and N first occur
    assert made.summary[0].startswith(
        "Of 9 ways to reroute the middle, summed pairs keeps most of the full model's score"
    )
    assert not any(re.search(r"[Ff]igure \d", section.title) for section in made.sections)
    (claimed,) = made.marked
    assert claimed.columns[-1] == "evidence"
    assert claimed.counts == [("held", 13), ("undecided", 1)]
    assert not any("-0.000" in cell for row in claimed.rows for cell in row)


def test_lines_that_leave_the_axes_are_marked_where_they_do():
    analysis, results = _results(lambda v: -2.0 if v.method == "middle_repeat" else _score(v))
    figures = {s.name: s for s in report(analysis, results).sections if isinstance(s, Figure)}
    for name, clipped in (("figure-11", 8), ("figure-5", 8 * 3), ("figure-4", 0)):  # all but the one of a single layer
        (ax,) = figures[name].drawing.axes
        marked = [line for line in ax.get_lines() if line.get_marker() == 7 and len(line.get_xdata())]
        assert sum(len(line.get_xdata()) for line in marked) == clipped
        assert all(set(line.get_ydata()) == {ax.get_ylim()[0]} for line in marked)


def _tables(made):
    return {s.name: s for s in made.sections if isinstance(s, Table)}


def _interval(cell):
    value, low, high = (float(number) for number in re.fullmatch(r"(\S+) \[(\S+), (\S+)\]", str(cell)).groups())
    return value, low, high


def _orders_differ(v):
    return 0.5 + 0.1 * (v.repeat_or_seed - 2) if v.method == "random" else _score(v)


def test_random_orders_are_resampled_and_their_spread_is_told_from_that_of_items():
    """Five orders at 0.3, 0.4, …, 0.7, at every start layer; items differ by 0.05 and cancel in differences."""
    analysis, results = _results(_orders_differ, analysis=Painters(seeds=5))
    made = report(analysis, results)
    curves = Curves(analysis.variants(18), results)
    value, low, high = _interval({row[0]: row[1] for row in _tables(made)["means"].rows}["random order"])
    assert value == pytest.approx(0.5, abs=0.02)
    expected = 2.776 * np.std([0.3, 0.4, 0.5, 0.6, 0.7], ddof=1) / 5**0.5  # Student's t of 4 degrees of freedom
    assert (high - low) / 2 == pytest.approx(expected, rel=0.1)
    fixed = estimate(curves.area("reverse", curves.shared_starts(["reverse"], 3)))
    assert fixed.high - fixed.low < 0.05
    components = _tables(made)["components"]
    assert [row[:3] for row in components.rows] == [("facts", "60", "5"), ("arithmetic", "60", "5")]
    for _, _, _, items, orders, rest, now, more_items, more_orders in components.rows:
        assert float(items) == pytest.approx(0.05, rel=0.3)
        assert (float(orders), rest) == (pytest.approx(0.158, rel=0.05), "0.000")
        assert float(now) == pytest.approx((float(items) ** 2 / 60 + float(orders) ** 2 / 5) ** 0.5, rel=0.02)
        assert float(more_orders) == pytest.approx(float(now) / 2**0.5, rel=0.02)
        assert float(more_items) == pytest.approx(float(now), rel=0.02)
    figure = next(s for s in made.sections if s.name == "figure-7")
    assert "items and orders. Rings: the medians of single orders" in figure.caption
    rings = [line for line in figure.drawing.axes[0].get_lines() if line.get_markerfacecolor() == "none"]
    assert np.allclose(rings[0].get_ydata(), [0.3, 0.4, 0.5, 0.6, 0.7], atol=0.03)


def test_with_a_single_order_the_page_says_what_its_interval_is_not():
    analysis, results = _results(_score, analysis=Painters(seeds=1), n_layers=6, items=20)
    made = report(analysis, results)
    assert "components" not in _tables(made)
    caption = _tables(made)["means"].caption
    assert "with a single random order, its intervals cover items but not other orders" in caption
    (figure,) = (section for section in made.sections if section.name == "figure-7")
    assert "a single order, so the interval does not cover others" in figure.caption


def test_every_pair_of_variants_is_compared():
    analysis, results = _results(_score)
    tables = _tables(report(analysis, results))
    means = [row[0] for row in tables["means"].rows]
    assert means[:2] == ["summed pairs", "middle twice"]
    assert means[-1] == "middle repeat"
    values = {row[0]: _interval(row[1])[0] for row in tables["means"].rows}
    rows = tables["comparisons"].rows
    assert len(rows) == 9 * 8 / 2
    for better, worse, difference, p in rows:
        value, low, high = _interval(difference)
        assert value == pytest.approx(values[better] - values[worse], abs=2e-3)
        assert low <= value <= high
        assert (float(p) < 0.05) == (low > 0)  # these are far apart, or nowhere
    twice = {(better, worse): p for better, worse, _, p in rows}
    assert twice["middle twice", "middle three times"] == "1.000"
    assert all(_interval(cell) for row in tables["scores"].rows for cell in row[3:])
    assert all(_interval(row[4]) and _interval(row[6]) and float(row[5]) > 0 for row in tables["tasks"].rows)


def test_the_page_opens_in_a_browser(chromium, tmp_path):
    """With tasks and a model of any name."""
    names = next(iter(HOSTILE)), "\x1b[31m$x^2$ and $\\frac{$"
    analysis, results = _results(_score)
    renamed = dict(zip(("facts", "arithmetic"), names, strict=True))
    tasks = tuple(replace(task, name=renamed[task.name]) for task in results.tasks)
    records = results.records.assign(task=results.records["task"].map(renamed))
    made = report(analysis, replace(results, records=records, tasks=tasks, model=names[0]))
    page = write_report(made, tmp_path, [("model", names[0])], "mechpaint analyze painters")
    check_page(chromium, page)
    with chromium.open(page) as opened:
        assert opened.page.title() == f"Layers as painters: {sanitize(names[0])}"
        said = opened.page.locator("#scores ~ details thead th").all_text_contents()
        assert said[-2:] == [sanitize(name) for name in names]


def _without_perplexity(score, n_layers, names=("facts",), analysis=None):
    """Results of tasks without log-probabilities."""
    analysis, results = _results(score, n_layers, analysis=analysis)
    records = results.records[results.records["task"].isin(names)].assign(logprob=np.nan, tokens=0)
    tasks = tuple(task for task in results.tasks if task.name in names)
    return analysis, replace(results, records=records, tasks=tasks)


def _ends_matter(v):
    if v.method == "skip_idx_layer":
        return 0.2 if v.start_layer in (0, 5) else 0.9
    return _score(v)


@pytest.mark.parametrize(
    ("score", "expected"),
    [
        (_ends_matter, "held"),
        (lambda v: 0.9, "not held"),
        (lambda v: 0.5 if v.method == "skip_idx_layer" else 0.9, "undecided"),
    ],
)
def test_without_perplexities_single_layers_are_judged_by_score(score, expected):
    analysis, results = _without_perplexity(score, 6)
    found = claims(Curves(analysis.variants(6), results))
    (claim,) = (c for c in found if c.where == "§3.1, figure 2")
    assert claim.verdict == expected
    assert "perplexity" not in claim.evidence
    assert "median of layers 2 to 3" in claim.evidence


def test_a_report_of_one_task_without_perplexity_speaks_of_no_median_and_no_perplexity():
    analysis, results = _without_perplexity(_ends_matter, 6)
    made = report(analysis, results)
    figures = {s.name: s for s in made.sections if isinstance(s, Figure)}
    assert list(figures)[:2] == ["variants", "figure-2"]
    assert "Skipping costs most at layers 0, 5 and" in figures["figure-2"].caption
    skipped = figures["figure-2"].drawing.axes[0].get_lines()[0]
    assert np.allclose(skipped.get_ydata(), [0.2, 0.9, 0.9, 0.55, 0.9, 0.2], atol=0.02)  # 3 is skip N=2
    lines = [line for line in figures["figure-4"].drawing.axes[0].get_lines() if line.get_label()[0] != "_"]
    assert [line.get_label() for line in lines] == ["facts"]
    captions = [s.caption for s in made.sections] + [c for row in made.sections[0].rows for c in row]
    assert not any("median over" in text or "Medians" in text or "mean median" in text for text in captions)
    (full,) = (s for s in made.sections if s.name == "tasks")
    assert full.rows[0][-1] == "–"
    (scores,) = (s for s in made.sections if s.name == "scores")
    assert scores.columns == ("variant", "start layer N", "layers affected M", "facts")


def test_tasks_with_and_without_perplexity_have_a_figure_each():
    analysis, results = _results(_ends_matter, 6)
    without = results.records["task"] == "facts"
    records = results.records.copy()
    records.loc[without, "logprob"], records.loc[without, "tokens"] = np.nan, 0
    made = report(analysis, replace(results, records=records))
    figures = {s.name: s for s in made.sections if isinstance(s, Figure)}
    assert list(figures)[1:3] == ["figure-2", "figure-2-scores"]
    for name, task in (("figure-2", "arithmetic"), ("figure-2-scores", "facts")):
        assert {line.get_label() for line in figures[name].drawing.axes[0].get_lines()} >= {task}
        assert "nan" not in figures[name].caption
    weak = replace(results, records=records.assign(score=0.0))
    assert "figure-2-scores" not in [s.name for s in report(analysis, weak).sections]


def test_items_that_were_left_out_are_counted_and_named():
    analysis, results = _results(_score)
    (first, second) = results.tasks
    long = replace(first, too_long=tuple(f"row {i}" for i in range(12)))
    (warning,) = (w for w in report(analysis, replace(results, tasks=(long, second))).warnings if "exceed" in w)
    assert warning.startswith("12 items of facts exceed the model's context and were left out: row 0, ")
    assert warning.endswith("row 9, ….")


def test_a_report_of_a_few_start_layers_and_of_weak_models_can_be_made():
    analysis = Painters(start_layers=(8,), seeds=1)
    _, results = _results(lambda v: 0.5, analysis=analysis, items=4)
    made = report(analysis, results)
    assert any("Only 4 items" in w for w in made.warnings)
    weak = Results(results.records.assign(score=0.0), results.routes, results.tasks, results.model, results.n_layers)
    page = report(analysis, weak)
    assert "not clearly better than chance on facts, arithmetic" in page.summary[0]
    assert (page.first, page.marked) == (None, [])  # nothing is claimed of an untrained model
    assert [s.name for s in page.sections if isinstance(s, Figure)] == ["variants", "figure-2"]


def test_an_affected_layer_count_is_the_papers_axis():
    assert [Variant("skip", n).affected(32) for n in (0, 1, 15)] == [31, 29, 1]


# ---- several models ------------------------------------------------------------------------------------------------


def test_labels_are_read_back():
    for one in suite(18):
        assert Variant.parse(str(one)) == one
    for other in ("baseline", "skip", "skip N=a", "skipp N=3", "from 3"):
        assert Variant.parse(other) is None


def _falling(n_layers, at_all):
    """Scores that fall in a straight line with the percentage affected, to `at_all` where all are; of each variant."""
    return lambda v: 1 - (1 - at_all) * v.affected(n_layers) / n_layers


def _model(n_layers, at_all, name, analysis=None):
    analysis = analysis or Painters(seeds=1)
    return replace(_results(_falling(n_layers, at_all), n_layers, 40, analysis)[1], model=name)


@pytest.mark.parametrize(
    ("ends", "expected"), [((0.2, 0.22), "held"), ((0.2, 0.6), "not held"), ((0.2, 0.403), "undecided")]
)
def test_one_curve_for_all_sizes(ends, expected):
    """Means of straight lines are known: half-way of the shared range, from 1/6 to 5/6."""
    results = [_model(6, ends[0], "small"), _model(12, ends[1], "large")]
    if expected == "undecided":
        noise = np.random.default_rng(3).normal(scale=0.3, size=len(results[1].records))
        results[1] = replace(results[1], records=results[1].records.assign(score=results[1].records["score"] + noise))
    found = {section.name: section for section in Painters().beside(results)}
    assert list(found) == ["claims", "figure-12", "figure-12-others", "percentages"]
    assert found["claims"].rows[0][1] == expected
    rows = {row[0]: row[1:] for row in found["percentages"].rows}
    assert found["percentages"].columns[2:] == ("small", "large")
    assert rows["skip"][0] == "17 % to 83 %"
    for cell, end in zip(rows["skip"][1:], ends, strict=True):
        assert _interval(cell)[0] == pytest.approx(1 - (1 - end) / 2, abs=0.05 if expected == "undecided" else 0.01)
    line = found["figure-12"].drawing.axes[0].get_lines()[1]
    assert list(line.get_xdata()) == pytest.approx([100 * m / 12 for m in (1, 3, 5, 7, 9, 11)])
    assert len([ax for ax in found["figure-12-others"].drawing.axes if ax.get_title()]) == 8


def test_only_what_all_models_ran_and_can_do_is_compared():
    few = _model(6, 0.2, "m", Painters(seeds=1, start_layers=(0, 1)))
    weak = few.records.assign(score=few.records["score"].mask(few.records["task"] == "facts", 0.0))
    first, second = _model(6, 0.2, "m"), replace(few, records=weak)
    found = {section.name: section for section in Painters().beside([first, second])}
    assert list(found) == ["figure-12", "figure-12-others", "percentages"]  # as deep as each other: no claim
    assert "The score (arithmetic)" in found["figure-12"].caption
    assert found["percentages"].columns[2:] == ("m (1)", "m (2)")
    assert {row[1] for row in found["percentages"].rows} == {"50 % to 83 %"}
    nothing = replace(second, records=second.records.assign(score=0.0))
    assert Painters().beside([first, nothing]) == []
    elsewhere = replace(second, tasks=tuple(replace(task, name=f"other {task.name}") for task in second.tasks))
    assert Painters().beside([first, elsewhere]) == []
    single = _model(6, 0.2, "one", Painters(seeds=1, start_layers=(1,)))
    assert Painters().beside([first, single]) == []
