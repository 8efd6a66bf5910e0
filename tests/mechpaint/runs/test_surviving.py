"""Runs that are killed, run out of space, or are not alone: in the end the table is the same, byte by byte."""

from __future__ import annotations

import errno
import os
import random
import resource
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import ClassVar

import pytest
import torch

from mechpaint.analysis import Experiment
from mechpaint.errors import CannotWrite
from mechpaint.report import Report
from mechpaint.runs.execute import run
from mechpaint.runs.executors import CellRunner
from mechpaint.runs.plans.experiment_plan import ExperimentPlan
from mechpaint.runs.plans.plan import Shard
from tests.mechpaint.runs.surviving import PROCESSES, DieWriting, lesions, planned, started
from tests.written import written

LIMIT = 40
CELLS = 4
FILES_BEFORE = 1
MOMENTS_OF_A_FILE = 7
"""Its temporary name is looked for, made, opened to write, opened to sync, made readable, renamed, and gone."""


@pytest.fixture(scope="module")
def whole(folder, tmp_path_factory):
    """A run that nothing happened to."""
    finished = lesions(folder, tmp_path_factory.mktemp("whole"), LIMIT)
    assert finished.work.cells == CELLS
    return written(finished.path)


def _cells(out: Path) -> dict[str, bytes]:
    found = {path.name: path.read_bytes() for path in out.rglob("cells/*.parquet")}
    return {name: data for name, data in found.items() if not name.startswith(".")}


def _left(out: Path) -> list[Path]:
    return list(out.rglob(".unfinished-*"))


@pytest.mark.release
def test_killed_while_it_writes_it_goes_on_and_ends_the_same(folder, tmp_path, whole):
    first = FILES_BEFORE * MOMENTS_OF_A_FILE
    left = []
    for moment in random.Random(0).sample(range(first, first + MOMENTS_OF_A_FILE), 3):
        process = started(folder, tmp_path, LIMIT, DieWriting(moment))
        process.join(60)
        assert process.exitcode == -signal.SIGKILL
        assert not list(tmp_path.rglob("results.parquet"))
        for name, data in _cells(tmp_path).items():
            assert data == whole[f"cells/{name}"]
        left += _left(tmp_path)
    assert left  # a file was being written
    done = len(_cells(tmp_path))
    finished = lesions(folder, tmp_path, LIMIT)
    assert 0 < finished.work.cells == CELLS - done
    assert written(finished.path) == whole


@pytest.mark.slow
def test_killed_at_twenty_random_moments_it_goes_on_and_ends_the_same(folder, tmp_path):
    items = 200
    whole = written(lesions(folder, tmp_path / "whole", items).path)
    rng, killed, partly = random.Random(0), 0, set()
    while killed < 20:
        about = PROCESSES.Event()
        process = started(folder, tmp_path / "killed", items, about.set)
        assert about.wait(60)
        process.join(3 * rng.random())
        process.kill()
        process.join()
        assert process.exitcode in (0, -signal.SIGKILL)
        killed += process.exitcode == -signal.SIGKILL
        partly.add(len(_cells(tmp_path / "killed")))
        if list((tmp_path / "killed").rglob("report.html")):  # there is nothing left to do: begin anew
            assert written(next((tmp_path / "killed").glob("lesions/*"))) == whole
            shutil.rmtree(tmp_path / "killed")
    assert len(partly) > 3  # it was killed early and late
    assert written(lesions(folder, tmp_path / "killed", items).path) == whole


@pytest.mark.release
def test_two_processes_in_one_folder_do_not_harm_each_other(folder, tmp_path, whole):
    together = PROCESSES.Barrier(2)
    processes = [started(folder, tmp_path, LIMIT, together.wait) for _ in range(2)]
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0, 0]
    (run_folder,) = tmp_path.glob("lesions/*")
    assert not _left(tmp_path)
    assert written(run_folder) == whole
    assert lesions(folder, tmp_path, LIMIT).work.cells == 0


