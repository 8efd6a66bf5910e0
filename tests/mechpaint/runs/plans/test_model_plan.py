"""Hook sets, each measured on a model: a cell a hook set."""

from __future__ import annotations

import re
from contextlib import nullcontext
from dataclasses import dataclass
from typing import ClassVar

import pandas as pd
import pyarrow as pa
import pytest
import torch

from mechpaint.errors import HookSetError, RouteError
from mechpaint.hooks import Hooks, ReadAttention, Reverse, Skip
from mechpaint.routes.hookset import HookSet
from mechpaint.routes.route import Route
from mechpaint.runs.cells import write_checked
from mechpaint.runs.execute import run
from mechpaint.runs.plans.model_plan import ModelPlan
from mechpaint.runs.plans.routed_model import RoutedModel
from tests import tiny
from tests.made_up import Gaze


def _plan(model, analysis=None, **routed_model):
    return ModelPlan.of(analysis or Gaze(), RoutedModel(model, "tiny", **routed_model))


def _run(model, out, analysis=None, **routed_model):
    return run(_plan(model, analysis, **routed_model), out, "mechpaint analyze gaze")


def _table(finished):
    return pd.read_parquet(finished.path / "results.parquet")


@pytest.fixture(scope="module")
def finished(llama, tmp_path_factory):
    return _run(llama, tmp_path_factory.mktemp("runs"))


def test_records_are_what_the_model_itself_shows(finished):
    """Compared with the attention that Hugging Face returns."""
    table = _table(finished)
    assert list(table.columns) == ["label", "layer", "head", "itself", "much"]
    plain = table[table["label"] == "all layers"].set_index(["layer", "head"])["itself"]
    with torch.no_grad():
        shown = tiny.module("llama")(tiny.tokens(), output_attentions=True).attentions
    assert len(plain) == sum(a.shape[1] for a in shown) == 24
    for layer, patterns in enumerate(shown):
        for head, pattern in enumerate(patterns.unbind(1)):
            assert plain[layer, head] == pytest.approx(pattern.diagonal(dim1=1, dim2=2).mean().item(), abs=1e-6)
    assert set(table[table["label"] == "without 2"]["layer"]) == {0, 1, 3, 4, 5}
    assert (table["much"] == (table["itself"] > 0.5)).all()


def test_a_run_leaves_a_cell_a_hook_set_and_its_routes(finished):
    assert finished.work.cells == 2
    assert sorted(p.name for p in (finished.path / "cells").iterdir()) == [
        "00-all-layers.parquet",
        "01-without-2.parquet",
    ]
    assert finished.manifest.routes == {"all layers": "0-5", "without 2": "0-1 3-5"}
    config = finished.manifest.config
    assert (config["analysis"], config["rows"], config["without"], config["hooks"]) == ("gaze", 2, 2, "")
    page = finished.page.read_text()
    assert "Gaze of tiny, 6 layers" in page
    assert finished.path.name in page


@pytest.mark.parametrize("damage", ["missing", "truncated", "empty", "nonsense", "flipped", "other columns"])
def test_a_missing_or_damaged_cell_is_computed_again(llama, finished, damage):
    before = _table(finished)
    cell = finished.path / "cells" / "01-without-2.parquet"
    whole = cell.read_bytes()
    if damage == "missing":
        cell.unlink()
    elif damage == "other columns":
        renamed = pd.read_parquet(cell).rename(columns={"much": "little"})
        cell.write_bytes(write_checked(pa.Table.from_pandas(renamed, preserve_index=False)))
    else:
        flipped = bytes([*whole[:40], whole[40] ^ 255, *whole[41:]])  # in the data; the rest of the file is whole
        cell.write_bytes(
            {"truncated": whole[:-100], "empty": b"", "nonsense": b"PAR1" * 99, "flipped": flipped}[damage]
        )
    named = pytest.warns(UserWarning, match=rf"the cell {re.escape(str(cell))} .*; it is computed again")
    with nullcontext() if damage == "missing" else named:
        again = _run(llama, finished.path.parents[1])
    assert again.work.cells == 1
    assert cell.read_bytes() == whole
    pd.testing.assert_frame_equal(_table(again), before)


def test_an_interrupted_run_goes_on_where_it_stopped(llama, finished, tmp_path, monkeypatch):
    measure = Gaze.measure

    def stop_at_the_second(self, model, label, hook_set):
        if label == "without 2":
            raise KeyboardInterrupt
        yield from measure(self, model, label, hook_set)

    monkeypatch.setattr(Gaze, "measure", stop_at_the_second)
    with pytest.raises(KeyboardInterrupt):
        _run(llama, tmp_path)
    monkeypatch.undo()
    again = _run(llama, tmp_path)
    assert again.work.cells == 1
    pd.testing.assert_frame_equal(_table(again), _table(finished))


