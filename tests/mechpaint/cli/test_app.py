"""The command line as a person meets it: processes, terminals, exit codes."""

from __future__ import annotations

import importlib.util
import inspect
import json
import os
import pty
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from mechpaint.cli import app
from mechpaint.cli.options import command_for
from mechpaint.errors import LoadError
from mechpaint.plugins import built_in
from mechpaint.runs import kinds
from mechpaint.runs.cells import Cells
from tests.made_up import Gaze, Walks

MAIN = [sys.executable, "-c", "from mechpaint.cli import main; main()"]
SMALL = ["--start-layers", "1", "--seeds", "1", "--limit", "8", "--task", "facts"]


LIGHT = (
    "--help",
    "--version",
    "list",
    "plugins",
    "analyze --help",
    "analyze painters --help",
    "export --help",
    "plan --help",
    "plan painters --help",
    "runs .",
    "report --help",
    "compare --help",
)
NO_HEAVY = f"""
import contextlib, io, sys
from mechpaint.cli import main
for command in {LIGHT}:
    sys.argv = ["mechpaint", *command.split()]
    with contextlib.redirect_stdout(io.StringIO()) as shown:
        try:
            main()
        except SystemExit as stop:
            assert not stop.code, (command, stop.code)
    assert shown.getvalue(), command
    heavy = {{"torch", "transformers", "transformer_lens", "matplotlib", "pandas", "datasets"}} & set(sys.modules)
    assert not heavy, (command, heavy)
"""


