"""How a plan is run: compute what is missing, keep it, report on all of it."""

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

from mechpaint.damage import DamagedCell, MissingCell
from mechpaint.finished import Finished
from mechpaint.plan import Cell, Plan
from mechpaint.progress import progress
from mechpaint.provenance import plugin_versions
from mechpaint.report import write_report
from mechpaint.runs import RunFolder


def _warn(message: str) -> None:
    warnings.warn(message, stacklevel=4)  # the line that called `run`


def run(plan: Plan, out: Path, command: str, warn: Callable[[str], None] = _warn) -> Finished:
    """Compute what is missing or damaged, then draw the report.

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
    plugins = plugin_versions(plan.made_of())
    folder = RunFolder(out, plan.analysis.name, plan.config(), plan.schema(), plugins)
    cells = plan.cells()
    account = plan.account().telling(_provenance(folder))
    folder.begin(account, command, [cell.name for cell in cells])
    missing = _missing(folder, cells, warn)
    with progress() as bar:
        shown = bar.add_task("", total=sum(cell.ticks for cell in missing), visible=bool(missing))
        work = _Work(folder, bar, shown)
        at_once = plan.at_once()
        if at_once is None:
            for cell in missing:
                work.do(cell)
        else:
            _do_at_once(work, missing, at_once)
    report = account.report(folder.collect([cell.name for cell in cells]))
    page = write_report(report, folder.path, account.details, command)
    return Finished(folder.path, page, report, work.computed, time.monotonic() - began)


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

    def __init__(self, folder: RunFolder, bar: Progress, shown: TaskID) -> None:
        self._folder = folder
        self._bar = bar
        self._shown = shown
        self._stop = Event()
        self._kept: list[str] = []

    @property
    def computed(self) -> int:
        """How many cells were computed and kept."""
        return len(self._kept)

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
                records = list(cell.compute(advance))
                if not self._folder.has(cell.name, cell.rows):
                    self._folder.write(cell.name, records)
                    self._kept.append(cell.name)
            self._bar.advance(self._shown, cell.ticks - told)
        except BaseException:
            self.stop()  # here and not where it is noticed: this thread would begin another cell before
            raise

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
