"""A run: an analysis on disk, complete at every moment.

    runs/<analysis>/<fingerprint>/
        run.json                                what was asked, with what, and all that the report needs (`Manifest`)
        cells/*.parquet                         one a piece of work: items of a task, a round, a hook set, a trial
        results.parquet                         all of them, in order
        figures/*.{svg,png}  tables/*.csv  report.md  report.html
        drawn.json                              what these were drawn from

The fingerprint is that of the configuration, the model's weights and the versions that matter. A cell gets its name
only when it is complete, and holds the checksum of all its bytes, so running the same thing again computes what is
missing or damaged and nothing else. Several processes may run the same thing at the same time: each writes to names of
its own and renames what is complete into place.
"""

from __future__ import annotations

import shlex
import sys
import traceback
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from mechpaint.display.summary import Summarized, Summary
from mechpaint.errors import (
    CannotWrite,
    CellError,
    DamagedCell,
    IncompleteRun,
    InputError,
    MissingCell,
    ReportError,
    RunError,
)
from mechpaint.files import is_folder
from mechpaint.report import Figure, Report, Table, write_report
from mechpaint.runs import drawn
from mechpaint.runs.cells import Cells, is_whole
from mechpaint.runs.drawn import Headline
from mechpaint.runs.manifest import RUN, Manifest, is_earlier
from mechpaint.runs.report_inputs import ReportInputs
from mechpaint.runs.reuse import ReuseStats

if TYPE_CHECKING:
    import pandas as pd

    from mechpaint.analysis import Analysis
    from mechpaint.plugins import Registry

State: TypeAlias = Literal["finished", "unfinished", "damaged"]
_NAMED = 5
_DERIVED = ("inputs", "table", "report", "_records", "_cells")
"""What a run reads and draws when it is first asked for, none of it changed by `work` or `again`."""


@dataclass(frozen=True)
class Work:
    """The work that one process did for a run.

    Attributes:
        cells: How many cells it computed, whole or in part; others were there, were reused, or another process won.
        seconds: How long it took.
        reused: What it took from other runs.
    """

    cells: int
    seconds: float
    reused: ReuseStats = field(default_factory=ReuseStats)

    def __str__(self) -> str:
        runs = ", ".join(self.reused.runs)
        if not self.cells:
            return f"{self.reused.cells} cells reused from {runs}" if self.reused.cells else "all was computed before"
        words = f"{self.cells} cells computed in {self.seconds:.0f} s"
        if self.reused.in_part:
            words += f", of {self.reused.in_part} only what is new"
        return f"{words}; {f'{self.reused.cells} ' if self.reused.cells else ''}reused from {runs}" if runs else words