def test_help_needs_no_torch():
    done = subprocess.run([sys.executable, "-c", NO_HEAVY], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_help_names_every_option_and_the_exit_codes(mechpaint):
    shown = mechpaint("analyze", "painters", "--help").stdout
    for option in (
        "--model --task --limit --start-layers --seeds --loops --batch-size --device --dtype --seed --out --dry-run "
        "--json --hooks"
    ).split():
        assert option in shown
    assert "0 done, 1 failed, 2 wrong usage" in shown


@pytest.fixture
def made_up(monkeypatch):
    """Two more analyses, one of each other kind."""
    registry = built_in()
    registry.add_analysis(Gaze)
    registry.add_analysis(Walks)
    monkeypatch.setattr(app, "built_in", lambda: registry)


@pytest.mark.parametrize(
    ("analysis", "has", "has_not"),
    [
        ("gaze", "--model --device --dtype --hooks --rows --without", "--task --limit --batch-size --seed"),
        (
            "pareto",
            "--model --device --dtype --task --limit --held-out --batch-size --seed --budget --strategies --rounds "
            "--population",
            "--hooks",
        ),
        ("walks", "--seeds --steps --no-shown --loud", "--model --device --hooks --task --limit --seed "),
    ],
)
def test_each_kind_has_its_options_and_those_of_all(mechpaint, made_up, analysis, has, has_not):
    shown = mechpaint("analyze", analysis, "--help").stdout
    for option in (*has.split(), "--out", "--dry-run", "--json"):
        assert f"{option} " in shown or f"{option}/" in shown or f"/{option}" in shown, option
    for option in has_not.split():
        assert f"{option} " not in shown, option
    assert ("some/model" in shown) is (analysis == "gaze")


def test_an_analysis_of_no_kind_is_refused():
    with pytest.raises(TypeError, match="of: RouteAnalysis, SearchAnalysis, ModelAnalysis, Experiment"):
        kinds.kind_of(type("Other", (app.Analysis,), {"name": "other"}))


def test_list_names_everything(mechpaint):
    shown = json.loads(mechpaint("list", "--json").stdout)
    assert set(shown["analyses"]) == {"painters", "induction", "birth", "memories", "similarity", "loops", "pareto"}
    assert set(shown["tasks"]) == {
        "facts",
        "hops",
        "induction",
        "ioi",
        "counting",
        "arithmetic",
        "text",
        "mlm",
        "sts",
        "glue",
        "lm_eval",
    }
    assert {"skip", "average", "read_attention"} <= set(shown["hook sets"])
    assert "gemma-3-270m" in shown["models"]
    plain = mechpaint("list").stdout
    assert 'session["attention"][visit]' in plain  # nothing is taken for markup


def test_a_run_prints_results_on_stdout_and_the_report_can_be_opened(mechpaint, folder, tmp_path):
    done = mechpaint("analyze", "painters", "--model", folder, *SMALL, "--out", tmp_path / "runs")
    assert done.returncode == 0, done.stderr
    report = done.stdout.strip().splitlines()[-1].removeprefix("report: ")
    page = Path(report).read_text(encoding="utf-8")
    assert "The full model" in page  # this one can do none of the tasks, so no claim is tested
    assert "mechpaint analyze painters --model" in page  # how to do it again
    assert "http://" not in page.replace("http://www.w3.org", "")
    assert "https://" not in page
    again = mechpaint("analyze", "painters", "--model", folder, *SMALL, "--out", tmp_path / "runs")
    assert "all was computed before" in again.stdout


def test_json_is_all_that_stdout_has(mechpaint, folder, tmp_path):
    done = mechpaint("analyze", "painters", "--model", folder, *SMALL, "--out", tmp_path, "--json")
    shown = json.loads(done.stdout)
    assert shown["report"].endswith("report.html")
    assert {row["variant"] for row in shown["scores"]} >= {"skip", "reverse", "random order"}


def test_numbers_are_numbers_in_json(mechpaint, folder, tmp_path):
    given = ["analyze", "painters", "--model", folder, *SMALL, "--out", tmp_path]
    shown = json.loads(mechpaint(*given, "--json").stdout)
    (task,) = shown["tasks"]
    assert 0 <= task["chance"] <= 1
    estimates = [value for row in shown["scores"] for value in row.values() if isinstance(value, dict)]
    assert estimates
    assert all(set(each) == {"value", "low", "high"} for each in estimates)
    assert "NaN" not in json.dumps(shown)


def test_a_run_ends_with_a_few_lines_and_tables_on_request(mechpaint, made_up, tmp_path):
    given = ["analyze", "walks", "--seeds", "1,2", "--out", tmp_path]
    said = mechpaint(*given).stdout.splitlines()
    assert len(said) <= 5
    assert said[-1].startswith("report: ")
    again = mechpaint(*given).stdout.splitlines()
    assert again[-2] == "all was computed before"
    assert len(mechpaint(*given, "--tables").stdout.splitlines()) > len(again)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (["analyze", "painter"], "Did you mean 'painters'"),
        (["analyze", "induction", "--model", "gemma"], "no model 'gemma' (did you mean gemma-3-270m?)"),
        (["export", "--model", "smolm2-135m", "--route", "0", "--out", "x"], "(did you mean smollm2-135m?)"),
        (["analyze", "painters", "--task", "fact"], "no task 'fact' (did you mean facts?)"),
        (["export", "--hooks", "skp(1, 2)", "--out", "x"], "no hook set 'skp' (did you mean skip?)"),
    ],
)
def test_what_was_probably_meant_is_told(mechpaint, tmp_path, given, words):
    done = mechpaint(*given, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert words in " ".join(done.stderr.replace("│", " ").split())
    assert not list(tmp_path.iterdir())


def test_a_hub_that_cannot_be_reached_is_told_in_a_line(monkeypatch):
    import huggingface_hub

    from mechpaint.models.hugging_face import on_hub

    def unreachable():
        raise OSError("no network")

    monkeypatch.setattr(huggingface_hub, "get_session", unreachable)
    monkeypatch.setattr(huggingface_hub.constants, "is_offline_mode", lambda: False)
    with pytest.raises(LoadError, match=r"cannot be reached \(no network\)") as error:
        on_hub("owner/name-that-is-nowhere")
    assert "\n" not in str(error.value)


def test_own_options_come_first_and_examples_last(mechpaint):
    shown = mechpaint("analyze", "painters", "--help").stdout
    places = [shown.index(words) for words in ("--start-layers ", "--model ", "--device ", "--out ", "Examples:")]
    assert places == sorted(places)
    assert shown.count("mechpaint analyze painters") >= 3
    for command in ("export", "compare", "plan painters", "analyze birth"):
        assert f"mechpaint {command} " in mechpaint(*command.split(), "--help").stdout.partition("Examples:")[2]


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("analyze pai", "painters"),
        ("analyze painters --model smol", "smollm2-135m"),
        ("analyze painters --task fa", "facts"),
        ("export --hooks skip(1,2)+lo", "skip(1,2)+loop"),
        ("get mini", "minilm"),
    ],
)
def test_shells_complete_names(mechpaint, monkeypatch, capfd, typed, offered):
    monkeypatch.setenv("_MECHPAINT_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", f"mechpaint {typed}")
    monkeypatch.setenv("COMP_CWORD", str(len(typed.split())))
    assert offered in mechpaint().stdout.split("\n")


