"""Which runs there are, as files tell."""

from __future__ import annotations

import json
import os
from datetime import datetime

import pytest

from mechpaint.errors import RunError
from mechpaint.runs.execute import run
from mechpaint.runs.plans.experiment_plan import ExperimentPlan
from mechpaint.runs.run_folder import RunFolder, kept_runs
from tests.made_up import Walks

COMMAND = "mechpaint analyze walks"


@pytest.fixture
def finished(tmp_path):
    return run(ExperimentPlan(Walks(seeds=(0, 1)), 1), tmp_path, COMMAND)


def _only(out):
    (found,) = kept_runs(out)
    return found


def test_a_finished_run(finished, tmp_path):
    os.utime(finished.folder / "config.yaml", (1_700_000_000,) * 2)
    found = _only(tmp_path)
    assert (found.folder, found.analysis, found.model, found.command) == (finished.folder, "walks", None, COMMAND)
    assert found.when == datetime.fromisoformat("2023-11-14T22:13:20+00:00")
    assert found.cells == found.whole == ("00-seed-0", "01-seed-1")
    assert (found.damaged, found.state) == ((), "finished")


def test_a_run_that_was_stopped_and_one_that_has_only_begun(tmp_path, monkeypatch):
    write = RunFolder.write

    def write_one(self, cell, records):
        if cell.startswith("01-"):
            raise KeyboardInterrupt
        write(self, cell, records)

    monkeypatch.setattr(RunFolder, "write", write_one)
    with pytest.raises(KeyboardInterrupt):
        run(ExperimentPlan(Walks(), 1), tmp_path, COMMAND)
    found = _only(tmp_path)
    assert (len(found.cells), found.whole, found.damaged, found.state) == (4, ("00-seed-0",), (), "unfinished")
    (found.folder / "cells" / "00-seed-0.parquet").unlink()
    (found.folder / "cells").rmdir()
    assert (_only(tmp_path).whole, _only(tmp_path).state) == ((), "unfinished")


def test_a_run_without_its_report_is_not_finished(finished, tmp_path):
    finished.page.unlink()
    assert _only(tmp_path).state == "unfinished"


def test_damaged_cells_are_named_and_what_is_no_cell_of_it_does_not_count(finished, tmp_path):
    cells = finished.folder / "cells"
    (cells / "00-seed-0.parquet").write_bytes(b"PAR1")
    (cells / "07-other.parquet").write_bytes(b"PAR1")
    (cells / ".unfinished-x.parquet").write_bytes(b"PAR1")
    found = _only(tmp_path)
    assert (found.whole, found.damaged, found.state) == (("01-seed-1",), ("00-seed-0",), "damaged")


@pytest.mark.parametrize("plan", [None, "", "[1]", "{}", '{"model": null', '{"model": "", "command": "", "cells": 2}'])
def test_a_run_of_before_and_one_whose_plan_cannot_be_read(finished, tmp_path, plan):
    (finished.folder / "plan.json").unlink()
    if plan is not None:
        (finished.folder / "plan.json").write_text(plan)
    found = _only(tmp_path)
    assert (found.analysis, found.model, found.command, found.cells) == ("walks", None, None, None)
    assert (len(found.whole), found.state) == (2, "unknown")


def test_runs_are_in_order_and_what_is_no_run_is_left_out(tmp_path):
    for place, (name, time) in enumerate([("b/1", 20), ("b/2", 10), ("a/3", 30), ("c/4", 0)]):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "plan.json").write_text(json.dumps({"model": str(place), "command": "", "cells": []}))
        if time:
            (tmp_path / name / "config.yaml").write_text("")
            os.utime(tmp_path / name / "config.yaml", (time, time))
    assert [found.model for found in kept_runs(tmp_path)] == ["2", "1", "0"]


def test_a_folder_that_is_not_there_is_said(tmp_path):
    with pytest.raises(RunError, match=r"there is no folder '.*none'; expected the folder of all runs"):
        kept_runs(tmp_path / "none")