def _shard(model: Path, out: Path, shard: Shard, together: Barrier) -> None:
    torch.set_num_threads(1)
    plan = planned(model, LIMIT)
    together.wait()
    run(plan, out, "mechpaint analyze lesions", shard=shard)


def test_two_shards_at_the_same_moment_leave_the_same(folder, tmp_path, whole):
    together = PROCESSES.Barrier(2)
    shards = [PROCESSES.Process(target=_shard, args=(folder, tmp_path, Shard(i, 2), together)) for i in (1, 2)]
    for process in shards:
        process.start()
    for process in shards:
        process.join(60)
    assert [process.exitcode for process in shards] == [0, 0]
    (run_folder,) = tmp_path.glob("lesions/*")
    assert not _left(tmp_path)
    assert written(run_folder) == whole


@dataclass(frozen=True)
class Overtaken(Experiment):
    """While it computes its first trial, another runs the same plan to its end, and finds other numbers."""

    name: ClassVar[str] = "overtaken"
    question: ClassVar[str] = "Who was first?"
    columns: ClassVar = {"by": int}
    out: ClassVar[list[Path]] = []

    def trials(self):
        return {"one": 1, "two": 1}

    def measure(self, label, advance):
        if self.out:
            inner = run(ExperimentPlan(self, 1), self.out.pop(), "mechpaint analyze overtaken")
            assert inner.work.cells == 2
            return [{"by": 1}]
        return [{"by": 2}]

    def report(self, table):
        return Report("Overtaken", [str(table["by"].tolist())], [])


def test_who_is_slower_takes_the_cells_of_who_was_first(tmp_path):
    Overtaken.out.append(tmp_path)
    outer = run(ExperimentPlan(Overtaken(), 1), tmp_path, "mechpaint analyze overtaken")
    assert (outer.work.cells, outer.report.summary) == (0, ["[2, 2]"])


@contextmanager
def _no_file_of_more_than(size: int) -> Iterator[None]:
    """Where no file system can be mounted: the kernel refuses what goes beyond."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, handler)


def test_where_there_is_no_space_it_says_so_and_goes_on_when_there_is(folder, tmp_path, whole, monkeypatch):
    sizes = sorted(len(data) for name, data in whole.items() if name.startswith("cells/"))
    compute = CellRunner.do

    def limited(self, cell, advance):
        with _no_file_of_more_than(sizes[-1] - 1):
            return compute(self, cell, advance)

    monkeypatch.setattr(CellRunner, "do", limited)
    with pytest.raises(CannotWrite, match=r"cells/.*\.parquet: no space left; .* What was done before is kept"):
        lesions(folder, tmp_path, LIMIT)
    monkeypatch.undo()
    _goes_on(folder, tmp_path, whole)


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 28 KB, and how to make it larger."""
    place = tmp_path / "disk"
    place.mkdir()
    try:
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=28k", "tmpfs", place], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("no file system may be mounted here")
    yield place
    subprocess.run(["umount", place], check=True)


@pytest.mark.slow
def test_a_disk_that_is_full_loses_nothing(folder, small_disk, whole):
    with pytest.raises(CannotWrite, match="no space left; free some"):
        lesions(folder, small_disk, LIMIT)
    with pytest.raises(OSError, match=os.strerror(errno.ENOSPC)):
        (small_disk / "probe").write_bytes(bytes(28 * 1024))
    (small_disk / "probe").unlink()
    subprocess.run(["mount", "-o", "remount,size=4m", small_disk], check=True)
    _goes_on(folder, small_disk, whole)


def _goes_on(folder: Path, out: Path, whole: dict[str, bytes]) -> None:
    assert not _left(out)
    assert not list(out.rglob("results.parquet"))
    done = _cells(out)
    assert all(data == whole[f"cells/{name}"] for name, data in done.items())
    finished = lesions(folder, out, LIMIT)
    assert 0 < finished.work.cells == CELLS - len(done)
    assert written(finished.path) == whole
