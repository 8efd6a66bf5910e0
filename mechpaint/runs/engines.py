"""Engines: what computes the cells of a run, here one after the other, or several at once.

`mechpaint.runs.ray_engine` has one for several processes and machines.
"""

from __future__ import annotations

import os
from collections.abc import Generator, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch

from mechpaint.errors import InputError
from mechpaint.runs.finished import Taken
from mechpaint.runs.plan import Cell
from mechpaint.runs.working import Stopped, Work


class EngineError(InputError):
    """An engine that is not there, that has no such settings, or whose workers see another run than this process."""


@runtime_checkable
class Bar(Protocol):
    """What an engine shows its progress on."""

    def show(self, label: str) -> None:
        """Say what is being done.

        Args:
            label: A few words.
        """
        ...

    def advance(self, ticks: int) -> None:
        """Say how much more is done.

        Args:
            ticks: How much; less than 0 where something has to be done again.
        """
        ...


@runtime_checkable
class Engine(Protocol):
    """Computes cells."""

    def do(self, work: Work, cells: Sequence[Cell], bar: Bar) -> list[Taken]:
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
class Here(Engine):
    """One cell after the other in this process, with as many threads as torch has."""

    def do(self, work: Work, cells: Sequence[Cell], bar: Bar) -> list[Taken]:
        """Compute cells and put each in its place."""
        return [taken for cell in cells for taken in _shown(work, cell, bar)]


@dataclass(frozen=True)
class Threads(Engine):
    """Several cells at once in threads of this process, each with one thread of torch.

    Small tensor operations leave Python to the others, and gain nothing from more.

    Args:
        at_once: How many.
    """

    at_once: int

    def do(self, work: Work, cells: Sequence[Cell], bar: Bar) -> list[Taken]:
        """Compute cells and put each in its place."""
        found: list[Taken] = []
        with _one_thread_of_torch(), ThreadPoolExecutor(self.at_once) as pool:
            try:
                for done in _as_completed([pool.submit(_shown, work, cell, bar) for cell in cells]):
                    error = done.exception()
                    if error is None:
                        found += done.result()
                    elif not isinstance(error, Stopped):
                        raise error
            except BaseException:
                work.stop()
                raise
        return found


def processors() -> int:
    """How many processors this process may use."""
    # not on every system
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def _as_completed(futures: Iterable[Future[list[Taken]]]) -> Iterator[Future[list[Taken]]]:
    """Like the standard library's, but never waits long: the system may hand Ctrl-C to a thread that computes.

    Python raises it in the main thread, and not before that runs again.
    """
    waiting = set(futures)
    while waiting:
        done, waiting = wait(waiting, timeout=0.5, return_when=FIRST_COMPLETED)
        yield from done


def _shown(work: Work, cell: Cell, bar: Bar) -> list[Taken]:
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
