"""An engine of several processes and machines: workers of a Ray cluster that each hold the model.

Ray (https://docs.ray.io) starts the workers, finds places for them, and says which have ended. What a worker gets is a
description of the plan, and names of cells. It makes the plan itself, and keeps cells in the run folder itself, with
the code that does so in one process. So no weights and no records are sent, and every machine must see the run folder.

Ray is imported where it is needed: it is an extra, `pip install 'mechpaint[ray]'`.
"""

from __future__ import annotations

import importlib.util
import os
import socket
from collections import Counter, deque
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import Any

import torch

from mechpaint.errors import RunError, WorkersLost
from mechpaint.runs.executors import Bar, Cancelled, CellRunner, Executor
from mechpaint.runs.fingerprint import VERSIONS_THAT_MATTER
from mechpaint.runs.manifest import RUN
from mechpaint.runs.plans.plan import Cell, Plan, processors
from mechpaint.runs.reuse import OtherRuns, ReuseStats

_LIVES = 3
"""After so many workers that one cell, or making the plan, has ended, the run is given up."""
_SECONDS_A_LOOK = 0.5
_SECONDS_TO_STOP = 30
_SECONDS_TO_ANSWER = 10
_BYTES_OF_MESSAGES = 100 * 2**20
"""The shared memory of a local Ray. Its default is a third of all memory; our messages are small."""


