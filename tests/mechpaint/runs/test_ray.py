"""Runs whose cells Ray's workers compute: the same as in one process, whatever happens to a worker."""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import torch

from mechpaint.errors import RunError, TaskError, WorkersLost
from mechpaint.runs import ray as ray_engine
from mechpaint.runs.execute import begin, run
from mechpaint.runs.executors import CellRunner
from mechpaint.runs.ray import Ray
from mechpaint.runs.reuse import OtherRuns
from tests.mechpaint.runs.elsewhere import Asked, AskedEventful, AskedWaiting, DieOnce, break_down, die, fail
from tests.written import written

LIMIT = 100
CELLS = 8
THIRD = "00-00064-00096"
COMMAND = "mechpaint analyze lesions"

with_ray = pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="Ray is not installed")


@pytest.fixture(scope="module")
def cluster():
    """A Ray of this process, which the runs find and leave as it is."""
    import ray

    with pytest.MonkeyPatch.context() as here:
        here.setenv("RAY_USAGE_STATS_ENABLED", "0")
        ray.init("local", num_cpus=2, include_dashboard=False, log_to_driver=False, object_store_memory=100 * 2**20)
    yield ray
    assert ray.is_initialized()
    ray.shutdown()


@pytest.fixture
def asked(folder):
    """What the runs here are asked."""
    return Asked(folder, LIMIT)


@pytest.fixture(scope="module")
def whole(folder, tmp_path_factory):
    """All files of a run in one process, with one thread of torch."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    finished = run(Asked(folder, LIMIT)(), tmp_path_factory.mktemp("whole"), COMMAND)
    torch.set_num_threads(threads)
    assert finished.work.cells == CELLS
    return written(finished.path)


def _cells(out: Path) -> set[str]:
    return {path.stem for path in out.rglob("cells/*") if not path.name.startswith(".")}


@dataclass
class Seen:
    """A bar that nobody looks at, and what is done when it moves."""

    ticks: int = 0
    labels: list[str] = field(default_factory=list)

    def show(self, label: str) -> None:
        self.labels.append(label)

    def advance(self, ticks: int) -> None:
        self.ticks += ticks


def _begun(plan, out):
    """A run that is begun, and the bar that its engine is given."""
    folder = plan.stored_cells(out)
    begin(plan, folder, plan.cells(), COMMAND, None)
    return CellRunner(folder, OtherRuns(folder.path, plan.schema(), plan.cells())), plan.cells()


@with_ray
@pytest.mark.slow
@pytest.mark.usefixtures("cluster")
def test_two_workers_leave_the_same_files(asked, tmp_path, whole):
    finished = run(asked(), tmp_path, COMMAND, executor=Ray(asked, workers=2, threads=1))
    assert finished.work.cells == CELLS
    assert written(finished.path) == whole
    again = run(asked(), tmp_path, COMMAND, executor=Ray(asked, workers=2, threads=1))
    assert again.work.cells == 0


@with_ray
@pytest.mark.slow
@pytest.mark.usefixtures("cluster")
@pytest.mark.parametrize("workers", [1, 2])
def test_a_worker_that_is_killed_in_a_cell_is_replaced(asked, tmp_path, whole, workers):
    mark = tmp_path / "killed"
    eventful = AskedEventful(asked, DieOnce(mark))
    finished = run(asked(), tmp_path / "runs", COMMAND, executor=Ray(eventful, workers, threads=1))
    assert mark.exists()
    assert finished.work.cells == CELLS
    assert written(finished.path) == whole


@with_ray
@pytest.mark.slow
@pytest.mark.usefixtures("cluster")
def test_the_bar_comes_to_all_ticks_though_a_worker_is_killed(asked, tmp_path):
    work, cells = _begun(asked(), tmp_path / "runs")
    bar = Seen()
    kept = Ray(AskedEventful(asked, DieOnce(tmp_path / "killed")), 2, threads=1).do(work, cells, bar)
    assert len(kept) == CELLS
    assert bar.ticks == sum(cell.ticks for cell in cells)
    assert set(bar.labels) == {"waiting for workers", *(cell.label for cell in cells)}


@with_ray
@pytest.mark.slow
@pytest.mark.usefixtures("cluster")
def test_the_bar_moves_while_a_cell_is_computed(tmp_path):
    seen = tmp_path / "seen"

    class Telling(Seen):
        def advance(self, ticks):
            super().advance(ticks)
            if self.ticks == 1:
                seen.touch()

    asked, bar = AskedWaiting(seen), Telling()
    work, cells = _begun(asked(), tmp_path / "runs")
    assert len(Ray(asked, 1).do(work, cells, bar)) == 1
    assert bar.ticks == 3


@with_ray
@pytest.mark.slow
@pytest.mark.usefixtures("cluster")
def test_a_cell_that_ends_every_worker_is_named_and_the_others_are_kept(asked, tmp_path, whole):
    with pytest.raises(WorkersLost, match=rf"the cell {THIRD} \(facts, items 65 to 96\) has ended 3 workers") as told:
        run(asked(), tmp_path, COMMAND, executor=Ray(AskedEventful(asked, die), 2, threads=1))
    assert "What was done is kept" in str(told.value)
    done = _cells(tmp_path)
    assert THIRD not in done
    assert done
    finished = run(asked(), tmp_path, COMMAND)
    assert finished.work.cells == CELLS - len(done)


@with_ray
@pytest.mark.slow
@pytest.mark.usefixtures("cluster")
@pytest.mark.parametrize(
    ("happens", "error", "words"),
    [
        (fail, TaskError, "^the third cell's items are none that can be asked$"),
        (break_down, ZeroDivisionError, "^a cell divides by zero$"),
    ],
)
def test_what_a_cell_raises_comes_as_it_is(asked, tmp_path, happens, error, words):
    with pytest.raises(error, match=words) as raised:
        run(asked(), tmp_path, COMMAND, executor=Ray(AskedEventful(asked, happens), 2, threads=1))
    assert type(raised.value) is error
    assert happens.__name__ in str(raised.value.__cause__)  # where it was, on that machine
    assert THIRD not in _cells(tmp_path)
    assert not list(tmp_path.rglob(".unfinished-*"))
    assert not list(tmp_path.rglob("results.parquet"))


@with_ray
@pytest.mark.slow
@pytest.mark.usefixtures("cluster")
def test_workers_that_see_another_run_are_refused(asked, folder, tmp_path):
    with pytest.raises(RunError, match=r"the plan is of another run, \w{16} instead of \w{16}; expected the same"):
        run(asked(), tmp_path, COMMAND, executor=Ray(Asked(folder, LIMIT - 1), 1))
    assert not _cells(tmp_path)


@with_ray
@pytest.mark.slow
@pytest.mark.usefixtures("cluster")
def test_what_the_plan_raises_in_a_worker_comes_as_it_is(asked, tmp_path):
    with pytest.raises(TaskError, match="the limit must be 1 item or more, got 0"):
        run(asked(), tmp_path, COMMAND, executor=Ray(Asked(asked.model, 0), 1))


@pytest.mark.parametrize(
    ("settings", "words"),
    [({"workers": 0}, "workers must be 1 or more, got 0"), ({"threads": -1}, "threads must be 1")],
)
def test_numbers_that_cannot_be_are_refused(asked, settings, words):
    with pytest.raises(RunError, match=words):
        Ray(asked, **settings)


def test_where_ray_is_missing_the_error_says_how_to_get_it(asked, monkeypatch):
    monkeypatch.setattr(ray_engine.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(RunError, match=r"not installed: pip install 'mechpaint\[ray\]'"):
        Ray(asked)


MAIN = [sys.executable, "-c", "from mechpaint.cli import main; main()"]
PLUGIN = '''
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar
import os

from mechpaint.analysis import Experiment

@dataclass(frozen=True)
class Endless(Experiment):
    """Trials of which the first alone ends."""

    name: ClassVar[str] = "endless"
    question: ClassVar[str] = "Is it over?"
    columns: ClassVar = {"value": int}

    def trials(self):
        return {"short": 2000, "long": 1000, "longer": 1000}

    def measure(self, label, advance):
        Path(f"{label}.pid").write_text(str(os.getpid()))
        while label != "short":
            advance(0)
        return [{"value": 1}]

    def report(self, table):
        raise AssertionError

def register(registry):
    registry.add_analysis(Endless)
'''


def _as_in_a_terminal_with_two_processors() -> None:
    """What a shell starts in the background ignores Ctrl-C, and its children do."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:2])