@dataclass(frozen=True, repr=False)
class Run(Summarized):
    """An analysis on disk: what `analyze` gives and `open_run` opens. It shows itself in notebooks.

    Attributes:
        path: The run folder.
        manifest: What `run.json` says.
        registry: The analyses there are, of which one draws the report.
        work: What was done just now; None for a run that was only opened.
        again: Runs the same request in this process, for `resume`; None if it cannot be.
        kind: The analysis's class, where it was just run; otherwise the registry has it.
    """

    path: Path
    manifest: Manifest
    registry: Registry = field(compare=False)
    work: Work | None = None
    again: Callable[[], Run] | None = field(default=None, compare=False)
    kind: type[Analysis] | None = field(default=None, compare=False)

    @classmethod
    def open(cls, path: str | Path, registry: Registry) -> Run:
        """Open the run folder `path`, whose analysis is in `registry`; see `open_run`."""
        return cls(Path(path), Manifest.read(Path(path)), registry)

    @property
    def name(self) -> str:
        """The analysis and the fingerprint: `painters/ab12…`."""
        path = self.path.resolve()
        return f"{path.parent.name}/{path.name}"

    @property
    def page(self) -> Path:
        """The report as a page that needs nothing else: `report.html`."""
        return self.path / "report.html"

    @property
    def when(self) -> datetime:
        """When it was last run."""
        return datetime.fromtimestamp((self.path / RUN).stat().st_mtime).astimezone()

    @property
    def state(self) -> State:
        """Finished, unfinished, or damaged. The run's command computes what is missing."""
        if self.damaged:
            return "damaged"
        return "finished" if self.page.is_file() and len(self.whole) == len(self.manifest.cells) else "unfinished"

    @property
    def whole(self) -> tuple[str, ...]:
        """The names of the cells that are there and whole."""
        return tuple(name for name, good in self._there.items() if good)

    @property
    def missing(self) -> tuple[str, ...]:
        """The names of the cells that are missing or damaged."""
        return tuple(name for name in self.manifest.cells if name not in self.whole)

    @property
    def damaged(self) -> tuple[str, ...]:
        """The names of the cells that are there and damaged."""
        return tuple(name for name, good in self._there.items() if not good)

    @cached_property
    def _there(self) -> dict[str, bool]:
        """Every cell that is there, and whether it is whole."""
        paths = {name: self.path / "cells" / f"{name}.parquet" for name in self.manifest.cells}
        return {name: is_whole(path) for name, path in paths.items() if path.is_file()}

    @cached_property
    def inputs(self) -> ReportInputs:
        """The inputs of the report, besides the records.

        Raises:
            RunError: The analysis is not there, or has other settings by now.
        """
        name = self.manifest.analysis
        analyses = self.registry.analyses if self.kind is None else {name: self.kind}
        return ReportInputs.deserialized(name, self.manifest.report, analyses)

    @cached_property
    def table(self) -> pd.DataFrame:
        """All records, a row each.

        Raises:
            IncompleteRun: Cells are missing or damaged.
        """
        return self._records.to_pandas()

    @cached_property
    def report(self) -> Report:
        """The report: a summary, figures and tables.

        Raises:
            IncompleteRun: Cells are missing or damaged.
            ReportError: The analysis cannot make a report of what was computed. All of that is kept.
        """
        table = self.table
        with self._drawing():
            return self.inputs.report(table)

    @property
    def figures(self) -> Mapping[str, Figure]:
        """The report's figures by name, such as `"figure-11"`. Each shows itself in notebooks."""
        return {section.name: section for section in self.report.sections if isinstance(section, Figure)}

    @property
    def left(self) -> str:
        """A sentence on the missing cells, and on drawing the report once they are there."""
        return (
            f"of the run's {len(self.manifest.cells)} cells {len(self.missing)} are still missing: other shards, or "
            "the command without --shard, compute them. When all are there: mechpaint report "
            f"{shlex.quote(str(self.path))}"
        )

    @property
    def headline(self) -> Headline:
        """What the terminal tells of the report, which is drawn for it only if it has to be."""
        return self._drawn or Headline.of(self.report)

    @property
    def _drawn(self) -> Headline | None:
        """The headline of the report that is there; None if it would be another by now."""
        basis = None if "report" in vars(self) else self._basis()
        return None if basis is None else drawn.headline(self.path, basis)

    def _basis(self) -> str | None:
        """A digest of all that the report is drawn from; None if that is not known."""
        try:
            return drawn.basis(self.path, self.manifest.cells, self.inputs, self.manifest.command)
        except OSError:  # a cell that is missing
            return None

    def draw_if_changed(self) -> Run:
        """Write the report unless it is there, drawn from the same cells by the same code."""
        return self.draw() if self._drawn is None else self

    def draw(self) -> Run:
        """Write the report and `results.parquet` again, from the cells alone.

        Returns:
            This run.

        Raises:
            IncompleteRun: Cells are missing or damaged. Nothing was written.
            ReportError: The analysis cannot make a report of what was computed. All of that is kept.
            CannotWrite: The disk is full or cannot be written.
        """
        basis = self._basis()
        self._cells.write_results(self._records)
        report = self.report
        with self._drawing():
            write_report(report, self.path, self.inputs.details, self.manifest.command)
        if basis is not None:
            drawn.write(self.path, basis, Headline.of(report))
        return self

    @contextmanager
    def _drawing(self) -> Generator[None]:
        """Tell of what the analysis's own code raises: where, and how the report is drawn once that is mended."""
        try:
            yield
        except (InputError, CannotWrite):
            raise
        except Exception as error:
            frames = traceback.extract_tb(error.__traceback__)
            own = getattr(sys.modules.get(type(self.inputs.analysis).__module__), "__file__", None)
            at = next((frame for frame in reversed(frames) if frame.filename == own), frames[-1])
            raise ReportError(
                f"the report of the analysis {self.manifest.analysis!r} cannot be drawn: {type(error).__name__}: "
                f"{error} ({at.filename}, line {at.lineno}). All that was computed is kept in {self.path}; when "
                f"the analysis is mended, this draws the report: mechpaint report {shlex.quote(str(self.path))}"
            ) from error

    def resume(self) -> Run:
        """Compute what is missing or damaged, and draw the report.

        Raises:
            RunError: The run was asked for with a model or tasks in memory, and was opened from disk.
        """
        if self.again is None:
            raise RunError(
                f"{self.path} was computed with objects in memory, which a run folder does not hold; call analyze with "
                f"them again: {self.manifest.command}"
            )
        return self.again()

    def replaced(self, **changes: Any) -> Run:
        """The run with `changes` to its fields, and with what was read and drawn already."""
        other = replace(self, **changes)
        vars(other).update({name: vars(self)[name] for name in _DERIVED if name in vars(self)})
        return other

    @cached_property
    def _records(self) -> Any:
        """All records, as a pyarrow table."""
        cells = self._cells
        try:
            return cells.joined(list(self.manifest.cells))
        except CellError as error:
            raise IncompleteRun(self._lacking(cells)) from error

    @cached_property
    def _cells(self) -> Cells:
        from mechpaint.runs.schemas import schema_of

        return Cells(self.path, schema_of(self.inputs.analysis))

    def _lacking(self, cells: Cells) -> str:
        """An error message: the missing and damaged cells, and the command that computes them."""
        missing: list[str] = []
        damaged: list[str] = []
        for name in self.manifest.cells:
            try:
                cells.read(name)
            except MissingCell:
                missing.append(name)
            except DamagedCell:
                damaged.append(name)
        pairs = (("missing", missing), ("damaged", damaged))
        parts = [f"{len(names)} {how} ({_listed(names)})" for how, names in pairs if names]
        return (
            f"the run {self.path} is not complete: of its {len(self.manifest.cells)} cells {' and '.join(parts)}. This "
            f"computes them: {self.manifest.command}"
        )

    def __repr__(self) -> str:
        return f"Run({str(self.path)!r}, {self.state})"

    def _summary(self) -> Summary:
        facts = [("run", self.name), *((("done", str(self.work)),) if self.work else ())]
        if self.state != "finished":
            facts += [("state", self.state), ("left", self.left)]
            return Summary(f"{self.manifest.analysis} of {self.manifest.model or 'its own models'}", facts, (), ())
        table = next((section for section in self.report.sections if isinstance(section, Table)), None)
        facts = [*(("", paragraph) for paragraph in self.report.summary), *facts, ("report", str(self.page))]
        return Summary(self.report.title, facts, table.columns if table else (), table.texts if table else ())


