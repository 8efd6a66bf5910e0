"""Taking over what other runs in the folder hold: only what is new is computed, and nothing else is trusted."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import ClassVar

import pandas as pd
import pytest
import torch

import mechpaint as mp
from mechpaint.analyses.birth import Birth
from mechpaint.analyses.memories import Memories
from mechpaint.analysis import RouteAnalysis
from mechpaint.hooks import Skip
from mechpaint.report import Report, Table
from mechpaint.routes.hookset import HookSet
from mechpaint.runs import fingerprint as versions
from mechpaint.runs.cells import Cells
from mechpaint.runs.execute import run
from mechpaint.runs.plans.experiment_plan import ExperimentPlan
from mechpaint.runs.plans.model_plan import ModelPlan
from mechpaint.runs.plans.route_plan import RoutePlan, Settings
from mechpaint.runs.plans.routed_model import RoutedModel
from mechpaint.runs.reuse import ReuseStats
from mechpaint.tasks import Facts, IndirectObject, task
from tests import tiny
from tests.made_up import Gaze, Walks

KEY = ["task", "item", "route"]


@dataclass(frozen=True)
class Layers(RouteAnalysis):
    """Some layers left out, one at a time."""

    name: ClassVar[str] = "layers"
    question: ClassVar[str] = "Which layers can be left out?"
    tasks: ClassVar = ("facts",)

    left_out: tuple[int, ...] = (0, 1)

    def hook_sets(self, n_layers):
        return {f"without {layer}": Skip(layer, layer) for layer in self.left_out}

    def report(self, results):
        means = results.records.groupby("route")["score"].mean()
        rows = [(str(route), f"{score:.6f}") for route, score in means.items()]
        return Report("Layers", ["What is left."], [Table("means", "Means", "All.", ("route", "mean"), rows)])


class OtherRuns(Layers):
    name = "others"


@pytest.fixture(autouse=True)
def _small_cells(monkeypatch):
    """Of 8 items rather than 32."""
    monkeypatch.setattr(task, "_ITEMS_PER_PART", 8)


@pytest.fixture
def asked(monkeypatch):
    """What is asked of a model from here on: for each call of `records` the items' names and the routes."""
    calls = []
    for kind in (Facts, IndirectObject):
        records = kind.records

        def watched(self, model, items, tree, *others, records=records):
            calls.append((str(self), [item.name for item in items], [str(route) for route in tree.routes]))
            return records(self, model, items, tree, *others)

        monkeypatch.setattr(kind, "records", watched)
    return calls


def _run(model, out, left_out=(0, 1), limit=4, tasks=None, analysis=Layers, hooks=None):
    routed_model = RoutedModel(model, "tiny", hooks or HookSet())
    plan = RoutePlan.of(analysis(left_out), routed_model, Settings(tasks or (Facts(),), limit))
    return run(plan, out, "mechpaint analyze layers")


def _table(finished):
    return pd.read_parquet(finished.path / "results.parquet")


def _names(model, limit):
    return [item.name for item in Facts().items(model, limit)]


def _check(finished, *before, fresh):
    """All rows in order; those taken over as they were, to the last bit; all as a run of its own computes them."""
    found = _table(finished)
    pd.testing.assert_frame_equal(found, _table(fresh), check_exact=False, rtol=1e-5, atol=1e-5)
    earlier = pd.concat(map(_table, before)).drop_duplicates(KEY)
    shared = found.merge(earlier[KEY])
    pd.testing.assert_frame_equal(shared, shared[KEY].merge(earlier))
    return len(shared)


def test_more_routes_compute_just_theirs(speaking, tmp_path, asked):
    first = _run(speaking, tmp_path)
    asked.clear()
    more = _run(speaking, tmp_path, left_out=(1, 4, 0))
    assert asked == [("facts", _names(speaking, 4), ["0-3 5"])]
    assert (more.work.cells, more.work.reused) == (1, ReuseStats(0, 1, (f"layers/{first.path.name}",)))
    assert _check(more, first, fresh=_run(speaking, tmp_path / "fresh", left_out=(1, 4, 0))) == 4 * 3
    assert f"1 cells computed in {more.work.seconds:.0f} s, of 1 only what is new; reused from layers/" in str(
        more.work
    )


def test_more_items_compute_just_theirs(speaking, tmp_path, asked):
    first = _run(speaking, tmp_path, limit=9)
    asked.clear()
    more = _run(speaking, tmp_path, limit=11)
    names, routes = _names(speaking, 11), ["0-5", "1-5", "0 2-5"]
    assert asked == [("facts", names[9:], routes)]
    assert (more.work.cells, more.work.reused.cells, more.work.reused.in_part) == (1, 1, 1)
    assert _check(more, first, fresh=_run(speaking, tmp_path / "fresh", limit=11)) == 9 * 3
    asked.clear()
    fewer = _run(speaking, tmp_path, limit=5)
    assert asked == []
    assert (fewer.work.cells, fewer.work.reused.cells) == (0, 1)
    assert "1 cells reused from layers/" in str(fewer.work)


