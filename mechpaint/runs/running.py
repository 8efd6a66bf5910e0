"""How a plan is run: compute what neither it nor another run has, keep it, report on all of it."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from pathlib import Path
from threading import Event

import torch
from rich.progress import Progress, TaskID

from mechpaint.analysis import Advance, Record
from mechpaint.progress import progress
from mechpaint.report import write_report
from mechpaint.runs.damage import DamagedCell, MissingCell
from mechpaint.runs.finished import Finished, Taken
from mechpaint.runs.folder import RunFolder
from mechpaint.runs.others import Held, Others
from mechpaint.runs.plan import Cell, FollowingCell, ItemsCell, Plan
from mechpaint.runs.provenance import plugin_versions


def _warn(message: str) -> None:
    warnings.warn(message, stacklevel=4)  # the line that called `run`


def run(plan: Plan, out: Path, command: str, warn: Callable[[str], None] = _warn) -> Finished:
    """Compute what is missing or damaged, then draw the report.

    What other runs in the folder hold of it is taken over. The run is whole without them.

    Several processes may run the same plan at the same time. Each takes the cells that another has finished.

    Args:
        plan: What to do.
        out: The folder of all runs.
        command: How to run it again, for the report.
        warn: Called with a line for each cell that is damaged; by default it becomes a Python warning.

    Raises:
        CannotWrite: The disk is full or cannot be written.
        CellError: A cell was removed or damaged after it was computed or checked.
        KeyboardInterrupt: And whatever else a cell raises. Cells that are done stay, in this case too.
    """
    began = time.monotonic()
    folder = _folder(plan, out)
    cells = plan.cells()
    account = plan.account().telling(_provenance(folder))
    folder.begin(account, command, cells)
    missing = _missing(folder, cells, warn)
    with progress() as bar:
        shown = bar.add_task("", total=sum(cell.ticks for cell in missing), visible=bool(missing))
        work = _Work(folder, Others(folder.path, plan.schema(), missing), bar, shown)
        at_once = plan.at_once()
        if at_once is None:
            for cell in missing:
                work.do(cell)
        else:
            _do_at_once(work, missing, at_once)
    report = account.report(folder.collect([cell.name for cell in cells]))
    page = write_report(report, folder.path, account.details, command)
    return Finished(folder.path, page, report, work.computed, time.monotonic() - began, work.taken())


def remaining(plan: Plan, out: Path) -> dict[str, int]:
    """How much of a plan is to be computed, as it stands now: numbers of cells by what there is of them.

    Nothing is written. Cells that are damaged count as those that are missing.

    Args:
        plan: What to do.
        out: The folder of all runs.
    """
    folder, cells = _folder(plan, out), plan.cells()
    missing = _missing(folder, cells, lambda message: None)
    others = Others(folder.path, plan.schema(), missing)
    held = [others.held(cell) for cell in missing]
    return {
        "cells": len(cells),
        "cells there": len(cells) - len(missing),
        "cells that other runs hold": sum(each.whole for each in held),
        "cells that they hold in part": sum(bool(each.records) and not each.whole for each in held),
    }


def _folder(plan: Plan, out: Path) -> RunFolder:
    return RunFolder(out, plan.analysis.name, plan.config(), plan.schema(), plugin_versions(plan.made_of()))


def _missing(folder: RunFolder, cells: Sequence[Cell], warn: Callable[[str], None]) -> list[Cell]:
    missing: list[Cell] = []
    for cell in cells:
        try:
            folder.read(cell.name, cell.rows)
        except MissingCell:
            missing.append(cell)
        except DamagedCell as error:
            warn(f"{error}; it is computed again")
            missing.append(cell)
    return missing


def _provenance(folder: RunFolder) -> list[tuple[str, str]]:
    named = ", ".join(f"{name} {version}" for name, version in folder.versions.items())
    return [("versions", named), ("fingerprint", folder.path.name)]


class _Stopped(BaseException):
    """Raised in a cell that is to stop. No `Exception`, so that nothing in the cell takes it for its own."""


class _Work:
    """Computes cells and keeps them, until one fails or all are told to stop."""

    def __init__(self, folder: RunFolder, others: Others, bar: Progress, shown: TaskID) -> None:
        self._folder = folder
        self._others = others
        self._bar = bar
        self._shown = shown
        self._stop = Event()
        self._kept: list[Held] = []

    @property
    def computed(self) -> int:
        """How many cells were computed and kept, whole or in part."""
        return sum(not held.whole for held in self._kept)

    def taken(self) -> Taken:
        """What was taken over from other runs."""
        runs = sorted({run for held in self._kept for run in held.runs})
        in_part = sum(bool(held.records) and not held.whole for held in self._kept)
        return Taken(sum(held.whole for held in self._kept), in_part, tuple(runs))

    def do(self, cell: Cell) -> None:
        """Compute a cell and put it in its place, unless another process has done so, before or meanwhile."""
        told = 0

        def advance(ticks: int) -> None:
            nonlocal told
            if self._stop.is_set():
                raise _Stopped
            told += ticks
            self._bar.advance(self._shown, ticks)

        try:
            advance(0)
            self._bar.update(self._shown, description=cell.label)
            if not self._folder.has(cell.name, cell.rows):
                held = self._others.held(cell)
                records = self._all_records(cell, held, advance)
                if not self._folder.has(cell.name, cell.rows):
                    self._folder.write(cell.name, records)
                    self._kept.append(held)
            self._bar.advance(self._shown, cell.ticks - told)
        except BaseException:
            self.stop()  # here and not where it is noticed: this thread would begin another cell before
            raise

    def _all_records(self, cell: Cell, held: Held, advance: Advance) -> list[Record]:
        """A cell's records: those that other runs hold, and the others computed."""
        if isinstance(cell, ItemsCell):
            return list(cell.complete(advance, held.records))
        if isinstance(cell, FollowingCell):
            return list(cell.follow(advance, self._folder.joined(cell.after).to_pandas(), held.records))
        return list(held.records if held.whole else cell.compute(advance))

    def stop(self) -> None:
        """Make all cells stop where they next advance."""
        self._stop.set()


def _do_at_once(work: _Work, cells: Sequence[Cell], at_once: int) -> None:
    """Compute cells in threads. Small tensor operations leave Python to the others, and gain nothing from more."""
    with _one_thread_of_torch(), ThreadPoolExecutor(at_once) as pool:
        try:
            for done in as_completed([pool.submit(work.do, cell) for cell in cells]):
                error = done.exception()
                if error is not None and not isinstance(error, _Stopped):
                    raise error
        except BaseException:
            work.stop()
            raise


@contextmanager
def _one_thread_of_torch() -> Generator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
