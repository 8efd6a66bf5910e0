"""The command line as a person meets it: processes, terminals, exit codes."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from mechpaint.cli import main

MAIN = [sys.executable, "-c", "from mechpaint.cli import main; main()"]
SMALL = ["--start-layers", "1", "--seeds", "1", "--limit", "8", "--task", "facts"]


@dataclass
class Done:
    returncode: int
    stdout: str
    stderr: str


@pytest.fixture
def mechpaint(monkeypatch, capfd):
    """Run a command in this process: importing torch anew for each takes seconds. What it prints is caught."""

    def run(*arguments, cwd=None):
        monkeypatch.setattr(sys, "argv", ["mechpaint", *map(str, arguments)])
        monkeypatch.setenv("COLUMNS", "160")
        monkeypatch.setenv("HF_HUB_OFFLINE", "1")
        if cwd is not None:
            monkeypatch.chdir(cwd)
        capfd.readouterr()
        with pytest.raises(SystemExit) as stopped:
            main()
        return Done(int(stopped.value.code or 0), *capfd.readouterr())

    return run


@pytest.mark.parametrize(
    "arguments", [["--help"], ["--version"], ["list"], ["analyze", "--help"], ["analyze", "painters", "--help"]]
)
def test_help_needs_no_torch(arguments):
    script = f"import sys; sys.argv = ['mechpaint', *{arguments!r}]\nfrom mechpaint.cli import main\n" + (
        "try:\n    main()\nexcept SystemExit as stop:\n    assert not stop.code, stop.code\n"
        "heavy = {'torch', 'transformers', 'transformer_lens', 'matplotlib', 'pandas', 'datasets'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout


def test_help_names_every_option_and_the_exit_codes(mechpaint):
    shown = mechpaint("analyze", "painters", "--help").stdout
    for option in (
        "--model --task --limit --start-layers --seeds --loops --batch-size --device --dtype --seed --out --dry-run "
        "--json --hooks"
    ).split():
        assert option in shown
    assert "0 done, 1 failed, 2 wrong usage" in shown


def test_list_names_everything(mechpaint):
    shown = json.loads(mechpaint("list", "--json").stdout)
    assert set(shown["analyses"]) == {"painters"}
    assert set(shown["tasks"]) == {"facts", "induction", "ioi", "arithmetic", "text"}
    assert {"skip", "average", "read_attention"} <= set(shown["hook sets"])
    assert "gemma-3-270m" in shown["models"]
    plain = mechpaint("list").stdout
    assert 'session["attention"][visit]' in plain  # nothing is taken for markup


def test_a_run_prints_results_on_stdout_and_the_report_can_be_opened(mechpaint, folder, tmp_path):
    done = mechpaint("analyze", "painters", "--model", folder, *SMALL, "--out", tmp_path / "runs")
    assert done.returncode == 0, done.stderr
    report = done.stdout.strip().splitlines()[-1].removeprefix("report: ")
    page = Path(report).read_text(encoding="utf-8")
    assert "What the paper claims, and what held here" in page
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


def test_a_dry_run_prints_the_plan_and_writes_nothing(mechpaint, folder, tmp_path):
    done = mechpaint(
        "analyze", "painters", "--model", folder, *SMALL, "--out", "runs", "--dry-run", "--json", cwd=tmp_path
    )
    plan = json.loads(done.stdout)
    assert plan["routes"] > 10
    assert plan["layer calls"] < plan["layer calls, unshared"]
    assert plan["minutes"] >= 0
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--task", "nothing"], "no task 'nothing'; there are: "),
        (["--task", "facts:x"], "takes no argument"),
        (["--task", "text:none.txt"], "no file 'none.txt'"),
        (["--task", "facts", "--task", "facts"], "each once"),
        (["--limit", "0"], "1 item or more"),
        (["--limit", "three"], "Invalid value for '--limit'"),
        (["--start-layers", "1,b"], "whole numbers separated by commas"),
        (["--start-layers", "3"], "does not fit 6 layers"),
        (["--seeds", "0"], "1 seed or more"),
        (["--hooks", "skip(0"], "cannot read the hook set"),
        (["--hooks", "skip(0, 9)"], "layers 0 to 5"),
        (["--hooks", "read_attention()"], "also reads or hooks"),
        (["--batch-size", "0"], "--batch-size must be 1 or more"),
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
            "60",
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
