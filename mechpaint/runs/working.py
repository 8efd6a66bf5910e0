"""A cell computed and put in its place, wherever that is done: here, in a thread, on another machine."""

from __future__ import annotations

from threading import Event

from mechpaint.analysis import Advance, Record
from mechpaint.runs.finished import Taken
from mechpaint.runs.folder import RunFolder
from mechpaint.runs.others import Held, Others
from mechpaint.runs.plan import Cell, FollowingCell, ItemsCell


class Stopped(BaseException):
    """Raised in a cell that is to stop. No `Exception`, so that nothing in the cell takes it for its own."""


class Work:
    """Computes cells and keeps them, until one fails or all are told to stop.

    Args:
        folder: Where they are kept.
        others: Other runs, which may hold some of them.
    """

    def __init__(self, folder: RunFolder, others: Others) -> None:
        self.folder = folder
        self._others = others
        self._stop = Event()

    def do(self, cell: Cell, advance: Advance) -> list[Taken]:
        """Compute a cell and put it in its place, unless another process has done so, before or meanwhile.

        Args:
            cell: The cell.
            advance: Called with its ticks as they are done; in the end these are all of them.

        Returns:
            What was taken over for it; nothing at all where another process has done it.

        Raises:
            Stopped: It was told to stop.
        """
        told = 0

        def counted(ticks: int) -> None:
            nonlocal told
            if self._stop.is_set():
                raise Stopped
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

    def _done(self, cell: Cell, advance: Advance) -> list[Taken]:
        if self.folder.has(cell.name, cell.rows):
            return []
        held = self._others.held(cell)
        records = self._all_records(cell, held, advance)
        if self.folder.has(cell.name, cell.rows):
            return []
        self.folder.write(cell.name, records)
        return [Taken(int(held.whole), int(bool(held.records) and not held.whole), held.runs)]

    def _all_records(self, cell: Cell, held: Held, advance: Advance) -> list[Record]:
        """A cell's records: those that other runs hold, and the others computed."""
        if isinstance(cell, ItemsCell):
            return list(cell.complete(advance, held.records))
        if isinstance(cell, FollowingCell):
            return list(cell.follow(advance, self.folder.joined(cell.after).to_pandas(), held.records))
        return list(held.records if held.whole else cell.compute(advance))
