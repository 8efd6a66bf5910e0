"""Trials in threads: the same however many run at once, stopped promptly, taken up where they stopped."""

from __future__ import annotations

import os
import re
import signal
import threading
import time
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import ClassVar

import pandas as pd
import pytest
import torch
from rich.progress import Progress

from mechpaint.analysis import Experiment
from mechpaint.report import Report
from mechpaint.runs import execute as running
from mechpaint.runs.cells import Cells
from mechpaint.runs.execute import run
from mechpaint.runs.plans.experiment_plan import ExperimentPlan
from tests.made_up import Walks


def _run(analysis, out, processors=2):
    return run(ExperimentPlan(analysis, processors), out, "mechpaint analyze walks")


def _table(finished):
    return pd.read_parquet(finished.path / "results.parquet")


def _cells(out):
    return sorted(path.name for path in out.rglob("cells/*"))


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    return _run(Walks(), tmp_path_factory.mktemp("runs"))


def test_records_are_those_of_the_trials_in_order(finished):
    table = _table(finished)
    assert list(table.columns) == ["label", "seed", "step", "where", "threads"]
    expected = [record for label in Walks().trials() for record in Walks().measure(label, lambda ticks: None)]
    assert table["where"].tolist() == [record["where"] for record in expected]
    assert table["label"].unique().tolist() == ["Seed 0", "Seed 1", "Seed 2", "Seed 3"]
    assert _cells(finished.path) == [f"{i:02d}-seed-{i}.parquet" for i in range(4)]
    assert finished.manifest.routes == {}


def test_how_many_run_at_once_changes_nothing(finished, tmp_path):
    one = _run(Walks(), tmp_path, processors=1)
    assert one.path.name == finished.path.name
    names = ["results.parquet", "tables/ends.csv", *(f"cells/{name}" for name in _cells(one.path))]
    assert one.manifest.config == finished.manifest.config
    assert {n: (one.path / n).read_bytes() for n in names} == {n: (finished.path / n).read_bytes() for n in names}


def test_each_trial_has_one_thread_of_torch_and_the_caller_keeps_his(tmp_path):
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        assert set(_table(_run(Walks(), tmp_path, processors=1))["threads"]) == {1}
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_as_many_trials_as_processors_unless_the_experiment_allows_fewer(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 1, 2}, raising=False)
    assert ExperimentPlan.of(Walks()).concurrency() == 3
    monkeypatch.setattr(Walks, "concurrency", 2)
    assert ExperimentPlan.of(Walks()).concurrency() == 2
    monkeypatch.setattr(Walks, "concurrency", 9)
    assert ExperimentPlan.of(Walks()).concurrency() == 3


@pytest.mark.parametrize("damage", ["missing", "truncated", "empty", "flipped"])
def test_a_missing_or_damaged_cell_is_computed_again(finished, damage):
    before = _table(finished)
    cell = finished.path / "cells" / "02-seed-2.parquet"
    whole = cell.read_bytes()
    if damage == "missing":
        cell.unlink()
    else:
        flipped = bytes([*whole[:40], whole[40] ^ 255, *whole[41:]])
        cell.write_bytes({"truncated": whole[:-100], "empty": b"", "flipped": flipped}[damage])
    named = pytest.warns(UserWarning, match=rf"the cell {re.escape(str(cell))} .*; it is computed again")
    with nullcontext() if damage == "missing" else named:
        again = _run(Walks(), finished.path.parents[1])
    assert again.work.cells == 1
    assert cell.read_bytes() == whole
    pd.testing.assert_frame_equal(_table(again), before)
    assert _run(Walks(), finished.path.parents[1]).work.cells == 0


@dataclass(frozen=True)
class Scripted(Experiment):
    """Trials that do what the test says."""

    name: ClassVar[str] = "scripted"
    question: ClassVar[str] = "What happens then?"
    columns: ClassVar = {"value": int}
    script: ClassVar = {}

    def trials(self):
        return dict.fromkeys(type(self).script, 10)

    def measure(self, label, advance):
        type(self).script[label](advance)
        return [{"value": len(label)}]

    def report(self, table):
        return Report("Scripted", [f"{len(table)} values."], [])


def _for_ever(advance):
    """Stops only where it is stopped: not by what it catches itself, and not by itself."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            time.sleep(0.001)
            advance(0)
        except Exception:
            pytest.fail("a trial could take the stop for an error of its own")
    pytest.fail("was not stopped")


@pytest.fixture
def kept(monkeypatch):
    """Set when a cell has been written."""
    event, write = threading.Event(), Cells.write

    def tell(self, cell, records):
        write(self, cell, records)
        event.set()

    monkeypatch.setattr(Cells, "write", tell)
    return event


def _at_once(advance):
    advance(10)


def _then(event, action):
    def trial(advance):
        assert event.wait(30)
        action()

    return trial


def _raise(error):
    raise error


@pytest.fixture
def interruptible():
    """As in a terminal: what a shell starts in the background ignores Ctrl-C, and its children do."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
