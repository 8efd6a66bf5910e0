"""Reports drawn anew from a run's cells; runs of which none can be drawn."""

from __future__ import annotations

import json
import shutil
import sys
from dataclasses import dataclass

import pytest

from mechpaint.errors import IncompleteRun, RunError
from mechpaint.hooks import Average, Loop, Pair
from mechpaint.plugins import Registry
from mechpaint.runs.execute import run
from mechpaint.runs.plans.experiment_plan import ExperimentPlan
from mechpaint.runs.run import Run, find_run
from mechpaint.runs.serialize import NotSerializable, Unreadable, deserialize, serialize
from mechpaint.statistics.metrics import Mean, Spearman
from mechpaint.statistics.results import ModelFacts, TaskFacts
from tests.made_up import Walks
from tests.mechpaint.runs.surviving import lesions
from tests.rebuilt import check_rebuilt

COMMAND = "mechpaint analyze walks"
ODD = Walks(seeds=(0, 1), scale=0.1, words=None, title="-0.0 = ∞", least=3)


@pytest.fixture(scope="module")
def registry():
    made = Registry()
    made.add_analysis(Walks)
    return made


@pytest.fixture
def finished(tmp_path):
    return run(ExperimentPlan(ODD, 1), tmp_path / "runs", COMMAND)


@dataclass(frozen=True)
class Odd:
    """Everything that can be kept."""

    numbers: tuple[float, ...] = (0.1, 1e-300, float("inf"), -0.0, float("-inf"))
    mixed: tuple = (None, True, 3, "three", ("nested", ()), ["a", "list"])
    mapping: dict = None
    metric: object = None


def test_what_is_kept_as_json_is_made_again():
    routes = {str(h): h.route(6) for h in (Loop(1, 3, 2), Average(0, 4), Pair(1, 4), Average(2, 3) + Loop(0, 5, 2))}
    facts = ModelFacts("mine", 6, routes)
    metric = Spearman({"class": 1.0, "fields": 2.5})
    tasks = (TaskFacts("a", "b", 0.25, 2, metric, ("long",)), TaskFacts("c", "", 0.0, 0))
    odd = Odd(mapping={"list": 1, "route": {"deep": (1,)}}, metric=Mean())
    for value in (facts, tasks, odd):
        assert deserialize(json.loads(json.dumps(serialize(value), allow_nan=False))) == value
    again = deserialize(json.loads(json.dumps(serialize(Odd()))))
    assert list(map(str, again.numbers)) == list(map(str, Odd().numbers))
    assert str(deserialize(serialize(float("nan")))) == "nan"


@pytest.mark.parametrize("value", [object(), {1: 2}, {"a": {2, 3}}, (b"bytes",), Odd])
def test_what_cannot_be_kept_is_refused(value):
    with pytest.raises(NotSerializable, match="cannot keep"):
        serialize(value)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({"class": "os:system", "fields": {}}, "there is no dataclass os:system"),
        ({"class": "antigravity:x", "fields": {}}, "there is no dataclass antigravity:x: load the plugin"),
        ({"class": "mechpaint.nothing:x", "fields": {}}, "there is no mechpaint.nothing:x: use the version"),
        ({"class": "mechpaint.statistics.metrics:Mean.x", "fields": {}}, "there is no dataclass"),
        (
            {"class": "mechpaint.statistics.metrics:Mean", "fields": {"x": 1}},
            "Mean has the fields none here, and was kept with x",
        ),
        ({"something": 1}, "expected a serialized value, got"),
        ({}, "expected a serialized value"),
    ],
)
def test_what_is_no_value_is_refused_and_nothing_is_imported_for_it(data, words):
    with pytest.raises(Unreadable, match=words):
        deserialize(data)
    assert "antigravity" not in sys.modules


def test_a_report_that_is_gone_is_drawn_anew(finished, tmp_path, registry):
    check_rebuilt(finished.path, tmp_path / "again", registry)


def test_an_experiment_s_settings_are_made_again(finished, registry):
    inputs = Run.open(finished.path, registry).inputs
    assert inputs.analysis == ODD
    assert inputs.details[-1] == ("fingerprint", finished.path.name)