@dataclass(frozen=True)
class Ray(Executor):
    """Workers of a Ray cluster: processes that each make the plan, hold the model, and compute one cell at a time.

    Where Ray runs in this process already, that is the cluster, and goes on. A worker that ends, as by a lack of memory
    or with its machine, is replaced, and its cell computed again.

    Args:
        make_plan: Makes the plan, the same one in every worker. It is pickled by Ray: a function at the top of a module
            that workers can import, or an object that can be called, and is small.
        workers: How many; by default one for each GPU of the cluster, or where there is none one for each processor.
            Those for which there is no room wait for it, while others work.
        address: The cluster, such as `10.0.0.1:6379` or `auto`; by default what the environment's RAY_ADDRESS says, or
            else this machine alone.
        threads: How many threads torch has in each worker; by default the cluster's processors over the workers.
            Workers whose plan computes several cells at once in threads have 1.
        gpus: Whether each worker gets a GPU of its own, where the cluster has any.

    Raises:
        RunError: Ray is not installed, or there can be no such number of workers or threads.
    """

    make_plan: Callable[[], Plan]
    workers: int | None = None
    address: str | None = None
    threads: int | None = None
    gpus: bool = True

    def __post_init__(self) -> None:
        for name, number in (("workers", self.workers), ("threads", self.threads)):
            if number is not None and number < 1:
                raise RunError(f"the {name} must be 1 or more, got {number}")
        if importlib.util.find_spec("ray") is None:
            raise RunError("the engine ray needs Ray, which is not installed: pip install 'mechpaint[ray]'")

    def do(self, work: CellRunner, cells: Sequence[Cell], bar: Bar) -> list[ReuseStats]:
        """Compute cells and put each in its place. Nothing is started where there are none."""
        if not cells:
            return []
        bar.show("waiting for workers")
        with _connected(self.address, max(self.workers or 1, processors())) as ray:
            resources = ray.cluster_resources()
            gpus, cpus = (int(resources.get(kind, 0)) for kind in ("GPU", "CPU"))
            gpus = gpus if self.gpus else 0
            workers = self.workers or gpus or max(1, cpus)
            threads = self.threads or max(1, cpus // workers)
            told = (self.make_plan, work.folder.path.resolve(), [cell.name for cell in cells], threads, Path.cwd())
            places = {"num_cpus": 1, "num_gpus": min(1, gpus), "scheduling_strategy": "SPREAD", "max_concurrency": 2}
            return _Crew(ray, lambda: ray.remote(_Worker).options(**places).remote(*told), bar).do(cells, workers)


@dataclass
class _Shift:
    """A worker's current job: a cell, or the plan."""

    worker: Any
    cell: Cell | None
    told: int = 0


class _Crew:
    """The workers of a run, and what each is at.

    Args:
        ray: The module.
        hired: Starts a worker.
        bar: What to show the progress on.
    """

    def __init__(self, ray: Any, hired: Callable[[], Any], bar: Bar) -> None:
        self._ray = ray
        self._hired = hired
        self._bar = bar
        self._waiting: deque[Cell] = deque()
        self._at: dict[Any, _Shift] = {}
        self._idle: list[Any] = []
        self._ends: Counter[str] = Counter()
        self._kept: list[ReuseStats] = []

    def do(self, cells: Sequence[Cell], workers: int) -> list[ReuseStats]:
        """Compute cells, those with much work first, so that in the end none waits long for another."""
        self._waiting.extend(sorted(cells, key=lambda cell: cell.ticks, reverse=True))
        try:
            for _ in range(min(workers, len(cells))):
                self._hire()
            while self._waiting or any(shift.cell for shift in self._at.values()):
                ready, _ = self._ray.wait(list(self._at), timeout=_SECONDS_A_LOOK)
                for reference in ready:
                    self._take(reference)
                while self._waiting and self._idle:
                    self._hand_out(self._waiting.popleft(), self._idle.pop())
                self._look()
        finally:
            self._dismiss()
        return self._kept

    def _hire(self) -> None:
        worker = self._hired()
        self._at[worker.prepare.remote()] = _Shift(worker, None)

    def _hand_out(self, cell: Cell, worker: Any) -> None:
        self._bar.show(cell.label)
        self._at[worker.do.remote(cell.name)] = _Shift(worker, cell)

    def _take(self, reference: Any) -> None:
        """See what has become of a shift."""
        shift = self._at.pop(reference)
        try:
            kept = self._ray.get(reference)
        except self._ray.exceptions.RayTaskError as error:  # raised by the plan or the cell, as in one process
            raise error.cause from error
        except self._ray.exceptions.RayError as error:
            self._replace(shift, error)
            return
        self._idle.append(shift.worker)
        if shift.cell is not None:
            self._kept += kept
            self._bar.advance(shift.cell.ticks - shift.told)

    def _replace(self, shift: _Shift, error: Exception) -> None:
        """Have the cell of a worker that has ended computed again, by whoever is free first."""
        self._ray.kill(shift.worker)  # it may be there, and only out of reach
        self._bar.advance(-shift.told)
        what = "making the plan" if shift.cell is None else f"the cell {shift.cell.name} ({shift.cell.label})"
        self._ends[what] += 1
        if self._ends[what] == _LIVES:
            raise WorkersLost(
                f"{what} has ended {_LIVES} workers, and Ray says of the last: {_first_line(error)} Is the memory "
                "enough for each? Fewer workers (--workers), or fewer rows at once (--batch-size), need less. What was "
                "done is kept"
            ) from error
        if shift.cell is not None:
            self._waiting.appendleft(shift.cell)
        self._hire()

    def _look(self) -> None:
        """Move the bar by what workers have done since. Of one that does not answer in time there is a next time."""
        busy = {shift.worker.told.remote(): shift for shift in self._at.values() if shift.cell}
        if not busy:
            return
        ready, _ = self._ray.wait(list(busy), num_returns=len(busy), timeout=_SECONDS_A_LOOK)
        for reference in ready:
            shift = busy[reference]
            try:
                name, told = self._ray.get(reference)
            except self._ray.exceptions.RayError:  # the worker has ended, which its cell will tell
                continue
            if shift.cell is not None and name == shift.cell.name:
                self._bar.advance(told - shift.told)
                shift.told = told

    def _dismiss(self) -> None:
        """End all workers: those that compute where they next advance, so that no file is left half written."""
        busy = [reference for reference, shift in self._at.items() if shift.cell]
        for reference in busy:
            self._at[reference].worker.stop.remote()
        if busy:
            self._ray.wait(busy, num_returns=len(busy), timeout=_SECONDS_TO_STOP)
        for worker in [*self._idle, *(shift.worker for shift in self._at.values())]:
            self._ray.kill(worker)


class _Worker:
    """A process of its own: makes the plan, then computes the cells that it is handed, one at a time.

    `told` and `stop` are answered meanwhile, in a second thread.
    """

    def __init__(
        self, make_plan: Callable[[], Plan], folder: Path, names: Sequence[str], threads: int, at: Path
    ) -> None:
        self._make_plan = make_plan
        self._folder = folder
        self._names = names
        self._threads = threads
        self._at = at
        self._stop = Event()
        self._told = ("", 0)

    def prepare(self) -> None:
        """Make the plan, and see that it is the one that is asked for."""
        try:
            os.chdir(self._at)  # paths of data and models are as they were given
        except OSError as error:
            raise RunError(f"{error.strerror} on {socket.gethostname()}: {self._at}; {_SHARED}") from error
        if not (self._folder / RUN).is_file():
            raise RunError(f"there is no run folder {self._folder} on {socket.gethostname()}; {_SHARED}")
        plan = self._make_plan()
        folder = plan.stored_cells(self._folder.parents[1])
        if folder.path != self._folder:
            raise RunError(
                f"on {socket.gethostname()} the plan is of another run, {folder.path.name} instead of "
                f"{self._folder.name}; expected the same model, data and plugins there, and the same versions of "
                + ", ".join(VERSIONS_THAT_MATTER)
            )
        self._threads = self._threads if plan.concurrency() is None else 1
        cells = {cell.name: cell for cell in plan.cells()}
        self._cells = {name: cells[name] for name in self._names}
        self._work = CellRunner(folder, OtherRuns(folder.path, plan.schema(), list(self._cells.values())))

    def do(self, name: str) -> list[ReuseStats]:
        """Compute a cell and put it in its place."""
        torch.set_num_threads(self._threads)
        self._told = (name, 0)

        def advance(ticks: int) -> None:
            if self._stop.is_set():
                raise Cancelled
            self._told = (name, self._told[1] + ticks)

        try:
            return self._work.do(self._cells[name], advance)
        except Cancelled:
            return []

    def told(self) -> tuple[str, int]:
        """The cell that it is at, and how many of its ticks are done."""
        return self._told

    def stop(self) -> None:
        """Stop where the cell next advances."""
        self._stop.set()


_SHARED = "expected a folder that all machines of the cluster share"


def _require_answer(address: str) -> None:
    """Raise an OSError where nothing answers at a host and port, at which Ray would go on trying for minutes."""
    host, _, port = address.rpartition("://")[2].rpartition(":")
    if host and port.isdigit():
        socket.create_connection((host, int(port)), timeout=_SECONDS_TO_ANSWER).close()


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]


@contextmanager
def _connected(address: str | None, cpus: int) -> Generator[Any]:
    """Ray, connected to a cluster, which is this machine alone if none is named."""
    ray: Any = importlib.import_module("ray")
    if ray.is_initialized():
        yield ray
        return
    where = address or os.environ.get("RAY_ADDRESS") or "local"
    local = {"num_cpus": cpus, "include_dashboard": False, "object_store_memory": _BYTES_OF_MESSAGES}
    try:
        _require_answer(where)
        with _no_usage_statistics():
            ray.init(where, log_to_driver=False, logging_level="ERROR", **(local if where == "local" else {}))
    except (OSError, ValueError, RuntimeError) as error:
        raise RunError(f"cannot use the Ray cluster {where!r}: {_first_line(error)}") from error
    try:
        yield ray
    finally:
        ray.shutdown()


@contextmanager
def _no_usage_statistics() -> Generator[None]:
    """Ray would send some to its makers. It says so by this variable alone, to the processes that it starts."""
    name = "RAY_USAGE_STATS_ENABLED"
    before = os.environ.get(name)
    os.environ[name] = "0"
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before
