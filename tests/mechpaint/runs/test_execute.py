"""Runs on disk: complete or not there, taken up where they stopped."""

from __future__ import annotations

import io
import json
import os
import re
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest

from mechpaint.analyses.painters import Painters
from mechpaint.errors import CannotWrite, DamagedCell, HookSetError, IncompleteRun, MissingCell, RouteError, TaskError
from mechpaint.files import write_text, written
from mechpaint.hooks import Hooks, ReadAttention, Skip
from mechpaint.planning import calibration
from mechpaint.routes.hookset import HookSet
from mechpaint.routes.prefix_tree import PrefixTree
from mechpaint.routes.route import Route
from mechpaint.runs.cells import Cells, write_checked
from mechpaint.runs.execute import run
from mechpaint.runs.plans.route_plan import RoutePlan, Settings
from mechpaint.runs.plans.routed_model import RoutedModel
from mechpaint.tasks import Facts, IndirectObject, Text

SMALL = Painters(start_layers=(1,), seeds=2)


class Reading(Painters):
    """A hook set that reads, which nothing would look at."""

    def hook_sets(self, n_layers):
        return {"look": ReadAttention()}


def _plan(model, analysis=SMALL, name="tiny", hooks=None, **changed):
    settings = {"tasks": (Facts(), IndirectObject()), "limit": 40, **changed}
    return RoutePlan.of(analysis, RoutedModel(model, name, hooks or HookSet()), Settings(**settings))


def _run(model, out, **changed):
    return run(_plan(model, **changed), out, "mechpaint analyze painters")


def _table(finished):
    return pd.read_parquet(finished.path / "results.parquet").sort_values(["task", "item", "route"], ignore_index=True)


@pytest.fixture(scope="module")
def finished(speaking, tmp_path_factory):
    return _run(speaking, tmp_path_factory.mktemp("runs"))


def test_a_run_leaves_what_the_design_says(finished):
    folder = finished.path
    assert folder.parent.name == "painters"
    for name in ("run.json", "results.parquet", "report.html", "report.md"):
        assert (folder / name).stat().st_size > 0
    for suffix in ("svg", "png"):
        assert (folder / "figures" / f"figure-2.{suffix}").stat().st_size > 1000
    assert len(list((folder / "cells").iterdir())) == finished.work.cells == 4
    assert not [p for p in folder.rglob("*") if p.name.startswith(".")]
    told = json.loads((folder / "run.json").read_text())
    config = told["config"]
    assert config["limit"] == 40
    assert [task["task"] for task in config["tasks"]] == ["facts", "ioi"]
    assert told["environment"]["versions"]["torch"]


def test_results_have_one_row_an_item_and_route(finished):
    table = _table(finished)
    routes = set(finished.manifest.routes.values())
    assert len(table) == 2 * 40 * len(routes)
    assert set(table["route"]) == routes
    assert not table.duplicated(["task", "item", "route"]).any()
    assert table["finite"].all()
    assert set(table["score"]) == {0.0, 1.0}


def test_running_again_computes_nothing_and_changes_no_byte(speaking, finished):
    before = {p: p.read_bytes() for p in finished.path.rglob("*") if p.is_file()}
    again = _run(speaking, finished.path.parents[1])
    assert again.work.cells == 0
    assert again.path == finished.path
    assert {p: p.read_bytes() for p in finished.path.rglob("*") if p.is_file()} == before


def test_its_report_is_drawn_anew_where_no_model_can_be_read(finished, tmp_path):
    script = (
        "import sys\nfor gone in ('transformer_lens', 'transformers', 'datasets'):\n    sys.modules[gone] = None\n"
        "from pathlib import Path\nfrom tests.rebuilt import check_rebuilt\n"
        f"check_rebuilt(Path({str(finished.path)!r}), Path({str(tmp_path / 'again')!r}))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def _other_columns(whole):
    table = pq.read_table(io.BytesIO(whole))
    return write_checked(table.drop_columns("finite"))


def _fewer_rows(whole):
    return write_checked(pq.read_table(io.BytesIO(whole)).slice(1))


def _without_checksum(whole):
    """As cells were written before they had one."""
    out = io.BytesIO()
    pq.write_table(pq.read_table(io.BytesIO(whole)), out, compression="zstd", write_page_checksum=True)
    return out.getvalue()


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda whole: whole[: len(whole) // 2], "is damaged: it has no checksum"),
        (lambda whole: whole[:-1], "is damaged: its checksum is not that of its bytes"),
        (lambda whole: b"", "is damaged: it is empty"),
        (lambda whole: b"PAR1" * 99, "is damaged: it has no checksum"),
        (lambda whole: whole[:100] + bytes([whole[100] ^ 1]) + whole[101:], "is damaged: its checksum is not"),
        (_without_checksum, ".*or it was written before cells had checksums"),
        (_other_columns, "is of another table: expected the columns task string, .*; got task string, "),
        (_fewer_rows, r"has \d+ rows, expected \d+"),
    ],
    ids=["half", "one byte less", "empty", "nonsense", "a flipped bit", "no checksum", "columns", "rows"],
)
def test_what_is_wrong_with_a_cell_is_said(speaking, finished, damage, words):
    plan = _plan(speaking)
    folder = plan.stored_cells(finished.path.parents[1])
    name, rows = plan.cells()[1].name, plan.cells()[1].rows
    cell = finished.path / "cells" / f"{name}.parquet"
    whole = cell.read_bytes()
    assert folder.has(name, rows)
    cell.write_bytes(damage(whole))
    with pytest.raises(DamagedCell, match=rf"the cell {re.escape(str(cell))} {words}"):
        folder.read(name, rows)
    assert not folder.has(name, rows)
    cell.write_bytes(whole)