def test_completion_can_be_installed(mechpaint, monkeypatch):
    assert "--install-completion" in mechpaint("--help").stdout
    assert "--show-completion" in mechpaint("--help").stdout


def test_list_shows_how_names_are_written(mechpaint):
    shown = mechpaint("list").stdout
    for written in (
        "skip(first, last)",
        "read_attention(layers=None, visits=None)",
        "text[:SOURCE[#COLUMN]]",
        "lm_eval:TASK",
    ):
        assert written in shown


def test_a_dry_run_prints_the_plan_and_writes_nothing(mechpaint, folder, tmp_path):
    done = mechpaint(
        "analyze", "painters", "--model", folder, *SMALL, "--out", "runs", "--dry-run", "--json", cwd=tmp_path
    )
    plan = json.loads(done.stdout)
    assert plan["routes"] > 10
    assert plan["layer calls"] < plan["layer calls, unshared"]
    assert plan["minutes"] >= 0
    assert not list(tmp_path.iterdir())


def test_a_model_analysis_runs_on_the_model_and_under_hooks(mechpaint, made_up, folder, tmp_path):
    given = ["analyze", "gaze", "--model", folder, "--rows", "1", "--hooks", "skip(0, 0)", "--out", tmp_path, "--json"]
    done = mechpaint(*given)
    assert done.returncode == 0, done.stderr
    shown = json.loads(done.stdout)
    assert [row["route"] for row in shown["gaze"]] == ["1-5", "1 3-5"]
    assert "analyze gaze --model" in Path(shown["report"]).read_text()
    plan = json.loads(mechpaint(*given, "--dry-run").stdout)
    assert plan["routes"] == {"all layers": "1-5", "without 2": "1 3-5"}
    assert "all was computed before" in mechpaint(*given[:-1]).stdout


def test_an_experiment_s_fields_are_its_options(mechpaint, made_up, tmp_path):
    given = (
        "--seeds 5,7 --steps 3 --scale 0.25 --scales 1,.5,2e-3 --words near,by --title Ends --no-shown --loud --least 2"
    )
    done = mechpaint("analyze", "walks", *given.split(), "--out", tmp_path, "--json")
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)["ends"]
    assert [row["walk"] for row in rows] == ["Seed 5", "Seed 7"]
    expected = Walks((5, 7), 3, 0.25, (1.0, 0.5, 0.002), ("near", "by"), "Ends", False, True, 2)
    assert rows[0]["as"] == str(expected.settings())
    defaults = mechpaint("analyze", "walks", "--out", tmp_path, "--json")
    assert json.loads(defaults.stdout)["ends"][0]["as"] == str(Walks().settings())
    none = mechpaint("analyze", "walks", "--words", "", "--seeds", "1", "--out", tmp_path, "--json")
    assert json.loads(none.stdout)["ends"][0]["as"] == str(Walks(seeds=(1,), words=None).settings())


