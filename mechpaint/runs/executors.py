"""Engines: what computes the cells of a run, here one after the other, or several at once.

`mechpaint.runs.ray` has one for several processes and machines.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Event
from typing import Protocol, runtime_checkable

import torch

from mechpaint.runs.cells import Cells
from mechpaint.runs.plans.plan import Cell, DependentCell, ItemsCell
from mechpaint.runs.reuse import CachedRecords, OtherRuns, ReuseStats
from mechpaint.statistics.results import Advance, Record


@runtime_checkable
class Bar(Protocol):
    """A progress bar, as executors see it."""

    def show(self, label: str) -> None:
        """Say what is being done."""
        ...

    def advance(self, ticks: int) -> None:
        """Say how much more is done."""
        ...


@runtime_checkable
class Executor(Protocol):
    """Computes cells."""

    def do(self, work: CellRunner, cells: Sequence[Cell], bar: Bar) -> list[ReuseStats]:
        """Compute cells and put each in its place.

        Args:
            work: Does so with one cell.
            cells: Which.
            bar: What to show the progress on.

        Returns:
            For each cell that was put in its place what was taken over for it, in any order.

        Raises:
            KeyboardInterrupt: And whatever else a cell raises. Then no cell is being computed any more.
        """
        ...


@dataclass(frozen=True)
class Serial(Executor):
    """One cell after the other in this process, with as many threads as torch has."""

    def do(self, work: CellRunner, cells: Sequence[Cell], bar: Bar) -> list[ReuseStats]:
        """Compute cells and put each in its place."""
        return [taken for cell in cells for taken in _do(work, cell, bar)]


@dataclass(frozen=True)
class Threads(Executor):
    """Several cells at once in threads of this process, each with one thread of torch.

    Small tensor operations leave Python to the others, and gain nothing from more.

    Args:
        concurrency: How many.
    """

    concurrency: int

    def do(self, work: CellRunner, cells: Sequence[Cell], bar: Bar) -> list[ReuseStats]:
        """Compute cells and put each in its place."""
        reused: list[ReuseStats] = []
        with _one_thread_of_torch(), ThreadPoolExecutor(self.concurrency) as pool:
            try:
                for done in _as_completed([pool.submit(_do, work, cell, bar) for cell in cells]):
                    error = done.exception()
                    if error is None:
                        reused += done.result()
                    elif not isinstance(error, Cancelled):
                        raise error
            except BaseException:
                work.stop()
                raise
        return reused


def _as_completed(futures: Iterable[Future[list[ReuseStats]]]) -> Iterator[Future[list[ReuseStats]]]:
    """Like the standard library's, but never waits long: the system may hand Ctrl-C to a thread that computes.

    Python raises it in the main thread, and not before that runs again.
    """
    waiting = set(futures)
    while waiting:
        done, waiting = wait(waiting, timeout=0.5, return_when=FIRST_COMPLETED)
        yield from done


def _do(work: CellRunner, cell: Cell, bar: Bar) -> list[ReuseStats]:
    bar.show(cell.label)
    return work.do(cell, bar.advance)


@contextmanager
def _one_thread_of_torch() -> Generator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


class Cancelled(BaseException):
    """Raised in a cell that is to stop. No `Exception`, so that nothing in the cell takes it for its own."""


class CellRunner:
    """Computes cells and keeps them, until one fails or all are told to stop.

    Args:
        folder: Where they are kept.
        others: Other runs, which may hold some of them.
    """

    def __init__(self, folder: Cells, others: OtherRuns) -> None:
        self.folder = folder
        self._others = others
        self._stop = Event()

    def do(self, cell: Cell, advance: Advance) -> list[ReuseStats]:
        """Compute a cell and put it in its place, unless another process has done so, before or meanwhile."""
        told = 0

        def counted(ticks: int) -> None:
            nonlocal told
            if self._stop.is_set():
                raise Cancelled
            told += ticks
            advance(ticks)

        try:
            counted(0)
            done = self._done(cell, counted)
        except BaseException:
            self.stop()  # here and not where it is noticed: this thread would begin another cell before
            raise
        advance(cell.ticks - told)
        return done

    def stop(self) -> None:
        """Make all cells stop where they next advance."""
        self._stop.set()

    def _done(self, cell: Cell, advance: Advance) -> list[ReuseStats]:
        if self.folder.has(cell.name, cell.rows):
            return []
        held = self._others.cached(cell)
        records = self._all_records(cell, held, advance)
        if self.folder.has(cell.name, cell.rows):
            return []
        self.folder.write(cell.name, records)
        return [ReuseStats(int(held.whole), int(bool(held.records) and not held.whole), held.runs)]

    def _all_records(self, cell: Cell, held: CachedRecords, advance: Advance) -> list[Record]:
        """A cell's records: those that other runs hold, and the others computed."""
        if isinstance(cell, ItemsCell):
            return list(cell.complete(advance, held.records))
        if isinstance(cell, DependentCell):
            return list(cell.follow(advance, self.folder.joined(cell.after).to_pandas(), held.records))
        return list(held.records if held.whole else cell.compute(advance))
