"""Streams that are closed, full or not UTF-8; Ctrl-C at any moment; tables of any width; causes named."""

from __future__ import annotations

import errno
import io
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
from rich.console import Console
from rich.text import Text

from mechpaint import toy
from mechpaint.cli import _run, app
from mechpaint.cli.process import interrupts, run_process
from mechpaint.display.progress import progress, ticking
from mechpaint.display.summary import Summary
from mechpaint.display.terminal import Rows, status
from mechpaint.plugins import built_in
from tests.docs.fences import ROOT
from tests.made_up import Walks

MAIN = [sys.executable, "-c", "from mechpaint.cli import main; main()"]


@pytest.fixture(autouse=True)
def _own_sigint():
    """A command keeps its handler to the end of its process; here others follow."""
    before = signal.getsignal(signal.SIGINT)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def ended(monkeypatch):
    """End a process that prints to given streams, and give its status."""

    def run(do, stdout=None, stderr=None):
        monkeypatch.setattr(sys, "stdout", stdout or io.StringIO())
        monkeypatch.setattr(sys, "stderr", stderr or io.StringIO())
        with pytest.raises(SystemExit) as stopped:
            run_process(do)
        return stopped.value.code

    return run


def _say(words, stream=None):
    (stream or sys.stdout).write(f"{words}\n")
    if stream is not None:
        stream.flush()


class Failing(io.StringIO):
    """A stream that raises when it is flushed, as a buffered one does."""

    def __init__(self, error):
        super().__init__()
        self.error = error

    def flush(self):
        raise self.error


@pytest.mark.parametrize(
    ("encoding", "shown"),
    [
        ("utf-8", "≠ é × 東 ½\n"),
        ("cp1252", "!= é × ? ½\n"),
        ("latin-1", "!= é × ? ½\n"),
        ("ascii", "!= e x ? ?\n"),
        ("cp437", "!= é x ? ½\n"),
        ("gbk", "≠ é × 東 ?\n"),
    ],
)
def test_what_an_encoding_lacks_is_replaced(ended, encoding, shown):
    out = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    assert ended(lambda: _say("≠ é × 東 ½"), out) == 0
    assert out.buffer.getvalue().decode(encoding) == shown


def test_a_path_that_is_not_utf_8_is_printed_as_it_is(ended):
    out = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
    assert ended(lambda: _say(os.fsdecode(b"caf\xe9/report.html")), out) == 0
    assert out.buffer.getvalue() == b"caf\xe9/report.html\n"


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "koi8-r"])
def test_a_command_prints_in_any_encoding(monkeypatch, ended, encoding):
    monkeypatch.setattr(sys, "argv", ["mechpaint", "list"])
    out = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    assert ended(_run, out) == 0
    assert "gemma-3-270m" in out.buffer.getvalue().decode(encoding)


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), 1, "standard output: No space left on device"),
        (OSError(errno.EDQUOT, "Disk quota exceeded"), 1, "standard output: Disk quota exceeded"),
        (OSError(errno.EIO, "Input/output error"), 1, "standard output: Input/output error"),
        (ValueError("I/O operation on closed file"), 1, "standard output: I/O operation on closed file"),
        (BrokenPipeError(errno.EPIPE, "Broken pipe"), 141, ""),
        (ConnectionResetError(errno.ECONNRESET, "Connection reset by peer"), 1, "Connection reset by peer"),
    ],
)
def test_an_output_that_cannot_be_written_is_told_in_a_line(ended, error, code, words):
    said = io.StringIO()
    assert ended(lambda: _say("results"), Failing(error), said) == code
    assert words in said.getvalue()
    assert said.getvalue().count("\n") == bool(words)


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), BrokenPipeError()])
def test_errors_that_cannot_be_told_change_nothing(ended, error):
    out = io.StringIO()
    assert ended(lambda: (_say("a warning", sys.stderr), _say("results")), out, Failing(error)) == 0
    assert out.getvalue() == "results\n"


class Written:
    """All that a logger's stand-in for a stream may have."""

    def write(self, text):
        pass


class Closed(io.StringIO):
    def __init__(self):
        super().__init__()
        self.close()


@pytest.mark.parametrize("stand_in", [None, Written(), Closed(), object()], ids=["none", "log", "closed", "object"])
def test_progress_goes_without_a_terminal(monkeypatch, stand_in):
    with monkeypatch.context() as patched:
        patched.setattr(sys, "stderr", stand_in)
        with ticking("training", 2, None) as advance, status("loading [a/b]"):
            advance(2)
        with progress() as bar:
            bar.advance(bar.add_task("all"))
        model = toy.SimplifiedTransformer(toy.SimplifiedConfig(vocabulary=9, dim=16, length=8))
        toy.train(model, toy.BigramTask(toy.Chain.uniform(9)), toy.Training(steps=1))