@pytest.mark.parametrize("how", ["a signal to the process", "a signal to a trial's thread", "a trial that raises it"])
def test_ctrl_c_stops_all_trials_promptly_and_keeps_what_is_done(tmp_path, monkeypatch, kept, how):
    started = []
    sent = {
        "a signal to the process": lambda: os.kill(os.getpid(), signal.SIGINT),
        "a signal to a trial's thread": lambda: signal.pthread_kill(threading.get_ident(), signal.SIGINT),
    }
    if send := sent.get(how):
        # from a trial that goes on, while the main thread waits; Python hands the signal to the main thread
        def interrupt(advance):
            assert kept.wait(30)
            time.sleep(0.3)  # the main thread has taken in the first trial and waits again
            send()
            _for_ever(advance)
    else:
        interrupt = _then(kept, lambda: _raise(KeyboardInterrupt()))
    script = {"short": _at_once, "first": _for_ever, "second": interrupt, "third": started.append}
    monkeypatch.setattr(Scripted, "script", script)
    torch_threads = torch.get_num_threads()
    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        _run(Scripted(), tmp_path)
    assert time.monotonic() - began < 10
    assert _cells(tmp_path) == ["00-short.parquet"]
    assert not started
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("ThreadPool")]
    assert torch.get_num_threads() == torch_threads
    assert not list(tmp_path.rglob("results.parquet"))

    monkeypatch.setattr(Scripted, "script", dict.fromkeys(script, _at_once))
    again = _run(Scripted(), tmp_path)
    assert again.work.cells == 3
    assert _table(again)["value"].tolist() == [5, 5, 6, 5]


@pytest.mark.parametrize("processors", [1, 2])
def test_an_error_in_a_trial_stops_the_others_and_is_told(tmp_path, monkeypatch, kept, processors):
    started = []
    fail = _then(kept, lambda: _raise(ZeroDivisionError("a trial")))
    script = {"short": _at_once, "bad": fail, "long": _for_ever, "never": started.append}
    monkeypatch.setattr(Scripted, "script", script)
    with pytest.raises(ZeroDivisionError, match="a trial"):
        _run(Scripted(), tmp_path, processors)
    assert _cells(tmp_path) == ["00-short.parquet"]
    assert not started


def test_trials_run_at_the_same_time(tmp_path, monkeypatch):
    together = threading.Barrier(2, timeout=30)  # breaks unless two wait at once
    monkeypatch.setattr(
        Scripted, "script", {"a": lambda advance: together.wait(), "bc": lambda advance: together.wait()}
    )
    assert _run(Scripted(), tmp_path).work.cells == 2


def test_the_progress_bar_shows_the_latest_trial_and_ends_full(tmp_path, monkeypatch):
    """Also where a trial ends before its ticks, or after."""
    seen = {"labels": []}

    class Bar(Progress):
        def add_task(self, description, total, visible, done, of):
            assert (done, of) == (0, total)
            seen.update(total=total, done=0, visible=visible)
            return 0

        def update(self, task, description=None, advance=0, done=None):
            seen["labels"] += [description] if description else []
            seen["done"] += advance
            assert done in (None, seen["done"])

    @contextmanager
    def progress():
        yield Bar()

    monkeypatch.setattr(running, "progress", progress)
    script = {
        "all": lambda advance: [advance(5), advance(5)],
        "fewer": lambda advance: advance(3),
        "more": lambda advance: advance(99),
    }
    monkeypatch.setattr(Scripted, "script", script)
    _run(Scripted(), tmp_path, processors=1)
    assert seen == {"labels": ["all", "fewer", "more"], "total": 30, "done": 30, "visible": True}
    _run(Scripted(), tmp_path, processors=1)
    assert seen["visible"] is False


def test_a_forecast_counts_the_ticks():
    assert ExperimentPlan(Walks(seeds=(7, 8), steps=50), 2).forecast() == {
        "cells": 2,
        "ticks": 100,
        "at once": 2,
        "trials": {"Seed 7": 50, "Seed 8": 50},
    }


def test_other_settings_are_another_run(finished):
    def fingerprint(analysis, processors=2):
        plan = ExperimentPlan(analysis, processors)
        return plan.stored_cells(finished.path.parents[1]).path.name

    assert fingerprint(Walks(), processors=1) == finished.path.name
    assert fingerprint(Walks(scale=0.6)) != finished.path.name
    assert fingerprint(Walks(scale=0.6)) != fingerprint(Walks(scale=0.7))