def _started(*arguments, cwd):
    root = Path(__file__).parents[3]
    return subprocess.Popen(
        [*MAIN, *map(str, arguments)],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"},
        preexec_fn=_as_in_a_terminal_with_two_processors,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def _is_there(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@with_ray
@pytest.mark.slow
def test_ctrl_c_ends_the_workers_and_keeps_what_is_done(tmp_path):
    """A process of its own, which starts Ray, and an analysis of a file, which workers load too."""
    (tmp_path / "endless.py").write_text(PLUGIN)
    process = _started("analyze", "endless", "--plugin", "endless.py", "--engine", "ray", "--workers", 2, cwd=tmp_path)
    workers = [tmp_path / "long.pid", tmp_path / "longer.pid"]
    until = time.monotonic() + 300
    while not all(path.exists() and path.read_text() for path in workers) and process.poll() is None:
        assert time.monotonic() < until
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    stdout, stderr = process.communicate(timeout=120)
    assert process.returncode == 130, stderr
    assert stdout == ""
    assert stderr == "interrupted: what was done is kept; give the same command again to go on\n"
    assert _cells(tmp_path) == {"00-short"}
    assert not list(tmp_path.rglob(".unfinished-*"))
    pids = {int(path.read_text()) for path in workers}
    assert len(pids) == 2
    assert not any(map(_is_there, pids))


@with_ray
@pytest.mark.slow
def test_the_command_line_prints_the_same_from_two_workers(folder, tmp_path):
    given = ["analyze", "painters", "--model", folder, *"--task facts --limit 40 --start-layers 1 --seeds 1".split()]
    here, _ = _started(*given, "--out", "here", cwd=tmp_path).communicate()
    there, told = _started(*given, "--out", "there", "--engine", "ray", "--workers", 2, cwd=tmp_path).communicate()
    assert there.splitlines()[:-2] == here.splitlines()[:-2]
    tables = [next(tmp_path.glob(f"{out}/painters/*/results.parquet")).read_bytes() for out in ("here", "there")]
    assert tables[0] == tables[1]
    assert "2 cells computed in" in there
    assert not [line for line in told.splitlines() if line and not line.startswith("Loading weights")]