def test_a_damaged_cell_is_named_on_stderr(mechpaint, made_up, tmp_path):
    given = ("analyze", "walks", "--seeds", "1,2", "--out", tmp_path, "--json")
    before = mechpaint(*given)
    first, second = sorted(tmp_path.rglob("cells/*"))
    second.write_bytes(second.read_bytes()[:-1])
    first.unlink()
    again = mechpaint(*given)
    assert (again.returncode, again.stdout) == (0, before.stdout)
    said = "its checksum is not that of its bytes; it is computed again"
    assert again.stderr == f"warning: the cell {second} is damaged: {said}\n"


def test_a_cell_that_goes_meanwhile_exits_with_1_and_says_what_to_do(mechpaint, made_up, tmp_path, monkeypatch):
    monkeypatch.setattr(Cells, "write", lambda folder, cell, records: None)
    done = mechpaint("analyze", "walks", "--seeds", "1", "--out", tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert "of its 1 cells 1 missing (00-seed-1). This computes them: mechpaint analyze walks --seeds 1" in done.stderr


def test_a_field_without_a_default_must_be_given_and_a_made_one_is_made():
    @dataclass(frozen=True)
    class Fields(app.Analysis):
        """Of no kind, but its fields are read in the same way."""

        needed: int
        made: tuple[float, ...] = field(default_factory=lambda: (1.0, 2.0))

    parameters = inspect.signature(command_for(Fields, (), print)).parameters
    assert parameters["needed"].default is inspect.Parameter.empty
    assert parameters["made"].default == "1.0,2.0"


def test_a_dry_run_of_an_experiment_counts_trials_and_ticks(mechpaint, made_up, tmp_path):
    plan = json.loads(mechpaint("analyze", "walks", "--dry-run", "--json", cwd=tmp_path).stdout)
    assert (plan["cells"], plan["ticks"], plan["trials"]["Seed 3"]) == (4, 20, 5)
    assert plan["at once"] >= 1
    shown = mechpaint("analyze", "walks", "--dry-run", cwd=tmp_path).stdout
    assert "nothing was computed or written" in shown
    assert "Seed 2 5" in shown
    assert not list(tmp_path.iterdir())


def test_what_is_taken_over_is_told_before_and_after(mechpaint, made_up, tmp_path):
    assert mechpaint("analyze", "walks", "--seeds", "1,2", cwd=tmp_path).returncode == 0
    plan = json.loads(mechpaint("analyze", "walks", "--seeds", "2,3", "--dry-run", "--json").stdout)
    numbers = [
        plan[name] for name in ("cells", "cells there", "cells that other runs hold", "cells that they hold in part")
    ]
    assert numbers == [2, 0, 1, 0]
    done = mechpaint("analyze", "walks", "--seeds", "2,3").stdout
    assert "1 cells computed in 0 s; 1 reused from walks/" in done
    plan = json.loads(mechpaint("analyze", "walks", "--seeds", "2,3", "--dry-run", "--json").stdout)
    assert (plan["cells there"], plan["cells that other runs hold"]) == (2, 0)


def test_shards_say_what_is_missing_and_the_last_draws_the_report(mechpaint, made_up, tmp_path):
    given = ("analyze", "walks", "--out", "runs")
    plan = json.loads(mechpaint(*given, "--shard", "2/3", "--dry-run", "--json", cwd=tmp_path).stdout)
    assert (plan["cells"], plan["cells there"]) == (1, 0)
    assert not list(tmp_path.iterdir())
    done = mechpaint(*given, "--shard", "1/3")
    (run,) = Path("runs/walks").iterdir()
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "shard 1/3: 2 cells computed in 0 s",
        "of the run's 4 cells 2 are still missing: other shards, or the command without --shard, compute them. When "
        f"all are there: mechpaint report {run}",
    ]
    shown = json.loads(mechpaint(*given, "--shard=2/3", "--json").stdout)
    assert shown == {"run": str(run), "shard": "2/3", "cells": 4, "missing": 1}
    assert json.loads((run / "run.json").read_text())["command"] == "mechpaint analyze walks --out runs --json"
    early = mechpaint("report", run)
    assert early.returncode == 1
    assert "of its 4 cells 1 missing (02-seed-2)" in early.stderr
    assert "report: " in mechpaint(*given, "--shard", "3/3").stdout
    assert "--shard" not in (run / "report.html").read_text()
    assert "all was computed before" in mechpaint(*given).stdout