def test_another_model_setting_or_hook_set_is_another_run(llama, speaking, finished):
    def fingerprint(plan):
        return plan.stored_cells(finished.path.parents[1]).path.name

    assert fingerprint(_plan(llama)) == finished.path.name
    others = [_plan(llama, Gaze(rows=3)), _plan(llama, hooks=Skip(0, 0)), _plan(speaking)]
    assert len({finished.path.name, *map(fingerprint, others)}) == 4


def test_hooks_follow_each_of_the_analysis_s_own(llama, tmp_path):
    finished = _run(llama, tmp_path, hooks=Reverse(3, 5))
    routes = {"all layers": "0-2 5-3", "without 2": "0-1 5-3"}
    assert finished.manifest.routes == routes
    assert list(_table(finished)[lambda t: t["label"] == "all layers"]["layer"].unique()) == [0, 1, 2, 5, 4, 3]


@dataclass(frozen=True)
class _One(Gaze):
    """A single hook set, and records as the test says."""

    name: ClassVar[str] = "one"
    hook_set: ClassVar = HookSet()
    records: ClassVar = [{"layer": 1, "head": 2, "itself": 0.5, "much": True}]

    def hook_sets(self, n_layers):
        return {"It's a «label»/..": type(self).hook_set}

    def measure(self, model, label, hook_set):
        return type(self).records


@pytest.mark.parametrize(
    ("hook_set", "routed_model", "error", "words"),
    [
        (Skip(0, 9), {}, RouteError, "layers 0 to 5"),
        (Skip(1, 1) + ReadAttention([1]), {}, HookSetError, "layer 1 never runs"),
        (ReadAttention([7]), {}, RouteError, "layers 0 to 5"),
        (ReadAttention([1]), {"hooks": Skip(1, 1)}, HookSetError, "layer 1 never runs"),
        (HookSet(), {"hooks": ReadAttention()}, HookSetError, "also reads or hooks"),
        (HookSet(), {"hooks": Hooks([("hook_embed", print)])}, HookSetError, "also reads or hooks"),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_is_written(
    llama, tmp_path, monkeypatch, hook_set, routed_model, error, words
):
    monkeypatch.setattr(_One, "hook_set", hook_set)
    with pytest.raises(error, match=words):
        _run(llama, tmp_path / "runs", _One(), **routed_model)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("records", "words"),
    [
        (
            [{"layer": 1, "head": 2, "itself": 0.5}],
            "expected records with the columns label, layer, head, itself, much",
        ),
        ([{**_One.records[0], "more": 1}], "'more': 1"),
        ([{**_One.records[0], "itself": None}], "'itself' has None"),
        ([{**_One.records[0], "layer": 1.5}], "'layer' is of int64, and has numbers in it that are not whole"),
        ([{**_One.records[0], "layer": "one"}], "'layer' is of int64: Could not convert 'one'"),
        ([{**_One.records[0], "much": 1}], "'much' is of bool"),
    ],
)
def test_records_that_are_not_as_announced_are_refused(llama, tmp_path, monkeypatch, records, words):
    monkeypatch.setattr(_One, "records", records)
    with pytest.raises(ValueError, match=words):
        _run(llama, tmp_path, _One())
    assert not list(tmp_path.rglob("cells/*"))


def test_any_label_has_a_file_and_a_cell_may_be_without_records(llama, tmp_path, monkeypatch):
    monkeypatch.setattr(_One, "records", [])
    finished = _run(llama, tmp_path, _One())
    assert [p.name for p in (finished.path / "cells").iterdir()] == ["00-it-s-a-label.parquet"]
    assert _run(llama, tmp_path, _One()).work.cells == 0


@pytest.mark.parametrize("columns", [{"label": str}, {"matrix": list}])
def test_columns_that_no_table_has_are_refused(llama, tmp_path, monkeypatch, columns):
    monkeypatch.setattr(_One, "columns", columns)
    with pytest.raises(ValueError, match=f"the column '{next(iter(columns))}' cannot be in the table"):
        _run(llama, tmp_path / "runs", _One())
    assert not list(tmp_path.iterdir())


def test_a_forecast_says_what_is_run(llama):
    assert _plan(llama).forecast() == {
        "cells": 2,
        "routes": {"all layers": "0-5", "without 2": "0-1 3-5"},
        "layer calls a forward pass of each": 11,
    }
    assert _plan(llama).facts.routes["without 2"] == Route.parse("0-1 3-5", 6)
