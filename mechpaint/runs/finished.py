"""What a run comes to."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from mechpaint.report import Report, Table
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
        taken, runs = self.taken, ", ".join(self.taken.runs)
        computed = f"{self.computed} cells computed in {self.seconds:.0f} s"
        if taken.in_part:
            computed += f", of {taken.in_part} only what is new"
        if not self.computed:
            return f"{taken.cells} cells taken over from {runs}" if taken.cells else "all was computed before"
        if not runs:
            return computed
        return f"{computed}; {f'{taken.cells} ' if taken.cells else ''}taken over from {runs}"

    def _shown(self) -> Shown:
        table = next((section for section in self.report.sections if isinstance(section, Table)), None)
        facts = [
            *(("", paragraph) for paragraph in self.report.summary),
            ("done", self.done),
            ("report", str(self.page)),
        ]
        return Shown(self.report.title, facts, table.columns if table else (), table.rows if table else ())
