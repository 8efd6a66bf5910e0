"""What a run comes to."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mechpaint.report import Report, Table
from mechpaint.runs.shard import Shard
from mechpaint.showing import Showing, Shown


@dataclass(frozen=True)
class Taken:
    """What was taken over from other runs.

    Attributes:
        cells: How many cells were taken over whole.
        in_part: Of how many more a part was.
        runs: From which runs, such as `painters/ab12…`.
    """

    cells: int = 0
    in_part: int = 0
    runs: tuple[str, ...] = ()

    @classmethod
    def all_of(cls, parts: Sequence[Taken]) -> Taken:
        """What was taken over in several parts.

        Args:
            parts: The parts, such as one a cell.
        """
        runs = sorted({run for part in parts for run in part.runs})
        return cls(sum(part.cells for part in parts), sum(part.in_part for part in parts), tuple(runs))


@dataclass(frozen=True)
class Finished(Showing):
    """A run that is done.

    Attributes:
        folder: The run folder.
        page: The page in it.
        report: What the page says.
        computed: How many cells were computed now, whole or in part; the others were there, were taken over, or another
            process was faster.
        seconds: How long that took.
        taken: What was taken over.
    """

    folder: Path
    page: Path
    report: Report
    computed: int
    seconds: float
    taken: Taken = Taken()

    @property
    def done(self) -> str:
        """In words, what was computed now, and what was taken over."""
        return _done(self.computed, self.seconds, self.taken)

    def _shown(self) -> Shown:
        table = next((section for section in self.report.sections if isinstance(section, Table)), None)
        facts = [
            *(("", paragraph) for paragraph in self.report.summary),
            ("done", self.done),
            ("report", str(self.page)),
        ]
        return Shown(self.report.title, facts, table.columns if table else (), table.rows if table else ())


@dataclass(frozen=True)
class Unfinished(Showing):
    """A run of which a share was computed, and other cells are still missing. It has no report yet.

    Attributes:
        folder: The run folder.
        shard: Which share was computed.
        cells: How many cells the whole run has.
        missing: How many of them are missing or damaged.
        computed: How many cells were computed now, whole or in part.
        seconds: How long that took.
        taken: What was taken over.
    """

    folder: Path
    shard: Shard
    cells: int
    missing: int
    computed: int
    seconds: float
    taken: Taken = Taken()

    @property
    def done(self) -> str:
        """In words, what was computed now, and what was taken over."""
        return _done(self.computed, self.seconds, self.taken)

    @property
    def left(self) -> str:
        """In words, what is still missing, and what draws the report when it is there."""
        return (
            f"of the run's {self.cells} cells {self.missing} are still missing: other shards, or the command without "
            f"--shard, compute them. When all are there: mechpaint report {shlex.quote(str(self.folder))}"
        )

    def _shown(self) -> Shown:
        return Shown(f"Shard {self.shard}", [("done", self.done), ("left", self.left)], (), ())


def _done(computed: int, seconds: float, taken: Taken) -> str:
    runs = ", ".join(taken.runs)
    told = f"{computed} cells computed in {seconds:.0f} s"
    if taken.in_part:
        told += f", of {taken.in_part} only what is new"
    if not computed:
        return f"{taken.cells} cells taken over from {runs}" if taken.cells else "all was computed before"
    if not runs:
        return told
    return f"{told}; {f'{taken.cells} ' if taken.cells else ''}taken over from {runs}"
