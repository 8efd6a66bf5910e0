"""How a plan is run: compute what neither it nor another run has, keep it, report on all of it."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.progress import Progress, TaskID

from mechpaint.display.progress import progress
from mechpaint.errors import DamagedCell, MissingCell, RunError
from mechpaint.report import write_report
from mechpaint.runs.executors import CellRunner, Executor, Serial, Threads
from mechpaint.runs.manifest import Manifest
from mechpaint.runs.plans.plan import Cell, DependentCell, Plan, Shard
from mechpaint.runs.reuse import OtherRuns
from mechpaint.runs.run_folder import Finished, ReuseStats, RunFolder, Unfinished


def _warn(message: str) -> None:
    warnings.warn(message, stacklevel=4)  # the line that called `run`


def run(
    plan: Plan, out: Path, command: str, warn: Callable[[str], None] = _warn, executor: Executor | None = None
) -> Finished:
    """Compute what is missing or damaged, then draw the report.

    What other runs in the folder hold of it is taken over. The run is whole without them.

    Several processes may run the same plan at the same time. Each takes the cells that another has finished.

    Args:
        plan: What to do.
        out: The folder of all runs.
        command: How to run it again, for the report.
        warn: Called with a line for each cell that is damaged; by default it becomes a Python warning.
        executor: What computes the cells; by default this process, as the plan says.

    Raises:
        CannotWrite: The disk is full or cannot be written.
        CellError: A cell was removed or damaged after it was computed or checked.
        RunError: The engine cannot be had, its workers see another run, or cells follow each other.
        WorkersLost: A cell has ended all workers that computed it.
        KeyboardInterrupt: And whatever else a cell raises. Cells that are done stay, in this case too.
    """
    if executor is not None:
        _check_apart(plan)
    begun = _Begun.of(plan, out, command)
    kept = begun.compute(_missing(begun.folder, begun.cells, warn), executor)
    return begun.finished(kept)


def run_shard(
    plan: Plan,
    out: Path,
    command: str,
    shard: Shard,
    warn: Callable[[str], None] = _warn,
    executor: Executor | None = None,
) -> Finished | Unfinished:
    """Compute a share of what is missing or damaged. Draw the report if then nothing is missing any more.

    For processes that something else starts, on one machine or many, with one folder of all runs.

    Args:
        plan: What to do, the same for all of them.
        out: The folder of all runs.
        command: How to run all of it again, for the report.
        shard: Which share.
        warn: Called with a line for each cell of the share that is damaged; by default it becomes a Python warning.
        executor: What computes the cells; by default this process, as the plan says.

    Raises:
        CannotWrite: The disk is full or cannot be written.
        CellError: A cell was removed or damaged after it was computed or checked.
        RunError: The engine cannot be had, its workers see another run, or cells follow each other.
        WorkersLost: A cell has ended all workers that computed it.
        KeyboardInterrupt: And whatever else a cell raises. Cells that are done stay, in this case too.
    """
    _check_apart(plan)
    begun = _Begun.of(plan, out, command)
    kept = begun.compute(_missing(begun.folder, shard.of(begun.cells), warn), executor)
    missing = len(_missing(begun.folder, begun.cells, lambda message: None))
    return begun.unfinished(kept, shard, missing) if missing else begun.finished(kept)


def remaining(plan: Plan, out: Path, shard: Shard | None = None) -> dict[str, int]:
    """How much of a plan is to be computed, as it stands now: numbers of cells by what there is of them.

    Nothing is written. Cells that are damaged count as those that are missing.

    Args:
        plan: What to do.
        out: The folder of all runs.
        shard: The share whose cells are counted; by default all are.
    """
    folder, cells = RunFolder.of(plan, out), plan.cells()
    if shard is not None:
        cells = shard.of(cells)
    missing = _missing(folder, cells, lambda message: None)
    others = OtherRuns(folder.path, plan.schema(), missing)
    held = [others.held(cell) for cell in missing]
    return {
        "cells": len(cells),
        "cells there": len(cells) - len(missing),
        "cells that other runs hold": sum(each.whole for each in held),
        "cells that they hold in part": sum(bool(each.records) and not each.whole for each in held),
    }


@dataclass(frozen=True)
class _Begun:
    """A run whose folder is there, and says what it is for."""

    plan: Plan
    folder: RunFolder
    cells: Sequence[Cell]
    manifest: Manifest
    command: str
    since: float

    @classmethod
    def of(cls, plan: Plan, out: Path, command: str) -> _Begun:
        since = time.monotonic()
        folder, cells = RunFolder.of(plan, out), plan.cells()
        manifest = plan.manifest().telling(_provenance(folder))
        folder.begin(manifest, command, cells)
        return cls(plan, folder, cells, manifest, command, since)

    def compute(self, cells: Sequence[Cell], executor: Executor | None) -> list[ReuseStats]:
        work = CellRunner(self.folder, OtherRuns(self.folder.path, self.plan.schema(), cells))
        with progress() as bar:
            shown = bar.add_task("", total=sum(cell.ticks for cell in cells), visible=bool(cells))
            return (executor or _engine(self.plan)).do(work, cells, _BarView(bar, shown))

    def finished(self, kept: Sequence[ReuseStats]) -> Finished:
        folder, manifest = self.folder, self.manifest
        report = manifest.report(folder.collect([cell.name for cell in self.cells]))
        page = write_report(report, folder.path, manifest.details, self.command)
        return Finished(folder.path, page, report, _computed(kept), self._seconds(), ReuseStats.all_of(kept))

    def unfinished(self, kept: Sequence[ReuseStats], shard: Shard, missing: int) -> Unfinished:
        taken = ReuseStats.all_of(kept)
        return Unfinished(self.folder.path, shard, len(self.cells), missing, _computed(kept), self._seconds(), taken)

    def _seconds(self) -> float:
        return time.monotonic() - self.since


@dataclass(frozen=True)
class _BarView:
    """A bar on the terminal, for engines."""

    bar: Progress
    task: TaskID

    def show(self, label: str) -> None:
        self.bar.update(self.task, description=label)

    def advance(self, ticks: int) -> None:
        self.bar.advance(self.task, ticks)


def _check_apart(plan: Plan) -> None:
    """Refuse to have cells computed apart from each other that follow each other."""
    if any(isinstance(cell, DependentCell) for cell in plan.cells()):
        raise RunError(
            f"the rounds of {plan.analysis.name} follow from each other, so one process computes them in order: it has "
            "no shards, and no workers"
        )


def _engine(plan: Plan) -> Executor:
    """This process, in the way that the plan allows."""
    concurrency = plan.concurrency()
    return Serial() if concurrency is None else Threads(concurrency)


def _computed(kept: Sequence[ReuseStats]) -> int:
    """How many of the cells that were kept were computed, whole or in part."""
    return sum(not taken.cells for taken in kept)


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