def test_ray_where_it_is_missing_is_told(mechpaint, made_up, tmp_path, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    done = mechpaint("analyze", "walks", "--engine", "ray", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert "Ray, which is not installed: pip install 'mechpaint[ray]'" in done.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["walks", "--shard", "0/2"], "there is no shard 0/2; expected I/N with I from 1 to N"),
        (["walks", "--shard", "two"], "cannot read the shard 'two'; expected I/N, such as 2/8"),
        (["walks", "--engine", "steam"], "there is no engine 'steam'; there are: here, ray"),
        (["walks", "--workers", "2"], "--workers requires --engine ray"),
        (["walks", "--ray-address", "auto"], "--ray-address requires --engine ray"),
        (["walks", "--steps", "0"], "expected 1 step or more, got 0"),
        (["walks", "--seeds", "1,x"], "expected whole numbers separated by commas, such as 1,3,5, got '1,x'"),
        (["walks", "--scales", "1,x"], "expected numbers separated by commas, such as 0.1,1,10, got '1,x'"),
        (["walks", "--model", "gpt2"], "No such option"),
        (["gaze", "--task", "facts"], "No such option"),
        (["gaze", "--without", "9"], "layers 0 to 5"),
        (["gaze", "--hooks", "read_attention()"], "also reads or hooks"),
        (["gaze", "--hooks", "skip(0, 9)", "--dry-run"], "layers 0 to 5"),
    ],
)
def test_wrong_usage_of_other_kinds_exits_with_2(mechpaint, made_up, folder, tmp_path, arguments, words):
    model = ["--model", folder] if arguments[0] == "gaze" else []
    done = mechpaint("analyze", *arguments, *model, cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    assert words in " ".join(done.stderr.replace("│", " ").split())
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--task", "nothing"], "there are: facts"),
        (["--task", "facts:x"], "takes no argument"),
        (["--task", "text:none.txt"], "no file 'none.txt'"),
        (["--task", "facts", "--task", "facts"], "each once"),
        (["--limit", "-1"], "1 item or more"),
        (["--limit", "three"], "Invalid value for '--limit'"),
        (["--start-layers", "1,b"], "whole numbers separated by commas"),
        (["--start-layers", "3"], "does not fit 6 layers"),
        (["--seeds", "0"], "1 seed or more"),
        (["--hooks", "skip(0"], "cannot read the hook set"),
        (["--hooks", "skip(0, 9)"], "layers 0 to 5"),
        (["--hooks", "read_attention()"], "also reads or hooks"),
        (["--batch-size", "0"], "(--batch-size) must be 1 or more"),
        (["--dtype", "float3"], "no dtype 'float3'"),
        (["--device", "abacus"], "no device 'abacus'"),
        (["--model", "no/such/model"], "cannot load the model 'no/such/model'"),
        (["--nonsense"], "No such option"),
    ],
)
def test_wrong_usage_exits_with_2_says_why_and_leaves_nothing(mechpaint, folder, tmp_path, arguments, words):
    given = ["--model", folder, "--task", "facts", "--limit", "4", "--start-layers", "1", *arguments]
    if "--task" in arguments:
        given = ["--model", folder, "--limit", "4", *arguments]
    done = mechpaint("analyze", "painters", *given, cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    assert words in " ".join(done.stderr.replace("│", " ").split())
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("given", [["--route", "0-3 [4 5]x2"], ["--hooks", "loop(4, 5, times=2)"]])
def test_export_writes_a_checkpoint_and_says_where(mechpaint, folder, tmp_path, given):
    done = mechpaint("export", "--model", folder, *given, "--out", "copy", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "8 layers along 0-5 4-5; logits as the routed model's" in done.stdout
    assert done.stdout.splitlines()[-1] == f"checkpoint: {tmp_path / 'copy'}"
    config = json.loads((tmp_path / "copy" / "config.json").read_text())
    assert (config["num_hidden_layers"], config["dtype"]) == (8, "float32")
    assert "mechpaint export --model" in (tmp_path / "copy" / "README.md").read_text()
    assert str(folder) in (tmp_path / "copy" / "mergekit.yaml").read_text()


@pytest.mark.slow
def test_export_as_a_process_prints_json_alone(folder, tmp_path):
    given = ["export", "--model", folder, "--route", "5 0", "--dtype", "bfloat16", "--out", tmp_path / "copy", "--json"]
    done = subprocess.run([*MAIN, *given], capture_output=True, text=True, check=True)
    shown = json.loads(done.stdout)
    assert (shown["checkpoint"], shown["route"], shown["layers"]) == (str(tmp_path / "copy"), "5 0", [5, 0])
    assert json.loads((tmp_path / "copy" / "config.json").read_text())["dtype"] == "bfloat16"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "expected a route or hook sets: one of --route"),
        (["--route", "0-5", "--hooks", "skip(1, 1)"], "expected a route or hook sets: one of --route"),
        (["--route", "0-9"], "layer 9 does not exist"),
        (["--route", "0-1 (2 3) 4-5"], "are averaged. A checkpoint is a list of layers"),
        (["--hooks", "average(1, 3)"], "are averaged. A checkpoint is a list of layers"),
        (["--hooks", "read_attention()"], "has no hooks"),
        (["--hooks", "skip(1"], "cannot read the hook set"),
        (["--route", "0-5", "--out", "."], "something at . already"),
        (["--route", "1 0", "--model", "toy-induction"], "is no Hugging Face model"),
        (["--route", "0-5", "--model", "no/such/model"], "cannot load the model 'no/such/model'"),
        (["--route", "0-5", "--dtype", "float3"], "no dtype 'float3'"),
        (["--nonsense"], "No such option"),
    ],
)
def test_wrong_usage_of_export_exits_with_2_and_leaves_nothing(mechpaint, folder, tmp_path, arguments, words):
    (tmp_path / "file").write_text("")
    done = mechpaint("export", "--model", folder, "--out", "copy", *arguments, cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    assert words in " ".join(done.stderr.replace("│", " ").split())
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_export_to_a_place_that_cannot_be_written_exits_with_1(mechpaint, folder, tmp_path):
    (tmp_path / "file").write_text("")
    done = mechpaint("export", "--model", folder, "--route", "0-5", "--out", tmp_path / "file" / "copy")
    assert done.returncode == 1
    assert "cannot write" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_place_that_cannot_be_written_exits_with_1(mechpaint, folder, tmp_path):
    (tmp_path / "file").write_text("")
    done = mechpaint("analyze", "painters", "--model", folder, *SMALL, "--out", tmp_path / "file")
    assert done.returncode == 1
    assert "cannot write" in done.stderr
    assert "Traceback" not in done.stderr


def test_no_command_shows_the_help_and_exits_with_2(mechpaint):
    done = mechpaint()
    assert done.returncode == 2
    assert "analyze" in done.stdout + done.stderr


@pytest.mark.release
def test_a_terminal_shows_a_progress_bar_on_stderr_only(folder, tmp_path):
    """Standard error is a terminal of its own, standard output a pipe."""
    terminal, end = pty.openpty()
    process = subprocess.Popen(
        [
            *MAIN,
            "analyze",
            "painters",
            "--model",
            str(folder),
            "--limit",
            "40",
            "--start-layers",
            "1",
            "--task",
            "ioi",
            "--out",
            str(tmp_path),
        ],
        stdout=subprocess.PIPE,
        stderr=end,
        env={**os.environ, "COLUMNS": "120", "TERM": "xterm", "HF_HUB_OFFLINE": "1"},
    )
    os.close(end)
    seen = b""
    while True:
        try:
            piece = os.read(terminal, 65536)
        except OSError:  # the other end was closed
            break
        if not piece:
            break
        seen += piece
    stdout = process.communicate()[0].decode()
    assert process.returncode == 0
    assert "ioi, items 1 to" in seen.decode()
    assert "left" in seen.decode()
    assert "items 1 to" not in stdout


_ENDLESS = """
from dataclasses import dataclass
from mechpaint.analysis import Experiment
from mechpaint.cli import app
from mechpaint.plugins import Registry

@dataclass(frozen=True)
class Endless(Experiment):
    name = "endless"
    question = "Is it over?"
    columns = {"value": int}

    def trials(self):
        return {"short": 1, "long": 1000, "longer": 1000}

    def measure(self, label, advance):
        while label != "short":
            advance(0)
        return [{"value": 1}]

    def report(self, table):
        raise AssertionError

registry = Registry()
registry.add_analysis(Endless)
app.built_in = lambda: registry
app.run_app()
"""


def test_ctrl_c_stops_trials_in_threads_and_keeps_what_is_done(tmp_path):
    """A process of its own, and the signal that a terminal sends."""
    process = subprocess.Popen(
        [sys.executable, "-c", _ENDLESS, "analyze", "endless", "--out", tmp_path],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "COLUMNS": "120"},
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    deadline = time.monotonic() + 120
    while not list(tmp_path.rglob("cells/00-short.parquet")) and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    stdout, stderr = process.communicate(timeout=60)
    assert process.returncode == 130
    assert stdout == ""
    assert stderr.split() == "interrupted: what was done is kept; give the same command again to go on".split()
    assert [path.name for path in tmp_path.rglob("cells/*")] == ["00-short.parquet"]


def test_runs_shows_what_there_is(mechpaint, made_up, folder, tmp_path):
    assert mechpaint("analyze", "walks", "--seeds", "1,2", "--out", tmp_path).returncode == 0
    assert mechpaint("analyze", "gaze", "--model", folder, "--out", tmp_path).returncode == 0
    cell = min(tmp_path.glob("walks/*/cells/*"))
    cell.write_bytes(b"")
    shown = json.loads(mechpaint("runs", tmp_path, "--json").stdout)
    assert [(run["analysis"], run["cells"], run["done"], run["state"]) for run in shown] == [
        ("gaze", 2, 2, "finished"),
        ("walks", 2, 1, "damaged"),
    ]
    assert [run["model"] for run in shown] == [str(folder), None]
    assert shown[1]["command"] == f"mechpaint analyze walks --seeds 1,2 --out {tmp_path}"
    assert shown[1]["damaged"] == [cell.stem]
    plain = mechpaint("runs", tmp_path).stdout
    assert f"walks/{cell.parents[1].name}" in plain
    assert "damaged, 1 of 2" in plain
    assert str(folder) in plain.replace("\n", "")


def test_runs_show_what_they_differ_in_and_names_that_can_be_copied(mechpaint, made_up, monkeypatch, tmp_path):
    for steps in ("2", "3"):
        assert mechpaint("analyze", "walks", "--seeds", "1", "--steps", steps, "--out", tmp_path).returncode == 0
    given = monkeypatch.setenv
    for columns in ("160", "80", "50", "20"):
        monkeypatch.setattr(
            monkeypatch, "setenv", lambda name, value, w=columns: given(name, w if name == "COLUMNS" else value)
        )
        shown = mechpaint("runs", tmp_path).stdout
        assert all(f"walks/{path.parent.name}" in shown for path in tmp_path.glob("walks/*/run.json"))
        assert ["--steps 2" in shown, "--steps 3" in shown, "--seeds" in shown] == [True, True, False]


def test_runs_where_there_are_none(mechpaint, tmp_path):
    assert mechpaint("runs", ".", cwd=tmp_path).stdout == "There are no runs in ..\n"
    assert json.loads(mechpaint("runs", tmp_path, "--json").stdout) == []
    done = mechpaint("runs", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert "there is no folder 'runs'; expected the folder of all runs" in done.stderr
