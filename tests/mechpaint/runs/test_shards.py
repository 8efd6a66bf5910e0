"""Runs in shares, by processes that know nothing of each other: together they leave what one process does."""

from __future__ import annotations

import shutil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mechpaint.errors import RunError
from mechpaint.plugins import Registry
from mechpaint.runs.execute import remaining, run, run_shard
from mechpaint.runs.plans.experiment_plan import ExperimentPlan
from mechpaint.runs.plans.plan import Shard
from mechpaint.runs.run_folder import Finished, Unfinished, rebuild
from tests.made_up import Walks

COMMAND = "mechpaint analyze walks"


def _plan():
    return ExperimentPlan(Walks(seeds=(0, 1, 2, 3, 4)), 1)


def _written(run_folder):
    files = [path for path in run_folder.rglob("*") if path.is_file() and path.name != "env.json"]
    return {path.relative_to(run_folder).as_posix(): path.read_bytes() for path in files}


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
    out, cells = tmp_path / "shared", _cells(whole.folder)
    second = run_shard(_plan(), out, COMMAND, Shard(2, 3))
    assert isinstance(second, Unfinished)
    assert (second.computed, second.cells, second.missing) == (2, 5, 3)
    assert _cells(second.folder) == cells[1::3]
    assert not (second.folder / "report.html").exists()
    assert second.left == (
        "of the run's 5 cells 3 are still missing: other shards, or the command without --shard, compute them. When "
        f"all are there: mechpaint report {second.folder}"
    )
    third = run_shard(_plan(), out, COMMAND, Shard(3, 3))
    assert isinstance(third, Unfinished)
    assert (third.computed, third.missing) == (1, 2)
    assert remaining(_plan(), out, Shard(1, 3)) == {
        "cells": 2,
        "cells there": 0,
        "cells that other runs hold": 0,
        "cells that they hold in part": 0,
    }
    first = run_shard(_plan(), out, COMMAND, Shard(1, 3))
    assert isinstance(first, Finished)
    assert first.computed == 2
    assert _written(first.folder) == _written(whole.folder)


def test_a_shard_computes_its_damaged_cells_and_counts_those_of_others(tmp_path):
    finished = run(_plan(), tmp_path, COMMAND)
    before = _written(finished.folder)
    for path in sorted((finished.folder / "cells").iterdir())[:2]:
        path.write_bytes(b"")
    with pytest.warns(UserWarning, match=r"00-seed-0\.parquet is damaged.*; it is computed again") as told:
        first = run_shard(_plan(), tmp_path, COMMAND, Shard(1, 2))
    assert len(told) == 1
    assert isinstance(first, Unfinished)
    assert (first.computed, first.missing) == (1, 1)
    run(_plan(), tmp_path, COMMAND, warn=lambda message: None)
    assert _written(finished.folder) == before


def test_the_report_is_drawn_by_whoever_asks_where_no_shard_has(tmp_path):
    whole = run(_plan(), tmp_path / "whole", COMMAND)
    one = run_shard(_plan(), tmp_path / "shared", COMMAND, Shard(1, 2))
    cells = whole.folder / "cells"
    for name in _cells(whole.folder)[1::2]:  # as another shard does that is killed before it draws
        shutil.copy(cells / f"{name}.parquet", one.folder / "cells")
    registry = Registry()
    registry.add_analysis(Walks)
    rebuild(one.folder, registry)
    assert _written(one.folder) == _written(whole.folder)