def runs_in(out: Path, registry: Registry) -> list[Run]:
    """All runs in a folder, by analysis and then by time."""
    if not is_folder(out):
        raise RunError(f"there is no folder {str(out)!r}; expected the folder of all runs, given to analyses as --out")
    runs = [Run.open(path.parent, registry) for path in out.glob(f"*/*/{RUN}")]
    return sorted(runs, key=lambda run: (run.manifest.analysis, run.when, run.path))


def earlier_runs_in(out: Path) -> list[Path]:
    """The runs of earlier versions in a folder, which this one does not read."""
    return sorted(path.parent for path in out.glob("*/*/config.yaml") if is_earlier(path.parent))


def find_run(named: str, out: Path) -> Path:
    """A run folder by its path, that of a folder with no other run in it, or the beginning of its fingerprint."""
    if named and is_folder(Path(named)):
        paths = sorted(path.parent for path in Path(named).rglob(RUN))
        if not paths and is_earlier(Path(named)):
            return Path(named)  # refused, with the reason, where it is opened
    else:
        paths = sorted(path.parent for path in (*out.glob(f"*/*/{RUN}"), *out.glob("*/*/config.yaml")))
        names = {path: f"{path.parent.name}/{path.name}" if "/" in named else path.name for path in paths}
        paths = [path for path, name in names.items() if named and name.startswith(named)]
    if len(paths) == 1:
        return paths[0]
    if paths:
        listed = ", ".join(f"{path.parent.name}/{path.name}" for path in paths)
        raise RunError(f"{named!r} may be any of {len(paths)} runs: {listed}. Give more of its name")
    raise RunError(
        f"there is no run {named!r}: expected a run folder, or the beginning of the name of one in {str(out)!r} "
        "(--out); `mechpaint runs` shows what there is"
    )


def _listed(names: list[str]) -> str:
    return ", ".join(names[:_NAMED]) + (", …" if len(names) > _NAMED else "")