def test_missing_and_damaged_cells_are_computed_again_and_the_latter_are_named(speaking, finished):
    before = {p: p.read_bytes() for p in finished.path.rglob("*") if p.is_file()}
    removed, *damaged = sorted((finished.path / "cells").iterdir())
    removed.unlink()
    halved, emptied, flipped = damaged
    halved.write_bytes(before[halved][: len(before[halved]) // 2])
    emptied.write_bytes(b"")
    flipped.write_bytes(before[flipped].replace(b"finite", b"finitf", 1))
    with pytest.warns(UserWarning, match="damaged") as told:
        again = _run(speaking, finished.path.parents[1])
    for cell, warning in zip(damaged, told, strict=True):
        assert str(warning.message).startswith(f"the cell {cell} is damaged: ")
        assert str(warning.message).endswith("; it is computed again")
    assert again.work.cells == 4
    assert {p: p.read_bytes() for p in finished.path.rglob("*") if p.is_file()} == before


def test_a_cell_that_cannot_be_read_is_named(speaking, finished):
    cell = sorted((finished.path / "cells").iterdir())[1]
    whole = cell.read_bytes()
    cell.unlink()
    cell.mkdir()
    with (
        pytest.warns(UserWarning, match=r"cannot be read: Is a directory; it is computed again"),
        pytest.raises(CannotWrite, match="Is a directory"),
    ):
        _run(speaking, finished.path.parents[1])
    cell.rmdir()
    cell.write_bytes(whole)


@pytest.mark.parametrize(("damage", "error"), [(Path.unlink, MissingCell), (lambda p: p.write_bytes(b""), DamagedCell)])
def test_a_cell_that_goes_while_others_are_computed_is_told(speaking, tmp_path, monkeypatch, damage, error):
    write = Cells.write

    def write_and_lose(self, cell, records):
        write(self, cell, records)
        if cell.startswith("01-"):
            damage(self.path / "cells" / f"{cell}.parquet")

    monkeypatch.setattr(Cells, "write", write_and_lose)
    with pytest.raises(IncompleteRun, match="01-") as told:
        _run(speaking, tmp_path, limit=8)
    assert isinstance(told.value.__cause__, error)
    assert not list(tmp_path.rglob("results.parquet"))


def test_old_leftovers_of_killed_processes_go_and_those_of_running_ones_stay(speaking, finished):
    left, theirs = finished.path / "cells" / ".unfinished-left.parquet", finished.path / "cells" / ".theirs"
    for path in (left, theirs):
        path.write_bytes(b"half of a c")
    with written(finished.path / "cells" / "new.parquet") as young:
        young.write_bytes(b"half of a c")
        for path in (left, young, theirs):
            os.utime(path, (time.time() - 7200,) * 2)  # by the clock of another machine
        assert _run(speaking, finished.path.parents[1]).work.cells == 0
        assert [path.exists() for path in (left, young, theirs)] == [False, True, True]
    (finished.path / "cells" / "new.parquet").unlink()
    theirs.unlink()


def test_an_interrupted_run_goes_on_where_it_stopped(speaking, finished, tmp_path, monkeypatch):
    write, done = Cells.write, []

    def write_two(self, cell, records):
        if len(done) == 2:
            raise KeyboardInterrupt
        done.append(cell)
        write(self, cell, records)

    monkeypatch.setattr(Cells, "write", write_two)
    with pytest.raises(KeyboardInterrupt):
        _run(speaking, tmp_path)
    assert not list(tmp_path.rglob("results.parquet"))
    monkeypatch.undo()
    again = _run(speaking, tmp_path)
    assert again.work.cells == 2
    pd.testing.assert_frame_equal(_table(again), _table(finished))


def test_other_settings_are_another_run(speaking, llama, finished):
    def fingerprint(model=speaking, **changed):
        plan = _plan(model, **changed)
        return plan.stored_cells(finished.path.parents[1]).path.name

    same = finished.path.name
    assert fingerprint() == same
    assert fingerprint(batch_size=3) == same  # how it is batched is not what is measured
    assert fingerprint(name="another name") == same
    others = [
        fingerprint(limit=39),
        fingerprint(seed=1),
        fingerprint(tasks=(Facts(),)),
        fingerprint(tasks=(Facts(choices=3), IndirectObject())),
        fingerprint(hooks=Skip(0, 0)),
        fingerprint(analysis=Painters(start_layers=(1,), seeds=3)),
    ]
    assert len({same, *others}) == 1 + len(others)


def test_hooks_are_applied_to_every_route(speaking):
    plain, hooked = _plan(speaking), _plan(speaking, hooks=Skip(0, 0))
    for label, route in plain.routes().items():
        assert hooked.routes()[label] == route.without(0, 0)
    assert hooked.routes()["baseline"] == Route.parse("1-5", 6)


@pytest.mark.parametrize(
    ("changed", "error", "words"),
    [
        ({"tasks": ()}, TaskError, "one task or more, each once, got: none"),
        ({"tasks": (Facts(), Facts())}, TaskError, "got: facts, facts"),
        ({"tasks": (Text("none.txt"),)}, TaskError, "there is no file"),
        ({"limit": 0}, TaskError, "1 item or more"),
        ({"hooks": ReadAttention()}, HookSetError, "also reads or hooks"),
        ({"hooks": Hooks([("hook_embed", print)])}, HookSetError, "also reads or hooks"),
        ({"hooks": Skip(0, 9)}, RouteError, "layers 0 to 5"),
        ({"analysis": Painters(start_layers=(3,))}, ValueError, "N=3 does not fit 6 layers"),
        ({"analysis": Reading()}, HookSetError, "'look' of the analysis 'painters' also reads or hooks"),
    ],
)
def test_bad_input_is_refused_before_anything_is_written(speaking, tmp_path, changed, error, words):
    with pytest.raises(error, match=words):
        _run(speaking, tmp_path / "runs", **changed)
    assert not list(tmp_path.iterdir())


def test_a_forecast_counts_what_will_be_run(speaking, monkeypatch):
    monkeypatch.setattr(calibration, "BUDGET", 0.05)
    plan = _plan(speaking, tasks=(Facts(),))
    forecast = plan.forecast()
    ran = []
    handles = [block.register_forward_hook(lambda *_: ran.append(1)) for block in speaking.blocks]
    for cell in plan.cells():
        list(cell.compute(lambda ticks: None))
    for handle in handles:
        handle.remove()
    assert len(ran) == forecast["layer calls"]  # what a layer returns was seen before
    assert forecast["layer calls"] < forecast["layer calls, unshared"]
    assert forecast["minutes"] >= 0
    assert 0 < forecast["weights, GB"] < forecast["memory, GB"] < 10


def test_more_rows_at_once_cost_memory_and_more_routes_time(speaking, monkeypatch):
    def cost(tree, batch_size):
        return Facts().cost(speaking, Facts().parts(items, tree), batch_size)

    monkeypatch.setattr(calibration, "BUDGET", 0.05)
    items = Facts().items(speaking, 20)
    weights = sum(p.numel() * p.element_size() for p in speaking.original_model.parameters())
    short, long = (PrefixTree([Route.of([0] * times, 6)]) for times in (1, 50))
    few, many, longer = cost(short, 4), cost(short, 40), cost(long, 40)
    assert few.memory.weights == many.memory.weights == weights
    assert few.memory.activations < many.memory.activations
    assert 0 < many.seconds < longer.seconds
    assert (longer.layer_calls, longer.batches) == (50 * many.layer_calls, many.batches)


def test_a_cell_advances_by_its_ticks(speaking):
    for cell in _plan(speaking).cells():
        told = []
        records = list(cell.compute(told.append))
        assert sum(told) == cell.ticks == cell.rows == len(records)
        assert len(told) > 1


def test_a_full_disk_leaves_nothing_half_written(tmp_path):
    """The kernel refuses the write, as on a full disk: here because files may not grow beyond a limit."""
    target = tmp_path / "cells" / "a.parquet"
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        with pytest.raises(CannotWrite, match=r"a\.parquet: no space left.*--out"):
            write_text(target, "x" * 10_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, handler)
    assert list(target.parent.iterdir()) == []
    write_text(target, "x" * 10_000)
    assert target.stat().st_size == 10_000


def test_a_write_that_fails_keeps_the_old_file(tmp_path):
    path = tmp_path / "a.txt"
    write_text(path, "old")

    def fail():
        with written(path) as scratch:
            scratch.write_text("half of the n")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]


def test_a_place_that_cannot_be_written_is_said(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(CannotWrite, match="cannot write"):
        write_text(tmp_path / "file" / "x.txt", "a")


def test_the_plan_of_no_hooks_is_the_analysis_itself(speaking):
    assert _plan(speaking).routes() == _plan(speaking, hooks=HookSet()).routes()
