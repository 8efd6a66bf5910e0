"""Runs compared: paired differences against plain bootstraps, what is not in common, and the page."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
import pandas as pd
import pytest
import torch

import mechpaint as mp
from mechpaint.errors import IncompleteRun, RunError
from mechpaint.hooks import Skip
from mechpaint.plugins import Registry
from mechpaint.report import Table
from mechpaint.routes.route import Route
from mechpaint.runs.compare import compare_runs
from mechpaint.runs.compare.differences import Scored, differences
from mechpaint.runs.execute import run
from mechpaint.runs.plans.experiment_plan import ExperimentPlan
from mechpaint.runs.plans.model_plan import ModelPlan
from mechpaint.runs.plans.route_plan import RoutePlan, Settings
from mechpaint.runs.plans.routed_model import RoutedModel
from mechpaint.runs.run import Run, runs_in
from mechpaint.statistics.metrics import Spearman
from mechpaint.statistics.results import Results, TaskFacts
from mechpaint.tasks import Facts, IndirectObject
from tests.made_up import Gaze, Walks
from tests.mechpaint.runs.surviving import Lesions
from tests.seen import check_page


@dataclass(frozen=True)
class Layers(Lesions):
    """Some layers left out; several runs have a table of their own."""

    name: ClassVar[str] = "layers"
    left_out: tuple[int, ...] = (0, 1)

    def hook_sets(self, n_layers):
        return {f"without {layer}": Skip(layer, layer) for layer in self.left_out}

    def beside(self, results):
        rows = [(one.model, str(len(one.records)), str(len(one.routes))) for one in results]
        return [Table("rows", "Rows", f"{self.left_out}.", ("model", "rows", "routes"), rows)]


@dataclass(frozen=True)
class Glances(Gaze):
    """The same of a `ModelAnalysis`."""

    without: int = field(default=2, metadata={"selects_only": True})

    def beside(self, tables):
        return [Table("rows", "Rows", "All.", ("model", "rows"), [(f.name, str(len(t))) for t, f in tables])]


@pytest.fixture(scope="module")
def registry():
    made = Registry()
    for analysis in (Layers, Lesions, Glances, Walks):
        made.add_analysis(analysis)
    return made


@pytest.fixture(scope="module")
def other(folder):
    """A model that differs from `speaking` in a layer."""
    model = mp.load(folder)
    with torch.no_grad():
        model.original_model.model.layers[4].mlp.down_proj.weight.mul_(-6)
    return model


def _run(model, out, analysis, limit=40, tasks=(), name="tiny"):
    plan = RoutePlan.of(analysis, RoutedModel(model, name), Settings(tasks or (Facts(),), limit))
    return run(plan, out, f"mechpaint analyze {analysis.name} --limit {limit}")


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module")
def first(speaking, out):
    return _run(speaking, out, Layers((0, 1, 2)), tasks=(Facts(), IndirectObject()))


@pytest.fixture(scope="module")
def second(other, out):
    return _run(other, out, Layers((5, 2, 0)), limit=33, name="tinier")


def compare(folders, out, registry, command=""):
    return compare_runs([Run.open(folder, registry) for folder in folders], out, command)


@pytest.fixture(scope="module")
def compared(first, second, out, registry):
    return compare([first.path, second.path], out, registry, "mechpaint compare a b")


def _section(compared, name):
    return next(section for section in compared.report.sections if section.name == name)


def _scores(finished, route, names=None):
    table = pd.read_parquet(finished.path / "results.parquet")
    found = table[(table["task"] == "facts") & (table["route"] == route)].set_index("item")["score"]
    return found if names is None else found[names]


def _numbers(difference):
    """Of `0.1 [0.0, 0.2]`."""
    return np.array([float(text.strip("[],")) for text in str(difference).split()])


def test_differences_are_paired_by_item(compared, first, second):
    table = _section(compared, "differences")
    assert table.columns == ("task", "hook set", "tiny", "tinier", "difference", "clear", "items")
    routes = {"baseline": "0-5", "without 0": "1-5", "without 2": "0-1 3-5"}
    assert {row[:2] for row in table.rows} == {("facts", label) for label in routes}
    rng = np.random.default_rng(7)
    for _, label, one, two, change, clear, items in table.rows:
        theirs = _scores(second, routes[label])
        pairs = (theirs - _scores(first, routes[label], theirs.index)).to_numpy()
        low, high = np.percentile(rng.choice(pairs, (4000, len(pairs))).mean(axis=1), (2.5, 97.5))
        found = _numbers(change)
        assert found == pytest.approx([pairs.mean(), low, high], abs=0.032)  # items are 1/33
        assert found[0] == pytest.approx(float(two) - float(one), abs=0.0015)
        assert clear == ("yes" if found[1] > 0 or found[2] < 0 else "no")
        assert items == "33"
    sizes = [abs(_numbers(row[4])[0]) for row in table.rows]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] > 0


def test_what_differs_and_what_is_not_in_common_is_named_and_counted(compared, first, second):
    settings = {row[0]: row[1:] for row in _section(compared, "settings").rows}
    assert settings["limit"] == ("40", "33")
    assert settings["left_out"] == ("[0, 1, 2]", "[5, 2, 0]")
    assert {"model", "tasks 2 task"} <= settings.keys()
    assert not {"dtype", "seed", "versions torch", "fingerprint"} & settings.keys()
    apart = {row[:2]: row[2:] for row in _section(compared, "not-in-common").rows}
    assert apart["hook sets", "tiny"] == ("1", "without 1")
    assert apart["hook sets", "tinier"] == ("1", "without 5")
    assert apart["tasks", "tiny"] == ("1", "ioi")
    left = [item for item in _scores(first, "0-5").index if item not in _scores(second, "0-5").index]
    assert apart["items of facts", "tiny"][0] == str(len(left)) == "7"
    assert set(apart["items of facts", "tiny"][1].split(", ")) == set(left)
    assert ("items of facts", "tinier") not in apart
    (said,) = compared.report.summary
    assert said.startswith("tinier against tiny, 1 task under 3 hook sets: of 3 differences ")
    assert compared.report.warnings == []


def test_the_analysis_has_its_say(compared):
    assert _section(compared, "rows").rows == [("tiny", str(40 * 2 * 4), "4"), ("tinier", str(33 * 4), "4")]


def test_the_page_reads_well(chromium, compared, out):
    assert compared.page == out / "compare" / compared.path.name / "report.html"
    for name in ("report.md", "figures/largest-differences.svg", "tables/differences.csv", "tables/settings.csv"):
        assert (compared.path / name).stat().st_size > 50
    assert "mechpaint compare a b" in compared.page.read_text()
    check_page(chromium, compared.page)
    assert [found.manifest.analysis for found in runs_in(out, registry)] == ["layers", "layers"]


def test_runs_are_left_as_they_are(first, second, out, registry):
    folders = (first.path, second.path)
    before = {path: path.read_bytes() for each in folders for path in each.rglob("*") if path.is_file()}
    again = compare(folders, out, registry)
    assert {path: path.read_bytes() for each in folders for path in each.rglob("*") if path.is_file()} == before
    assert "mechpaint.compare([" in again.page.read_text()
    assert compare(folders[::-1], out, registry).path != again.path


def test_items_of_other_content_are_not_paired(speaking, first, out, registry):
    """As with another tokenizer: the same names, other tokens."""
    fewer = _run(speaking, out, Layers((0,)), limit=30, tasks=(Facts(choices=3),))
    found = compare([first.path, fewer.path], out, registry)
    names = [f"tiny ({each.path.name[:8]})" for each in (first, fewer)]
    table = _section(found, "differences")
    assert table.columns[2:4] == tuple(names)
    assert {row[-1] for row in table.rows} == {"40 and 30, not paired"}
    one, two = (_scores(each, "0-5").to_numpy() for each in (first, fewer))
    rng = np.random.default_rng(7)
    draws = rng.choice(two, (4000, 30)).mean(axis=1) - rng.choice(one, (4000, 40)).mean(axis=1)
    expected = [two.mean() - one.mean(), *np.percentile(draws, (2.5, 97.5))]
    (change,) = (row[4] for row in table.rows if row[1] == "baseline")
    assert _numbers(change) == pytest.approx(expected, abs=0.05)
    (warning,) = found.report.warnings
    assert warning.startswith(f"{names[1]} and {names[0]} were not asked the same items of facts")
    assert not [row for row in _section(found, "not-in-common").rows if row[0].startswith("items")]


def test_several_runs_and_other_analyses_are_compared_with_the_first(speaking, first, second, out, registry):
    third = _run(speaking, out, Lesions(), limit=5)
    found = compare([first.path, second.path, third.path], out, registry)
    assert len(found.report.summary) == 2
    table = _section(found, "differences")
    assert table.columns[0] == "run"
    own = [row for row in table.rows if row[0] == f"tiny ({third.path.name[:8]})"]
    assert {row[2] for row in own} == {"baseline", "without 0", "without 1", "without 2"}
    assert {str(row[5]) for row in own} == {"0.000 [0.000, 0.000]"}  # the same model
    assert "rows" not in [section.name for section in found.report.sections]
    assert found.report.title == "layers and lesions compared: 3 runs"


def test_a_task_s_own_metric_is_resampled():
    rng = np.random.default_rng(0)
    names, given = [str(i) for i in range(60)], rng.normal(size=60)
    runs = []
    for noise in (2.0, 0.1):
        scores = given + noise * rng.normal(size=60)
        rows = [{"task": "sts", "item": n, "route": "0-1", "score": s} for n, s in zip(names, scores, strict=True)]
        metric = Spearman(dict(zip(names, given.tolist(), strict=True)))
        facts = (TaskFacts("sts", "rho", 0.0, 60, metric),)
        results = Results(pd.DataFrame(rows), {"baseline": Route.identity(2)}, facts, "m", 2)
        runs.append(Scored(results, {"sts": dict.fromkeys(names, "same")}))
    (found,) = differences(*runs)
    expected = [pd.Series(run.results.records["score"]).corr(pd.Series(given), method="spearman") for run in runs]
    assert [found.first, found.other] == pytest.approx(expected)
    assert found.change.value == pytest.approx(expected[1] - expected[0])
    assert found.clear
    assert found.paired


def test_scores_that_are_no_numbers_are_no_differences():
    frames = [
        pd.DataFrame({"task": "t", "item": ["a", "b"], "route": "0-1", "score": [1.0, last]})
        for last in (0.0, float("nan"))
    ]
    facts = (TaskFacts("t", "accuracy", 0.0, 2),)
    runs = [
        Scored(Results(frame, {"baseline": Route.identity(2)}, facts, "m", 2), {"t": {"a": "x", "b": "y"}})
        for frame in frames
    ]
    (found,) = differences(*runs)
    assert np.isnan(found.change.value)
    assert not found.clear
    assert found.size < 0


def test_other_kinds_are_compared_row_by_row_without_intervals(llama, tmp_path, registry):
    one = run(ExperimentPlan(Walks(seeds=(0, 1)), 1), tmp_path, "mechpaint analyze walks")
    two = run(ExperimentPlan(Walks(seeds=(1, 2), scale=0.25), 1), tmp_path, "mechpaint analyze walks")
    found = compare([one.path, two.path], tmp_path, registry)
    table = _section(found, "differences-1")
    tables = [pd.read_parquet(each.path / "results.parquet") for each in (one, two)]
    ends = [t[t["label"] == "Seed 1"].set_index("step")["where"] for t in tables]
    assert len(table.rows) == 5
    for where, column, before, after, change in table.rows:
        step = int(where.split(", ")[2])
        assert (column, where.split(", ")[0]) == ("where", "Seed 1")
        assert [float(before), float(after)] == pytest.approx([end[step] for end in ends], rel=1e-3)
        assert float(change) == pytest.approx(ends[1][step] - ends[0][step], rel=1e-3)
    assert "5 values in common, 0 of them equal. Differences have no intervals" in found.report.summary[0]
    assert [row[2:] for row in _section(found, "not-in-common").rows] == [("1", "Seed 0"), ("1", "Seed 2")]
    looks = [
        run(ModelPlan.of(Glances(without=layer), RoutedModel(llama, "tiny")), tmp_path, "mechpaint analyze gaze")
        for layer in (2, 3)
    ]
    found = compare([look.path for look in looks], tmp_path, registry)
    names = [f"tiny ({look.path.name[:8]})" for look in looks]
    assert _section(found, "rows").rows == [(name, "44") for name in names]
    assert not found.report.summary  # the analysis has sections of its own: records are not compared row by row
    assert not [section for section in found.report.sections if section.name.startswith("differences")]


def test_what_cannot_be_compared_is_refused(first, tmp_path, registry):
    walks = [run(ExperimentPlan(Walks(seeds=(s,)), 1), tmp_path, "mechpaint analyze walks") for s in (0, 1)]
    for runs, words in (
        ([], "expected two runs or more, each once, got: none"),
        ([first.path], "expected two runs or more, each once, got: layers/"),
        ([first.path, first.path / ".." / first.path.name], "each once"),
        ([first.path, walks[0].path], "different analyses, unless all of them score routes on tasks; got layers/"),
        ([each.path for each in walks], "nothing to compare: walks/.* have no rows of numbers under the same labels"),
    ):
        with pytest.raises(RunError, match=words):
            compare(runs, tmp_path, registry)
    next((walks[1].path / "cells").iterdir()).write_bytes(b"")
    with pytest.raises(IncompleteRun, match="1 damaged"):
        compare([each.path for each in walks], tmp_path, registry)
    assert not (tmp_path / "compare").exists()


def test_the_command(mechpaint, first, second, out, tmp_path):
    plugin = tmp_path / "mine.py"
    plugin.write_text(
        "from tests.mechpaint.runs.test_compare import Layers\n\n"
        "def register(registry):\n    registry.add_analysis(Layers)\n"
    )
    runs = [f"layers/{first.path.name[:9]}", second.path]
    done = mechpaint("compare", *runs, "--out", out, "--plugin", plugin)
    assert (done.returncode, done.stderr) == (0, "")
    assert "tinier against tiny" in done.stdout
    assert "without 2" in done.stdout
    told = json.loads(mechpaint("compare", *runs, "--out", out, "--plugin", plugin, "--json").stdout)
    assert len(told["differences"]) == 3
    assert told["comparison"] == str(out / "compare" / told["comparison"].rsplit("/", 1)[1])
    refused = mechpaint("compare", second.path, "--plugin", plugin)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "expected two runs or more" in refused.stderr
