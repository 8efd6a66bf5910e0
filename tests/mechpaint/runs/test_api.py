"""The facade: what the command line does, one call each, with the same files as a result."""

from __future__ import annotations

import base64
import json
import re
from dataclasses import replace

import pytest

import mechpaint as mp
from mechpaint.errors import AnalysisError, InputError, RunError, TaskError
from mechpaint.hooks import Skip
from mechpaint.report import Figure
from mechpaint.tasks import Facts
from tests.made_up import Gaze, Walks
from tests.written import written

PAINTERS = {"tasks": ["facts"], "limit": 4, "start_layers": (1,), "seeds": 1}


@pytest.fixture(scope="module")
def painted(folder, tmp_path_factory):
    return mp.analyze("painters", str(folder), out=tmp_path_factory.mktemp("runs"), **PAINTERS)


def test_a_run_has_its_table_report_figures_and_page(painted):
    assert set(painted.table["task"]) == {"facts"}
    assert painted.table["item"].nunique() == 4
    assert painted.state == "finished"
    assert painted.page.is_file()
    assert painted.report.title
    name, figure = next(iter(painted.figures.items()))
    assert isinstance(figure, Figure)
    svg = base64.b64decode(re.search(r"svg\+xml;base64,([^\"]+)", figure._repr_html_())[1])
    assert svg == (painted.path / "figures" / f"{name}.svg").read_bytes()
    assert set(painted.figures) == {path.stem for path in (painted.path / "figures").glob("*.svg")}
    assert painted.report.title in painted._repr_html_()
    assert repr(painted) == f"Run({str(painted.path)!r}, finished)"


def test_the_command_line_leaves_the_same_files(painted, folder, mechpaint, tmp_path):
    options = "--task facts --limit 4 --start-layers 1 --seeds 1 --json"
    done = mechpaint("analyze", "painters", "--model", folder, *options.split(), "--out", tmp_path)
    assert done.returncode == 0, done.stderr
    ours, theirs = written(painted.path), written(tmp_path / "painters" / painted.path.name)
    told = [json.loads(files.pop("run.json")) for files in (ours, theirs)]
    for pages in (ours, theirs):  # they tell the command
        del pages["report.html"], pages["report.md"], pages["drawn.json"]
    assert ours == theirs
    for one in told:
        del one["command"], one["request"]["options"]["out"]
    assert told[0] == told[1]


def test_the_same_call_computes_nothing_and_an_opened_run_resumes(painted, folder):
    out = painted.path.parents[1]
    assert str(mp.analyze("painters", str(folder), out=out, **PAINTERS).work) == "all was computed before"
    opened = mp.open_run(painted.path)
    assert opened.table.equals(painted.table)
    assert mp.open_run(painted.path.name[:6], out=out).path == painted.path
    cell = next((painted.path / "cells").iterdir())
    cell.unlink()
    assert (mp.open_run(painted.path).state, len(mp.open_run(painted.path).missing)) == ("unfinished", 1)
    assert mp.open_run(painted.path).resume().work.cells == 1
    assert mp.open_run(painted.path).state == "finished"


def test_objects_do_as_well_as_names_but_for_resuming_from_disk(speaking, tmp_path):
    run = mp.analyze("painters", speaking, out=tmp_path, hooks=Skip(5, 5), **{**PAINTERS, "tasks": Facts()})
    text = mp.analyze("painters", speaking, out=tmp_path, hooks="skip(5, 5)", **PAINTERS)
    assert (text.path, text.work.cells) == (run.path, 0)
    assert "mechpaint.analyze('painters', model=model, " in run.page.read_text().replace("&#39;", "'")
    next((run.path / "cells").iterdir()).unlink()
    assert run.resume().work.cells == 1
    with pytest.raises(RunError, match="with objects in memory, which a run folder does not hold"):
        mp.open_run(run.path).resume()


def test_an_analysis_of_one_s_own_needs_no_plugin(llama, tmp_path):
    run = mp.analyze(Gaze(rows=3), llama, out=tmp_path, hooks="0-2 5 4 3")
    assert run.report.sections[0].rows[0][1] == "0-2 5-3"
    assert str(mp.analyze(replace(Gaze(), rows=3), llama, out=tmp_path, hooks="0-2 5 4 3").work).startswith("all was")
    assert run.resume().work.cells == 0
    walks = mp.analyze(Walks(seeds=(1,)), out=tmp_path, shard="1/2")
    assert walks.state == "finished"


def test_a_route_that_would_replace_all_others_is_refused(speaking, tmp_path):
    with pytest.raises(InputError, match="come to the one route 0-2 5-3"):
        mp.analyze("painters", speaking, out=tmp_path, hooks="0-2 5 4 3", **PAINTERS)
    assert not list(tmp_path.iterdir())


def test_a_plan_says_what_would_be_computed_and_writes_nothing(painted, folder, tmp_path):
    plan = mp.plan("painters", str(folder), out=painted.path.parents[1], **PAINTERS)
    assert plan["cells"] == plan["cells there"] == len(painted.manifest.cells)
    assert mp.plan("painters", str(folder), out=tmp_path, **PAINTERS)["cells there"] == 0
    assert not list(tmp_path.iterdir())


def test_runs_are_compared(painted, folder, tmp_path):
    out = painted.path.parents[1]
    other = mp.analyze("painters", str(folder), out=out, hooks=Skip(5, 5), **PAINTERS)
    comparison = mp.compare([painted, other.path], out=tmp_path)
    assert comparison.page.is_file()
    assert comparison.path.parent == tmp_path / "compare"
    assert comparison.report.title in comparison._repr_html_()


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        (
            {"analysis": "paintres"},
            AnalysisError,
            "there is no analysis 'paintres' \\(did you mean painters\\?\\); there are: painters",
        ),
        ({"analysis": "painters", "start_layer": 3}, InputError, "has no option 'start_layer'; its options are model"),
        ({"analysis": "birth", "model": "gemma-3-270m"}, InputError, "has no option 'model'"),
        ({"analysis": "painters", "tasks": ["none"]}, TaskError, "there is no task 'none'"),
        ({"analysis": "painters", "workers": 2}, RunError, "--workers requires --engine ray"),
        ({"analysis": "painters", "engine": "far"}, RunError, "there is no engine 'far'"),
        ({"analysis": "painters", "batch_size": 0, "tasks": "facts"}, InputError, "must be 1 or more"),
        ({"analysis": "painters", "shard": "3/2"}, RunError, "there is no shard 3/2"),
    ],
)
def test_what_cannot_be_asked_for_is_said_and_writes_nothing(tmp_path, arguments, error, words):
    with pytest.raises(error, match=words):
        mp.analyze(**arguments, out=tmp_path)
    assert not list(tmp_path.iterdir())


def test_what_a_model_analysis_cannot_measure_is_said_before_anything_is_computed(tmp_path):
    with pytest.raises(TaskError, match="cannot encode the text"):
        mp.analyze("similarity", "toy-induction", out=tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("out", ["", "a\0b", 5])
def test_a_folder_that_cannot_be_is_refused(out):
    with pytest.raises((RunError, TypeError), match=r"expected the folder|violates type hint"):
        mp.analyze("similarity", "toy-induction", out=out)


def test_ray_needs_names(llama, tmp_path):
    pytest.importorskip("ray")
    with pytest.raises(RunError, match="workers load models and tasks by name"):
        mp.analyze(Gaze(), llama, out=tmp_path, engine="ray")
