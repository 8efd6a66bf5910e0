"""The analysis `loops`: its grid of routes, what is best in it, and what its page says."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest

from mechpaint.analyses.loops import Loops
from mechpaint.analyses.loops.grid import Grid
from mechpaint.analyses.loops.report import claims, report
from mechpaint.errors import AnalysisError
from mechpaint.report import write_report
from mechpaint.routes.prefix_tree import PrefixTree
from mechpaint.routes.route import Route
from mechpaint.runs.execute import run
from mechpaint.runs.plans.route_plan import RoutePlan, Settings
from mechpaint.runs.plans.routed_model import RoutedModel
from mechpaint.statistics.bootstrap import Scores, estimate
from mechpaint.statistics.results import Results, TaskFacts
from mechpaint.tasks import Facts
from tests.hostile import HOSTILE
from tests.rebuilt import check_rebuilt
from tests.seen import check_page


def test_the_whole_grid_is_one_sweep():
    """Group sizes 1, 3, … by 1 to T - 4 iterations, written anew."""
    n_layers = 18
    routes = [hook_set.route(n_layers) for hook_set in Loops().hook_sets(n_layers).values()]
    expected = [
        Route.of(
            [*range(n + 1), *[tuple(range(n + 1, n_layers - n))] * times, *range(n_layers - n, n_layers)], n_layers
        )
        for n in reversed(range(n_layers // 2))
        for times in range(1, n_layers - 3)
    ]
    assert routes == expected
    tree = PrefixTree(routes)
    assert (tree.layer_calls, tree.layer_calls_unshared) == (1639, 9639)


def test_other_grids():
    assert list(Loops(iterations=2, start_layers=(1, 2)).hook_sets(6)) == [
        "loop_parallel N=2 1", "loop_parallel N=2 2", "loop_parallel N=1 1", "loop_parallel N=1 2",
    ]  # fmt: skip
    assert len(Loops().hook_sets(2)) == 1
    assert Loops(start_layers=(1, 2)).starts(5) == [1]  # N = 2 leaves nothing
    for n_layers, changed in ((1, {}), (6, {"start_layers": ()}), (6, {"start_layers": (3,)})):
        with pytest.raises(AnalysisError):
            Loops(**changed).hook_sets(n_layers)
    with pytest.raises(AnalysisError, match="expected 1 iteration or more, got 0"):
        Loops(iterations=0)


def results(best, items=60, noise=0.05, chance=0.0, n_layers=18):
    """Scores that fall off on both sides of the best number of iterations, which is `best(size)`."""
    analysis = Loops()
    routes = {"baseline": Route.identity(n_layers)}
    value = {str(routes["baseline"]): 1.0}
    hook_sets = analysis.hook_sets(n_layers)
    for start, times in itertools.product(analysis.starts(n_layers), analysis.counts(n_layers)):
        label = f"loop_parallel N={start} {times}"
        routes[label] = hook_sets[label].route(n_layers)
        value.setdefault(str(routes[label]), 0.9 - 0.02 * abs(times - best(n_layers - 2 * start - 1)))
    rng = np.random.default_rng(0)
    rows = [
        {"task": task, "item": str(i), "route": route, "score": score + noise * rng.normal()}
        for task in ("facts", "ioi")
        for route, score in value.items()
        for i in range(items)
    ]
    tasks = tuple(TaskFacts(task, "accuracy", chance, items) for task in ("facts", "ioi"))
    records = pd.DataFrame(rows).assign(tokens=1, finite=True, logprob=-1.0)
    return analysis, Results(records, routes, tasks, "made up", n_layers)


def grid_of(analysis, found):
    return Grid(analysis, found, Scores(found))


def test_the_best_of_each_size_and_the_line_through_them():
    grid = grid_of(*results(lambda size: 2 + (size - 1) // 2, noise=0.01))
    assert grid.sizes == [1, 3, 5, 7, 9, 11, 13, 15, 17]
    assert grid.best[0].tolist() == [1, 3, 4, 5, 6, 7, 8, 9, 10]
    slope, intercept = grid.fit()
    assert grid.fitted() == grid.sizes[1:-2]
    assert (slope[0], intercept[0]) == (pytest.approx(0.5), pytest.approx(1.5))
    assert grid.score_of(5).value == pytest.approx(0.9, abs=0.02)
    assert grid.best_of(5).low <= 4 <= grid.best_of(5).high


def test_what_may_be_the_best_and_where_the_line_may_run():
    """Four iterations have the scores of three, of other items: each is the best of about half of the resamples."""
    analysis, found = results(lambda size: 3, noise=0.01)
    three, four = (found.records["route"] == str(found.routes[f"loop_parallel N=6 {k}"]) for k in (3, 4))
    scores = found.records["score"].mask(four, np.nan)
    scores[four] = scores[three].to_numpy()[::-1]
    alike = Results(found.records.assign(score=scores), found.routes, found.tasks, found.model, found.n_layers)
    grid = grid_of(analysis, alike)
    assert grid.share(5, 3) + grid.share(5, 4) == pytest.approx(1)
    assert 0.3 < grid.share(5, 4) < 0.7
    assert grid.share(7, 3) == 1
    slope, intercept = grid.fit()
    line = grid.line()
    assert [e.value for e in line] == pytest.approx([intercept[0] + slope[0] * size for size in grid.fitted()])
    assert line[1].low < line[1].high
    sections = {section.name: section for section in report(analysis, alike).sections}
    assert len(sections["figure-10"].drawing.axes[0].patches) == len(grid.sizes) + 1
    assert f"{estimate(slope)} × number of layers" in sections["figure-10-fit"].caption
    table = {tuple(row[:2]): row[2:] for row in sections["grid"].rows}
    assert len(table) == 9 * 14
    assert table["5", "4"] == (grid.at(5, 4), f"{grid.share(5, 4):.3f}")
    often = {row[0]: row[2] for row in sections["best"].rows}
    assert often["7"] == "3: 100%"
    assert {part.split(":")[0] for part in often["5"].split(", ")} == {"3", "4"}


@pytest.mark.parametrize(
    ("best", "noise", "expected"),
    [
        (lambda size: 2 + size // 3, 0.02, "held"),
        (lambda size: 9 - size // 3, 0.02, "not held"),
        (lambda size: 4, 0.5, "undecided"),
    ],
)
def test_the_claim(best, noise, expected):
    (claim,) = claims(grid_of(*results(best, noise=noise)))
    assert claim.verdict == expected


def test_sizes_at_chance_say_nothing_of_the_best():
    analysis, found = results(lambda size: 3)
    records = found.records
    lost = {
        str(route)
        for label, route in found.routes.items()
        if label.startswith(("loop_parallel N=5", "loop_parallel N=4"))
    }
    zero = records.assign(score=records["score"].where(~records["route"].isin(lost), -0.2))
    grid = grid_of(analysis, Results(zero, found.routes, found.tasks, found.model, found.n_layers))
    assert grid.fitted() == [3, 5, 11, 13]
    few = records.assign(score=records["score"].where(records["route"] == "0-17", -0.2))
    assert grid_of(analysis, Results(few, found.routes, found.tasks, found.model, found.n_layers)).fit() is None


def test_what_is_no_number_is_never_the_best():
    analysis, found = results(lambda size: 3, noise=0.01)
    route = str(found.routes["loop_parallel N=6 3"])
    records = found.records.assign(score=found.records["score"].where(found.records["route"] != route))
    grid = grid_of(analysis, Results(records, found.routes, found.tasks, found.model, found.n_layers))
    assert grid.best[0][grid.sizes.index(5)] in (2, 4)


def test_the_page(chromium, tmp_path):
    analysis, found = results(lambda size: 2 + size // 3, items=20)
    name = next(iter(HOSTILE))
    made = report(analysis, Results(found.records, found.routes, found.tasks, name, found.n_layers))
    assert [section.name for section in made.sections] == [
        "claims",
        "figure-10",
        "figure-10-fit",
        "best",
        "grid",
        "tasks",
    ]
    assert [mark.sign for table in made.marked for mark in table.marks] == ["✓"]
    assert made.first.name == "figure-10"
    check_page(chromium, write_report(made, tmp_path, [("model", name)], "mechpaint analyze loops"))


def test_without_a_task_that_the_model_can_do_there_is_no_grid():
    analysis, found = results(lambda size: 3, items=10, chance=2.0)
    made = report(analysis, found)
    assert [section.name for section in made.sections] == ["tasks"]
    assert "not clearly better than chance" in made.summary[0]
    assert made.first is None


def test_it_runs(speaking, tmp_path):
    analysis = Loops(iterations=2, start_layers=(1, 2))
    done = run(
        RoutePlan.of(analysis, RoutedModel(speaking, "tiny"), Settings((Facts(),), limit=4)), tmp_path, "mechpaint"
    )
    kept = pd.read_parquet(done.path / "results.parquet")
    assert set(kept["route"]) == {"0-5", "0-3 3-5", "0-1 (2-4) 5", "0-1 (2-4)x2 5"}
    check_rebuilt(done.path, tmp_path / "again")
