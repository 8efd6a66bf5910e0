"""Two workers of Ray against one: `python -m tests.benchmarks.ray_workers`, about three minutes on two free cores.

The same run of Gemma-3-270M, all layers and each layer left out, on 128 items: four cells of much the same size. What
is timed is computing, from the moment the first worker gets its first cell until the last cell is kept, and the whole,
in which Ray starts, each worker imports everything and loads the model, and the report is drawn.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

import mechpaint as mp
from mechpaint.runs.execute import run
from mechpaint.runs.executors import Bar, CellRunner
from mechpaint.runs.plans.plan import Cell
from mechpaint.runs.plans.route_plan import RoutePlan, Settings
from mechpaint.runs.plans.routed_model import RoutedModel
from mechpaint.runs.ray import Ray
from mechpaint.runs.run_folder import ReuseStats
from mechpaint.tasks import Facts
from tests.mechpaint.runs.surviving import Lesions

ITEMS = 128


def planned() -> RoutePlan:
    """What every worker makes."""
    return RoutePlan.of(Lesions(), RoutedModel(mp.load("gemma-3-270m"), "gemma-3-270m"), Settings((Facts(),), ITEMS))


@dataclass
class Timed:
    """An engine, and how long it computes."""

    engine: Ray
    began: float = field(default=0.0, init=False)
    ended: float = field(default=0.0, init=False)

    def do(self, work: CellRunner, cells: Sequence[Cell], bar: Bar) -> list[ReuseStats]:
        """Compute cells, and look at the clock."""
        return self.engine.do(work, cells, _Noting(self, bar, {cell.label for cell in cells}))

    @property
    def seconds(self) -> float:
        """From the first cell's beginning to the last one's end."""
        return self.ended - self.began


@dataclass(frozen=True)
class _Noting:
    """A bar that notes when the first cell is handed out, and when something was last done."""

    timed: Timed
    bar: Bar
    labels: set[str]

    def show(self, label: str) -> None:
        if label in self.labels and not self.timed.began:
            self.timed.began = time.perf_counter()
        self.bar.show(label)

    def advance(self, ticks: int) -> None:
        self.timed.ended = time.perf_counter()
        self.bar.advance(ticks)


def timed(plan: RoutePlan, workers: int, threads: int) -> tuple[float, float, bytes]:
    """Seconds of computing and of the whole, and the table's bytes."""
    engine = Timed(Ray(planned, workers, "local", threads, gpus=False))
    with tempfile.TemporaryDirectory() as out:
        began = time.perf_counter()
        finished = run(plan, Path(out), "python -m tests.benchmarks.ray_workers", engine=engine)
        whole = time.perf_counter() - began
        return engine.seconds, whole, (finished.path / "results.parquet").read_bytes()


def main() -> None:
    """Measure and print."""
    torch.set_num_threads(1)  # of this process, which waits
    plan = planned()
    found = {(workers, threads): timed(plan, workers, threads) for workers, threads in ((1, 1), (2, 1), (1, 2))}
    computing, whole, results = found[1, 1]
    table = Table("workers", "threads of each", "computing", "the whole", title=f"{len(plan.cells())} cells on Ray")
    for (workers, threads), (seconds, with_start, _) in found.items():
        shown = [f"{seconds:.1f} s  ({computing / seconds:.2f}x)", f"{with_start:.1f} s  ({whole / with_start:.2f}x)"]
        table.add_row(str(workers), str(threads), *shown)
    Console().print(table)
    same = "the same" if found[2, 1][2] == results else "ANOTHER"
    print(f"wanted: two workers compute at least 1.6x as fast as one. Their table is {same}, byte by byte.")


if __name__ == "__main__":
    main()