def test_more_of_both_compute_what_each_lacks(speaking, tmp_path, asked):
    """From two runs: one has more items, the other more routes."""
    items, routes = _run(speaking, tmp_path, left_out=(0,), limit=6), _run(speaking, tmp_path, (0, 1), limit=3)
    asked.clear()
    more = _run(speaking, tmp_path, left_out=(0, 1, 2), limit=8)
    names = _names(speaking, 8)
    assert asked == [
        ("facts", names[:3], ["0-1 3-5"]),
        ("facts", names[3:6], ["0 2-5", "0-1 3-5"]),
        ("facts", names[6:], ["0-5", "1-5", "0 2-5", "0-1 3-5"]),
    ]
    fresh = _run(speaking, tmp_path / "fresh", left_out=(0, 1, 2), limit=8)
    assert _check(more, items, routes, fresh=fresh) == 3 * 3 + 3 * 2
    assert len(more.work.reused.runs) == 2


def test_another_analysis_other_hooks_and_other_tasks_share_what_is_the_same(speaking, tmp_path, asked):
    _run(speaking, tmp_path)
    asked.clear()
    assert _run(speaking, tmp_path, analysis=OtherRuns).work.reused.runs[0].startswith("layers/")
    assert asked == []
    _run(speaking, tmp_path, left_out=(3,), hooks=Skip(0, 0))
    assert asked == [("facts", _names(speaking, 4), ["1-2 4-5"])]  # 1-5, its full model, was there
    asked.clear()
    _run(speaking, tmp_path, tasks=(IndirectObject(), Facts()))
    assert [call[0] for call in asked] == ["ioi"]
    asked.clear()
    _run(speaking, tmp_path, tasks=(Facts(choices=3),))
    assert [call[0] for call in asked] == ["facts"]


def test_an_item_of_other_content_is_not_taken_over(speaking, tmp_path, asked, monkeypatch):
    _run(speaking, tmp_path)
    asked.clear()
    generate = Facts.generate

    def changed(self, model, rng):
        for place, item in enumerate(generate(self, model, rng)):
            yield replace(item, prompt=item.prompt[1:]) if place == 2 else item

    monkeypatch.setattr(Facts, "generate", changed)
    _run(speaking, tmp_path)
    assert asked == [("facts", _names(speaking, 4)[2:3], ["0-5", "1-5", "0 2-5"])]


def test_other_weights_precision_or_versions_are_not_taken_over(speaking, folder, tmp_path, asked, monkeypatch):
    _run(speaking, tmp_path)
    other = mp.load(folder)
    with torch.no_grad():
        next(other.original_model.parameters())[5, 5] += 1
    for model in (other, mp.load(folder, dtype="bfloat16")):
        asked.clear()
        assert _run(model, tmp_path).work.reused == ReuseStats()
        assert len(asked) == 1
    asked.clear()
    monkeypatch.setattr(versions, "version", lambda name: "0.0" if name == "torch" else "1.0")
    assert _run(speaking, tmp_path).work.reused == ReuseStats()
    assert len(asked) == 1


def _emptied(cell):
    cell.write_bytes(b"")


def _a_byte_less(cell):
    cell.write_bytes(cell.read_bytes()[:-1])


def _not_renamed(cell):
    cell.rename(cell.with_name(f".unfinished-x{cell.suffix}"))


def _of_nothing(cell):
    (cell.parents[1] / "run.json").write_text('{"cells": 3')


def _of_before(cell):
    (cell.parents[1] / "run.json").unlink()


@pytest.mark.parametrize("harm", [_emptied, _a_byte_less, _not_renamed, _of_nothing, _of_before])
def test_what_is_not_whole_is_ignored_and_left_as_it_is(speaking, tmp_path, asked, harm):
    first = _run(speaking, tmp_path, limit=9)
    harm(first.path / "cells" / "00-00000-00008.parquet")
    before = {path: path.read_bytes() for path in first.path.rglob("*") if path.is_file()}
    asked.clear()
    _run(speaking, tmp_path, limit=10)
    whole_cells = 0 if harm in (_of_nothing, _of_before) else 1
    assert sum(len(items) for _, items, _ in asked) == 10 - whole_cells
    assert {path: path.read_bytes() for path in first.path.rglob("*") if path.is_file()} == before


def test_a_run_needs_no_other_once_it_has_taken_over(speaking, tmp_path, asked):
    first = _run(speaking, tmp_path)
    more = _run(speaking, tmp_path, left_out=(0, 1, 2))
    before = {path: path.read_bytes() for path in more.path.rglob("*") if path.is_file()}
    first.path.rename(tmp_path / "elsewhere")
    asked.clear()
    assert str(_run(speaking, tmp_path, left_out=(0, 1, 2)).work) == "all was computed before"
    assert asked == []
    assert {path: path.read_bytes() for path in more.path.rglob("*") if path.is_file()} == before