def test_incomplete_runs_are_named_cell_by_cell_and_nothing_is_written(finished, registry):
    cells = sorted((finished.path / "cells").iterdir())
    cells[0].unlink()
    cells[1].write_bytes(cells[1].read_bytes()[:-1])
    finished.page.unlink()
    before = {path: path.read_bytes() for path in finished.path.rglob("*") if path.is_file()}
    words = (
        r"is not complete: of its 2 cells 1 missing \(00-seed-0\) and 1 damaged \(01-seed-1\). This computes them: "
        "mechpaint analyze walks$"
    )
    with pytest.raises(IncompleteRun, match=words):
        Run.open(finished.path, registry).draw()
    assert {path: path.read_bytes() for path in finished.path.rglob("*") if path.is_file()} == before


def _edited(change):
    def edit(path):
        told = json.loads(path.read_text())
        change(told)
        path.write_text(json.dumps(told))

    return edit


@pytest.mark.parametrize(
    ("harm", "words"),
    [
        (lambda path: path.unlink(), "is no run folder: it has no run.json"),
        (lambda path: path.write_text("{"), "cannot read .*run.json.*The run's command writes it again"),
        (lambda path: path.write_text("[]"), "is a run of another mechpaint"),
        (_edited(lambda told: told.update(analysis="hops")), "no analysis 'hops'; there are: walks. If it is a plugin"),
        (
            _edited(lambda told: told["report"]["settings"].update(far=1)),
            "has the fields seeds,.* kept with.* far",
        ),
        (_edited(lambda told: told["report"]["settings"].pop("steps")), "Walks has the fields"),
        (_edited(lambda told: told["report"]["settings"].update(steps=0)), "expected 1 step or more"),
        (_edited(lambda told: told["report"].pop("tasks")), "cannot read what the report is drawn from"),
        (_edited(lambda told: told.pop("cells")), "cannot read .*run.json"),
        (_edited(lambda told: told.update(format=0)), "expected run.json of format 1"),
    ],
)
def test_a_run_whose_manifest_cannot_be_read_is_refused(finished, registry, harm, words):
    harm(finished.path / "run.json")
    before = finished.page.read_bytes()
    with pytest.raises(ValueError, match=words) as error:
        Run.open(finished.path, registry).draw()
    assert isinstance(error.value, RunError) or "1 step" in str(error.value)
    assert finished.page.read_bytes() == before


def test_a_run_is_found_by_its_path_or_by_the_beginning_of_its_name(tmp_path):
    for name in ("a/12ab", "a/12cd", "b/34ef"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "run.json").write_text("")
    assert find_run("34", tmp_path) == find_run("b/", tmp_path) == tmp_path / "b" / "34ef"
    assert find_run(str(tmp_path / "a" / "12cd"), tmp_path / "none") == tmp_path / "a" / "12cd"
    assert find_run(str(tmp_path / "b"), tmp_path / "none") == tmp_path / "b" / "34ef"
    for several in ("12", str(tmp_path / "a")):
        with pytest.raises(RunError, match=r" may be any of 2 runs: a/12ab, a/12cd\. Give more of its name"):
            find_run(several, tmp_path)
    for none in ("", "56", "c/12", "2ab"):
        with pytest.raises(RunError, match=f"there is no run '{none}'.*`mechpaint runs` shows what there is"):
            find_run(none, tmp_path)


def test_the_command_draws_a_plugin_s_report_and_says_why_it_cannot(mechpaint, folder, tmp_path):
    plugin = tmp_path / "mine.py"
    plugin.write_text(
        "from tests.mechpaint.runs.surviving import Lesions\n\n"
        "def register(registry):\n    registry.add_analysis(Lesions)\n"
    )
    done = lesions(folder, tmp_path / "runs", 4)
    page = done.page.read_bytes()
    done.page.unlink()
    shown = mechpaint("report", done.path.name[:8], "--plugin", plugin, cwd=tmp_path)
    assert (shown.returncode, shown.stderr) == (0, "")
    assert "all was computed before" in shown.stdout
    assert done.page.read_bytes() == page
    told = json.loads(mechpaint("report", done.path, "--json", "--plugin", plugin).stdout)
    assert told["run"] == str(done.path)
    assert len(told["scores"]) == 14
    lost = mechpaint("report", done.path)
    assert lost.returncode == 2
    assert "there is no analysis 'lesions'" in lost.stderr
    shutil.rmtree(done.path / "cells")
    lost = mechpaint("report", done.path, "--plugin", plugin)
    assert (lost.returncode, lost.stdout) == (1, "")
    assert "of its 2 cells 2 missing (00-" in lost.stderr
    assert mechpaint("report", "none", cwd=tmp_path).returncode == 2