# The shell closes streams for a command that prints quickly.
@pytest.mark.parametrize(
    ("shell", "code", "words"),
    [
        ("{} list >/dev/full", 1, "No space left on device"),
        ("{} list >&-", 1, "Bad file descriptor"),
        ("{} runs nowhere 2>&-", 2, ""),
        ("{} list >&- 2>&- <&-", 1, ""),
        ("{} runs nowhere 2>/dev/full", 2, ""),
        ("{} --version >/dev/full", 1, "No space left on device"),
    ],
)
@pytest.mark.slow
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
def test_streams_of_the_shell(shell, code, words):
    command = f"{sys.executable} -c 'from mechpaint.cli import main; main()'"
    done = subprocess.run(shell.format(command), shell=True, capture_output=True, text=True, check=False)
    assert done.returncode == code
    assert words in done.stderr
    assert done.stderr.count("\n") == bool(words)


def _interrupt():
    signal.raise_signal(signal.SIGINT)
    time.sleep(1)


def _swallowed_into(error):
    def do():
        try:
            _interrupt()
        except KeyboardInterrupt:
            raise error from None

    return do


@pytest.mark.parametrize(
    "do",
    [
        _interrupt,
        _swallowed_into(RecursionError("maximum recursion depth exceeded")),
        _swallowed_into(ImportError("cannot import numpy")),
        _swallowed_into(SystemExit(1)),
    ],
    ids=["as it is", "recursion", "import", "exit"],
)
def test_an_interruption_is_one_whatever_becomes_of_it(ended, do):
    signal.signal(signal.SIGINT, signal.default_int_handler)
    said = io.StringIO()
    assert ended(do, stderr=said) == 130
    assert said.getvalue() == "interrupted\n"


def test_ignored_interruptions_stay_ignored(ended):
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    assert ended(lambda: signal.raise_signal(signal.SIGINT)) == 0
    assert not interrupts.given


_SWALLOWING = """
import sys, pathlib
from mechpaint.cli.process import run_process

def do():
    sys.path.insert(0, sys.argv[1])
    try:
        import waiting
    except BaseException:
        raise RecursionError from None

run_process(do)
"""
_WAITING = """
import pathlib, time
pathlib.Path(__file__).with_name("began").touch()
for _ in range(600):
    try:
        time.sleep(0.1)
    except BaseException:
        pass
"""


def test_an_import_that_swallows_interruptions_ends_at_once(tmp_path):
    (tmp_path / "waiting.py").write_text(_WAITING)
    process = _started([sys.executable, "-c", _SWALLOWING, str(tmp_path)])
    deadline = time.monotonic() + 60
    while not (tmp_path / "began").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=30)[1] == "interrupted\n"
    assert process.returncode == 130


@pytest.mark.release
@pytest.mark.parametrize("times", [1, 2])
@pytest.mark.parametrize("delay", [0.3, 0.5, 0.8, 1.0, 1.2, 1.4, 1.7, 2.0, 2.5, 3.0])
def test_ctrl_c_at_any_moment(tmp_path, delay, times):
    process = _started([*MAIN, "analyze", "induction", "--layers", "0", "--out", str(tmp_path)])
    time.sleep(delay)
    for _ in range(times):
        process.send_signal(signal.SIGINT)
        time.sleep(0.05)
    stdout, stderr = process.communicate(timeout=120)
    assert process.returncode == 130
    assert (stdout, stderr.count("\n")) == ("", 1)
    assert stderr.startswith("interrupted")


def _started(command):
    return subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "HF_HUB_OFFLINE": "1"},
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )


TABLES = {
    "numbers": (("run", "accuracy where y ≠ x", "loss"), [("full model", "0.964 [0.949, 0.977]", "0.25")] * 2),
    "paths": (("run", "model"), [("induction/f389dd8eed9d59ed", "/home/somebody/models/" + "deep/" * 9)]),
    "wide": (("東京の", "é"), [("東京都" * 9, "e\u0301" * 30)]),
    "many": (tuple("abcdefghijkl"), [tuple(f"{i}.25" for i in range(12))]),
    "facts": ((), [("layer calls, unshared", "1,234,567"), ("routes", "0-3 (4-13)x3 14-17 [all]\nand 0-17")]),
    "styled": (("a",), [(Text("unfinished-" * 4, "red"),)]),
}


@pytest.mark.parametrize("table", TABLES)
def test_tables_lose_nothing_at_any_width(table):
    columns, rows = TABLES[table]
    expected = sorted(_letters([*columns, *(str(cell) for row in rows for cell in row)]))
    for width in range(20, 201):
        console = Console(file=io.StringIO(), width=width)
        console.print(Rows(columns, rows))
        lines = console.file.getvalue().splitlines()
        assert all(Text(line).cell_len <= width for line in lines), width
        shown = sorted(_letters(lines))
        for letter in set(expected):
            assert shown.count(letter) >= expected.count(letter), (width, letter)


def _letters(texts):
    return "".join("".join(texts).split()).replace(":", "").replace(",", "")


@pytest.mark.parametrize("width", [20, 40, 80])
def test_summaries_lose_nothing(width):
    console = Console(file=io.StringIO(), width=width)
    console.print(
        Summary("A title that is long", [("the fact", "f" * 90)], ("n" * 25, "m"), [("1.25", "2.5")] * 2).rich()
    )
    shown = "".join(console.file.getvalue().split())
    assert "…" not in shown
    for text in ("Atitlethatislong", "f" * 20, "1.25", "2.5"):
        assert text in shown
    assert (shown.count("f") - 1, shown.count("1.25")) == (90, 2)