def test_stopped_while_it_takes_over_it_ends_the_same(speaking, tmp_path, monkeypatch):
    for out in (tmp_path / "a", tmp_path / "b"):
        _run(speaking, out, limit=10)
    whole = _run(speaking, tmp_path / "a", left_out=(0, 1, 5), limit=10)
    write = Cells.write

    def write_one(self, cell, records):
        if cell.startswith("00-00008"):
            raise KeyboardInterrupt
        write(self, cell, records)

    with monkeypatch.context() as interrupted:
        interrupted.setattr(Cells, "write", write_one)
        with pytest.raises(KeyboardInterrupt):
            _run(speaking, tmp_path / "b", left_out=(0, 1, 5), limit=10)
    again = _run(speaking, tmp_path / "b", left_out=(0, 1, 5), limit=10)
    assert again.work.cells == 1
    for name in ("results.parquet", "report.html", "cells/00-00008-00010.parquet"):
        assert (again.path / name).read_bytes() == (whole.path / name).read_bytes()


def test_a_task_that_gives_no_record_of_an_item_is_refused(speaking, tmp_path, monkeypatch):
    records = Facts.records
    monkeypatch.setattr(Facts, "records", lambda *a: list(records(*a))[1:])
    with pytest.raises(ValueError, match=r"the task facts gave no record of the item .* under the route"):
        _run(speaking, tmp_path)


@dataclass(frozen=True)
class Counted(Walks):
    """Which walks were computed."""

    done: ClassVar[list] = []

    def measure(self, label, advance):
        self.done.append(label)
        return super().measure(label, advance)


def test_trials_are_taken_over_where_settings_only_choose(tmp_path):
    def walk(**settings):
        Counted.done.clear()
        return run(ExperimentPlan(Counted(**settings), 2), tmp_path, "mechpaint analyze walks")

    first = walk(seeds=(0, 1))
    more = walk(seeds=(2, 1, 0))
    assert Counted.done == ["Seed 2"]
    assert (more.work.cells, more.work.reused) == (1, ReuseStats(2, 0, (f"walks/{first.path.name}",)))
    assert "1 cells computed in 0 s; 2 reused from walks/" in str(more.work)
    for old, new in (("00-seed-0", "02-seed-0"), ("01-seed-1", "01-seed-1")):
        cells = [run.path / "cells" / f"{name}.parquet" for run, name in ((first, old), (more, new))]
        assert cells[0].read_bytes() == cells[1].read_bytes()
    assert list(_table(more)["label"].unique()) == ["Seed 2", "Seed 1", "Seed 0"]
    assert walk(seeds=(0, 1), steps=6).work.reused == ReuseStats()
    assert sorted(Counted.done) == ["Seed 0", "Seed 1"]


@dataclass(frozen=True)
class Glances(Gaze):
    """Which labels were measured."""

    without: int = field(default=2, metadata={"selects_only": True})
    done: ClassVar[list] = []

    def measure(self, model, label, hook_set):
        self.done.append(label)
        return super().measure(model, label, hook_set)


def test_hook_sets_are_taken_over_where_settings_only_choose(llama, tmp_path):
    def gaze(hooks=None, model=llama, **settings):
        Glances.done.clear()
        plan = ModelPlan.of(Glances(**settings), RoutedModel(model, "tiny", hooks or HookSet()))
        return run(plan, tmp_path, "mechpaint analyze gaze")

    first = gaze()
    more = gaze(without=3)
    assert Glances.done == ["without 3"]
    assert (more.work.cells, more.work.reused) == (1, ReuseStats(1, 0, (f"gaze/{first.path.name}",)))
    found, before = (table[table["label"] == "all layers"] for table in (_table(more), _table(first)))
    pd.testing.assert_frame_equal(found, before)
    for changed in ({"rows": 3}, {"hooks": Skip(0, 0)}, {"model": tiny.bridge("gpt2")}):
        gaze(**changed)
        assert Glances.done == ["all layers", "without 2"]


def test_what_only_chooses_and_what_does_not():
    few, many = Birth(seeds=1), Birth(seeds=2)
    assert set(few.trials()) < set(many.trials())
    assert all(few.settings_of(label) == many.settings_of(label) for label in few.trials())
    assert few.settings_of("any") != Birth(seeds=1, steps=200).settings_of("any")
    one, two = (
        Memories(dims=dims, lengths=(64,), step_dims=(16,), seeds=seeds) for dims, seeds in (((64,), 1), ((24, 64), 2))
    )
    assert set(one.trials()) < set(two.trials())
    of_all = {label for label in one.trials() if one.settings_of(label) != two.settings_of(label)}
    assert of_all == {label for label in one.trials() if label.startswith("first step")}
