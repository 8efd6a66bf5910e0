"""Which runs there are, as files tell."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from datetime import datetime

import pytest

from mechpaint.errors import RunError
from mechpaint.plugins import built_in
from mechpaint.runs.cells import Cells
from mechpaint.runs.execute import run
from mechpaint.runs.plans.experiment_plan import ExperimentPlan
from mechpaint.runs.run import Run, earlier_runs_in, runs_in
from tests.made_up import Walks

COMMAND = "mechpaint analyze walks"


@pytest.fixture
def finished(tmp_path):
    return run(ExperimentPlan(Walks(seeds=(0, 1)), 1), tmp_path, COMMAND)


def _only(out):
    (only,) = runs_in(out, built_in())
    return only


def test_a_finished_run(finished, tmp_path):
    os.utime(finished.path / "run.json", (1_700_000_000,) * 2)
    found = _only(tmp_path)
    told = found.manifest
    assert (found.path, told.analysis, told.model, told.command) == (finished.path, "walks", None, COMMAND)
    assert found.when == datetime.fromisoformat("2023-11-14T22:13:20+00:00")
    assert tuple(told.cells) == found.whole == ("00-seed-0", "01-seed-1")
    assert (found.damaged, found.state) == ((), "finished")


def test_a_run_that_was_stopped_and_one_that_has_only_begun(tmp_path, monkeypatch):
    write = Cells.write

    def write_one(self, cell, records):
        if cell.startswith("01-"):
            raise KeyboardInterrupt
        write(self, cell, records)

    monkeypatch.setattr(Cells, "write", write_one)
    with pytest.raises(KeyboardInterrupt):
        run(ExperimentPlan(Walks(), 1), tmp_path, COMMAND)
    found = _only(tmp_path)
    assert (len(found.manifest.cells), found.whole, found.damaged, found.state) == (4, ("00-seed-0",), (), "unfinished")
    (found.path / "cells" / "00-seed-0.parquet").unlink()
    (found.path / "cells").rmdir()
    assert (_only(tmp_path).whole, _only(tmp_path).state) == ((), "unfinished")


def test_a_run_without_its_report_is_not_finished(finished, tmp_path):
    finished.page.unlink()
    assert _only(tmp_path).state == "unfinished"


def test_damaged_cells_are_named_and_what_is_no_cell_of_it_does_not_count(finished, tmp_path):
    cells = finished.path / "cells"
    (cells / "00-seed-0.parquet").write_bytes(b"PAR1")
    (cells / "07-other.parquet").write_bytes(b"PAR1")
    (cells / ".unfinished-x.parquet").write_bytes(b"PAR1")
    found = _only(tmp_path)
    assert (found.whole, found.damaged, found.state) == (("01-seed-1",), ("00-seed-0",), "damaged")


@pytest.mark.parametrize("command", ["mechpaint analyze walks", None])
def test_runs_of_before_are_refused_by_name_with_what_to_do(tmp_path, command):
    folder = tmp_path / "walks" / "12ab"
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text("")
    if command is not None:
        (folder / "plan.json").write_text(json.dumps({"model": None, "command": command, "cells": []}))
    assert runs_in(tmp_path, built_in()) == []
    assert earlier_runs_in(tmp_path) == [folder]
    with pytest.raises(RunError, match=f"12ab is a run of an earlier mechpaint.*: {command or 'its command'}$"):
        Run.open(folder, built_in())


@pytest.mark.parametrize(
    ("text", "words"),
    [("", "cannot read"), ("[1]", "another mechpaint"), ("{}", "another"), ('{"format": 1}', "cannot")],
)
def test_a_damaged_manifest_is_named(finished, text, words):
    (finished.path / "run.json").write_text(text)
    with pytest.raises(RunError, match=words):
        Run.open(finished.path, built_in())


def test_runs_are_in_order_and_what_is_no_run_is_left_out(finished, tmp_path):
    for place, (name, time) in enumerate([("b/1", 20), ("b/2", 10), ("a/3", 30), ("c/4", 0)]):
        (tmp_path / "more" / name).mkdir(parents=True)
        if time:
            told = replace(finished.manifest, model=str(place), analysis=name[0])
            told.write(tmp_path / "more" / name)
            os.utime(tmp_path / "more" / name / "run.json", (time, time))
    assert [run.manifest.model for run in runs_in(tmp_path / "more", built_in())] == ["2", "1", "0"]


def test_a_folder_that_is_not_there_is_said(tmp_path):
    with pytest.raises(RunError, match=r"there is no folder '.*none'; expected the folder of all runs"):
        runs_in(tmp_path / "none", built_in())
