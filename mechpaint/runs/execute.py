"""Compute what is missing of a run, or a share of it, and draw the report."""

from __future__ import annotations

import dataclasses
import platform
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from rich.progress import Progress, TaskID

from mechpaint.display.progress import progress
from mechpaint.errors import DamagedCell, MissingCell, RunError
from mechpaint.files import remove_leftovers
from mechpaint.plugins import Registry
from mechpaint.plugins import registry as known_plugins
from mechpaint.runs.cells import Cells
from mechpaint.runs.executors import CellRunner, Executor, Serial, Threads
from mechpaint.runs.fingerprint import VERSIONS_THAT_MATTER, plain, plugin_versions, versions
from mechpaint.runs.manifest import Manifest
from mechpaint.runs.plans.plan import Cell, DependentCell, Left, Plan, Shard
from mechpaint.runs.request import Request
from mechpaint.runs.reuse import OtherRuns, ReuseStats, items_of
from mechpaint.runs.run import Run, Work


def run(
    plan: Plan,
    out: Path,
    command: str,
    warn: Callable[[str], None] | None = None,
    executor: Executor | None = None,
    shard: Shard | None = None,
    *,
    request: Request | None = None,
    registry: Registry | None = None,
) -> Run:
    """Compute what is missing or damaged of a plan, or of a shard of it; draw the report once nothing is missing.

    What other runs in the folder hold is reused. Several processes may run the same plan at the same time; each takes
    the cells that another has finished. Cells that are done stay, whatever a cell raises. `warn` is called with a line
    for each damaged cell; by default that is a Python warning.
    """
    began = time.monotonic()
    if executor is not None or shard is not None:
        _check_independent(plan)
    cells, folder = plan.cells(), plan.stored_cells(out)
    manifest = begin(plan, folder, cells, command, request)
    asked = cells if shard is None else shard.of(cells)
    missing = _missing(folder, asked, warn or _warn)
    reused = _compute(plan, folder, missing, executor)
    computed = sum(not stats.cells for stats in reused)
    done = Run(folder.path, manifest, registry or known_plugins(), kind=type(plan.analysis))
    if shard is None or not _missing(folder, cells, lambda message: None):
        done.draw_if_changed()
    return done.replaced(work=Work(computed, time.monotonic() - began, ReuseStats.all_of(reused)))


def begin(plan: Plan, folder: Cells, cells: Sequence[Cell], command: str, request: Request | None) -> Manifest:
    """Make the run folder and write `run.json`. What a killed process left half written goes."""
    plugins = plugin_versions(plan.made_of())
    named = ", ".join(f"{name} {number}" for name, number in versions(plugins).items())
    inputs = plan.report_inputs().with_details([("versions", named), ("fingerprint", folder.path.name)])
    model = inputs.model
    manifest = Manifest(
        analysis=plan.analysis.name,
        model=None if model is None else model.name,
        command=command,
        request=None if request is None else dataclasses.asdict(request),
        config=plain(plan.config()),
        environment=environment(plugins),
        routes={} if model is None else {label: str(route) for label, route in model.routes.items()},
        cells={cell.name: cell.basis for cell in cells},
        items=items_of(cells),
        report=inputs.serialized(),
    )
    remove_leftovers(folder.path)
    manifest.write(folder.path)
    return manifest


def environment(plugins: Mapping[str, str]) -> dict[str, Any]:
    """Versions, platform, threads and accelerator."""
    import torch

    return {
        "versions": {name: version(name) for name in (*VERSIONS_THAT_MATTER, "datasets", "numpy")},
        "plugins": dict(plugins),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "threads": torch.get_num_threads(),
        "accelerator": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
    }


def forecast(plan: Plan, out: Path, shard: Shard | None = None) -> dict[str, Any]:
    """Forecast what is left of a plan, or of a shard of it, and count the cells that are there. Nothing is written."""
    counts, left = remaining(plan, out, shard)
    return plan.forecast(left) | counts


def remaining(plan: Plan, out: Path, shard: Shard | None = None) -> tuple[dict[str, int], Left]:
    """Count the cells of a plan, or a shard of it, that are there or in other runs; and what is left to compute."""
    folder, cells = plan.stored_cells(out), plan.cells()
    if shard is not None:
        cells = shard.of(cells)
    missing = _missing(folder, cells, lambda message: None)
    others = OtherRuns(folder.path, plan.schema(), missing)
    cached = [others.cached(cell) for cell in missing]
    left = {cell.name: each.records for cell, each in zip(missing, cached, strict=True) if not each.whole}
    counts = {
        "cells": len(cells),
        "cells there": len(cells) - len(missing),
        "cells that other runs hold": sum(each.whole for each in cached),
        "cells that they hold in part": sum(bool(each.records) and not each.whole for each in cached),
    }
    return counts, left


def _compute(plan: Plan, folder: Cells, cells: Sequence[Cell], executor: Executor | None) -> list[ReuseStats]:
    """Compute cells, with a progress bar."""
    runner = CellRunner(folder, OtherRuns(folder.path, plan.schema(), cells))
    concurrency = plan.concurrency()
    chosen = executor or (Serial() if concurrency is None else Threads(concurrency))
    # where one cell is computed after the other, it is known whose ticks they are
    costs = {cell.label: cell.tick_cost for cell in cells} if isinstance(chosen, Serial) else {}
    total = sum(cell.ticks * costs.get(cell.label, 1.0) for cell in cells)
    with progress() as bar:
        ticks = sum(cell.ticks for cell in cells)
        task = bar.add_task("", total=total, visible=bool(cells), done=0, of=ticks)
        return chosen.do(runner, cells, _BarView(bar, task, costs))


@dataclass
class _BarView:
    """A bar on the terminal, for executors: as long as the work costs, with a count of its ticks."""

    bar: Progress
    task: TaskID
    costs: Mapping[str, float]
    cost: float = 1.0
    done: int = 0

    def show(self, label: str) -> None:
        self.cost = self.costs.get(label, 1.0)
        self.bar.update(self.task, description=label)

    def advance(self, ticks: int) -> None:
        self.done += ticks
        self.bar.update(self.task, advance=ticks * self.cost, done=self.done)


def _check_independent(plan: Plan) -> None:
    """Refuse to compute cells apart from each other that depend on each other."""
    if any(isinstance(cell, DependentCell) for cell in plan.cells()):
        raise RunError(
            f"the rounds of {plan.analysis.name} follow from each other, so one process computes them in order: it has "
            "no shards, and no workers"
        )


def _missing(folder: Cells, cells: Sequence[Cell], warn: Callable[[str], None]) -> list[Cell]:
    """The cells that are not there, or damaged."""
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


def _warn(message: str) -> None:
    warnings.warn(message, stacklevel=4)  # the line that called `run`
