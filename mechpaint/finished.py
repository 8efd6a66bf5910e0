"""What a run comes to."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from mechpaint.report import Report, Table
from mechpaint.showing import Showing, Shown


@dataclass(frozen=True)
class Finished(Showing):
    """A run that is done.

    Attributes:
        folder: The run folder.
        page: The page in it.
        report: What the page says.
        computed: How many cells were computed now; the others were there, or another process was faster.
        seconds: How long that took.
    """

    folder: Path
    page: Path
    report: Report
    computed: int
    seconds: float

    @property
    def done(self) -> str:
        """In words, what was computed now."""
        if not self.computed:
            return "all was computed before"
        return f"{self.computed} cells computed in {self.seconds:.0f} s"

    def _shown(self) -> Shown:
        table = next((section for section in self.report.sections if isinstance(section, Table)), None)
        facts = [
            *(("", paragraph) for paragraph in self.report.summary),
            ("done", self.done),
            ("report", str(self.page)),
        ]
        return Shown(self.report.title, facts, table.columns if table else (), table.rows if table else ())