@pytest.mark.parametrize("columns", ["20", "47"])
@pytest.mark.parametrize("command", ["list", "plugins", "runs .", "analyze walks --dry-run"])
def test_commands_lose_nothing(mechpaint, monkeypatch, tmp_path, columns, command):
    registry = built_in()
    registry.add_analysis(Walks)
    monkeypatch.setattr(app, "built_in", lambda: registry)
    assert mechpaint("analyze", "walks", "--seeds", "1", cwd=tmp_path).returncode == 0
    wide = mechpaint(*command.replace("runs .", "runs runs").split()).stdout
    environment, monkeypatch.setenv = (
        monkeypatch.setenv,
        lambda name, value: environment(name, columns if name == "COLUMNS" else value),
    )
    narrow = mechpaint(*command.replace("runs .", "runs runs").split()).stdout
    assert narrow.count("…") == wide.count("…")
    shown, expected = _letters(narrow.splitlines()), _letters(wide.splitlines())
    assert not [letter for letter in set(expected) if shown.count(letter) < expected.count(letter)]


@pytest.mark.parametrize("columns", ["20", "40", "79", "80"])
@pytest.mark.parametrize("command", ["", "analyze pareto", "plan painters"])
def test_help_names_every_option_at_any_width(mechpaint, monkeypatch, columns, command):
    wide = mechpaint(*command.split(), "--help").stdout
    given = monkeypatch.setenv
    monkeypatch.setattr(monkeypatch, "setenv", lambda name, value: given(name, columns if name == "COLUMNS" else value))
    narrow = mechpaint(*command.split(), "--help").stdout
    named = set(re.findall(r"--[a-z-]+", wide))
    assert len(named) >= 3
    assert not [name for name in named if name not in narrow]
    assert "\\[" not in narrow


@dataclass(frozen=True)
class Broken(Walks):
    """Walks whose report raises."""

    name = "broken"
    how: str = "key"

    def report(self, table):
        if self.how == "key":
            return {}["facts"]
        if self.how == "divide":
            return 1 / 0
        return super().report(table)


@pytest.mark.parametrize(("how", "words"), [("key", "KeyError: 'facts'"), ("divide", "ZeroDivisionError: division by")])
def test_a_report_that_raises_loses_nothing(mechpaint, monkeypatch, tmp_path, how, words):
    registry = built_in()
    registry.add_analysis(Broken)
    monkeypatch.setattr(app, "built_in", lambda: registry)
    done = mechpaint("analyze", "broken", "--seeds", "1", "--how", how, cwd=tmp_path)
    (run,) = tmp_path.glob("runs/broken/*")
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert f"the report of the analysis 'broken' cannot be drawn: {words}" in done.stderr
    assert f"({__file__}, line " in done.stderr
    assert f"mechpaint report {run.relative_to(tmp_path)}" in done.stderr
    assert list(run.glob("cells/*"))
    assert (run / "results.parquet").is_file()
    assert "Traceback" not in done.stderr
    monkeypatch.setattr(Broken, "report", Walks.report)
    assert mechpaint("report", run).returncode == 0
    assert "all was computed before" in mechpaint("analyze", "broken", "--seeds", "1", "--how", how).stdout


@pytest.mark.parametrize("task", ["text", "facts", "arithmetic", "counting"])
def test_a_tokenizer_that_cannot_encode_a_task_is_told(mechpaint, tmp_path, task):
    done = mechpaint("analyze", "painters", "--model", "toy-induction", "--task", task, "--limit", "0", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert f"the tokenizer of this model cannot encode the text of the task {task}" in done.stderr
    assert done.stderr.count("\n") == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("analysis", "name"), [("Lesions", "lesions"), ("Peel", "peel")])
@pytest.mark.parametrize("tasks", [["weekdays"], ["induction", "weekdays"]], ids="-".join)
def test_the_guides_run_on_any_tasks(mechpaint, folder, tmp_path, analysis, name, tasks):
    pages = ROOT / "docs" / "how-to"
    for page, given in (("analysis", f"add_analysis({analysis})"), ("task", "add_task(Weekdays)")):
        blocks = (pages / f"{page}.md").read_text().split("```python\n")[1:]
        kept = [block.split("```")[0] for block in blocks if "class " in block and "```" in block]
        text = "\n\n".join(kept[:2] if page == "analysis" else kept[:1])
        (tmp_path / f"{page}.py").write_text(f"{text}\n\ndef register(registry):\n    registry.{given}\n")
    plugins = [part for page in ("analysis", "task") for part in ("--plugin", tmp_path / f"{page}.py")]
    given = [part for task in tasks for part in ("--task", task)]
    more = ["--limit", "2"] if name == "lesions" else ["--limit", "2", "--held-out", "2", "--depth", "1"]
    done = mechpaint("analyze", name, "--model", folder, *given, *more, *plugins, "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert all(f'"{task}": "' in done.stdout for task in tasks)
