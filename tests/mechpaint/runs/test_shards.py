"""Runs in shares, by processes that know nothing of each other: together they leave what one process does."""

from __future__ import annotations

import shutil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mechpaint.errors import RunError
from mechpaint.plugins import Registry
from mechpaint.runs.execute import remaining, run
from mechpaint.runs.plans.experiment_plan import ExperimentPlan
from mechpaint.runs.plans.plan import Shard
from mechpaint.runs.run import Run
from tests.made_up import Walks
from tests.written import written

COMMAND = "mechpaint analyze walks"


def _plan():
    return ExperimentPlan(Walks(seeds=(0, 1, 2, 3, 4)), 1)


def _cells(run_folder):
    return sorted(path.stem for path in (run_folder / "cells").iterdir())


@given(st.integers(0, 60), st.integers(1, 12))
def test_shards_share_cells_out_evenly_and_have_none_in_common(cells, n):
    shares = [Shard(i, n).of(range(cells)) for i in range(1, n + 1)]
    assert sorted(cell for share in shares for cell in share) == list(range(cells))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


@given(st.integers(1, 500), st.integers(0, 500))
def test_shards_are_read_as_they_are_written(i, more):
    shard = Shard(i, i + more)
    assert Shard.parse(str(shard)) == shard == Shard.parse(f" {i} / {i + more} ")


@pytest.mark.parametrize("text", ["", "2", "2/", "/8", "2/8/1", "a/b", "-1/8", "1.0/2", "２/8x"])
def test_what_is_no_shard_is_said(text):
    with pytest.raises(RunError, match=r"cannot read the shard .*; expected I/N, such as 2/8 for the second of eight"):
        Shard.parse(text)


@pytest.mark.parametrize("text", ["0/8", "9/8", "1/0", "0/0"])
def test_a_shard_beyond_the_others_is_refused(text):
    with pytest.raises(RunError, match=f"there is no shard {text}; expected I/N with I from 1 to N"):
        Shard.parse(text)


def test_shards_one_after_the_other_leave_what_one_process_leaves(tmp_path):
    whole = run(_plan(), tmp_path / "whole", COMMAND)
    out, cells = tmp_path / "shared", _cells(whole.path)
    second = run(_plan(), out, COMMAND, shard=Shard(2, 3))
    assert (second.state, second.work.cells) == ("unfinished", 2)
    assert (len(second.manifest.cells), len(second.missing)) == (5, 3)
    assert _cells(second.path) == cells[1::3]
    assert not (second.path / "report.html").exists()
    assert second.left == (
        "of the run's 5 cells 3 are still missing: other shards, or the command without --shard, compute them. When "
        f"all are there: mechpaint report {second.path}"
    )
    third = run(_plan(), out, COMMAND, shard=Shard(3, 3))
    assert (third.state, third.work.cells, len(third.missing)) == ("unfinished", 1, 2)
    counts, left = remaining(_plan(), out, Shard(1, 3))
    assert counts == {
        "cells": 2,
        "cells there": 0,
        "cells that other runs hold": 0,
        "cells that they hold in part": 0,
    }
    assert list(left) == [cell.name for cell in _plan().cells()[::3]]
    first = run(_plan(), out, COMMAND, shard=Shard(1, 3))
    assert (first.state, first.work.cells) == ("finished", 2)
    assert written(first.path) == written(whole.path)


def test_a_shard_computes_its_damaged_cells_and_counts_those_of_others(tmp_path):
    finished = run(_plan(), tmp_path, COMMAND)
    before = written(finished.path)
    for path in sorted((finished.path / "cells").iterdir())[:2]:
        path.write_bytes(b"")
    with pytest.warns(UserWarning, match=r"00-seed-0\.parquet is damaged.*; it is computed again") as told:
        first = run(_plan(), tmp_path, COMMAND, shard=Shard(1, 2))
    assert len(told) == 1
    assert (first.state, first.work.cells, len(first.missing)) == ("damaged", 1, 1)
    run(_plan(), tmp_path, COMMAND, warn=lambda message: None)
    assert written(finished.path) == before


def test_the_report_is_drawn_by_whoever_asks_where_no_shard_has(tmp_path):
    whole = run(_plan(), tmp_path / "whole", COMMAND)
    one = run(_plan(), tmp_path / "shared", COMMAND, shard=Shard(1, 2))
    cells = whole.path / "cells"
    for name in _cells(whole.path)[1::2]:  # as another shard does that is killed before it draws
        shutil.copy(cells / f"{name}.parquet", one.path / "cells")
    registry = Registry()
    registry.add_analysis(Walks)
    Run.open(one.path, registry).draw()
    assert written(one.path) == written(whole.path)
