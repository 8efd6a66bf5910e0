"""Every command of every page is carried out, and one of an unknown kind fails, so that none goes untested.

    mechpaint …      for real, through the command line itself. Analyses that take minutes get `--dry-run`, which loads
                     the model, makes the plan and stops. In the default run a tiny model with as many layers stands in
                     for Gemma-3-270M, and tasks have four items; `-m ""` runs them on the real one too, as they are.
    python FILE      for real, with the same stand-in
    python examples/export.py NAME   the notebook is there; the notebooks' own tests execute it
    mechpaint-lm-eval …   for real, with the same stand-in; lm-eval's own tasks, which take long to find, are unknown
    sbatch FILE      the commands in the file, as SLURM starts them for the first of its array
    git, cd          for real, with a small repository in the place of this one
    make TARGET      `make -n`: the target and all it needs are there
    pip install …    the extras are this project's, and files that are named are there; another package's modules and
                     entry points are found from then on; what is pinned, the Makefile installs in the same way
    python -m NAME   the module is there; the benchmarks that are started so take minutes

In the default run, pages that analyse for more than a few seconds have their `mechpaint` commands read instead: options
exist and have values that they may have, analyses and hook sets can be made. `-m slow` carries them out.

The commands of a page run in order, in an empty folder; a block with a title becomes the file of that name when it is
its turn. A block of the language `text` right after commands holds what they print. A block without a language is taken
for commands.
"""

from __future__ import annotations

import importlib.util
import re
import runpy
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

from mechpaint.analysis import Analysis
from mechpaint.cli import app, export, main, plan
from mechpaint.cli.errors import handle_errors
from mechpaint.cli.lm_eval import main as lm_eval_command
from mechpaint.models.presets import PRESETS, Preset
from mechpaint.planning import calibration
from mechpaint.plugins import Registry
from mechpaint.routes.hookset_text import parse_hook_set
from tests import tiny
from tests.docs.fences import PAGES, ROOT, Block, blocks_of, shows

EXTRAS = set(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"])
MINUTES = {"painters", "birth", "memories", "similarity", "loops", "pareto"}
LANGUAGES = {"", "sh", "python", "text", "toml"}


def _commands(block: Block) -> list[list[str]]:
    """The words of every command of a block; comments and the ends of continued lines are not among them."""
    if block.language not in ("", "sh"):
        return []
    lines = block.text.replace("\\\n", " ").splitlines()
    return [words for words in (shlex.split(line, comments=True) for line in lines) if words]


def _asks_a_preset(words: list[str]) -> bool:
    named = any(name in word for word in words for name in ("gemma", "smollm2"))
    by_default = "--model" not in words and not {"painters", "similarity", "loops", "pareto"}.isdisjoint(words)
    return named or by_default or any("examples/" in word for word in words)


COMMANDS = {page: [words for block in blocks_of(page) for words in _commands(block)] for page in PAGES}
WITH_COMMANDS = [page for page, commands in COMMANDS.items() if commands]
_LONG_GUIDES = "benchmarks clusters find-routes own-model plan plugins reproduce runs".split()
LONG = {
    ROOT / "docs" / f"{name}.md"
    for name in ("gallery", "index", "results/painters", *(f"how-to/{guide}" for guide in _LONG_GUIDES))
}
"""Pages whose commands take longer than a few seconds."""


def _name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@pytest.fixture(scope="module")
def stand_in(tmp_path_factory):
    """Tiny models with a tokenizer and as many layers as the presets that they stand in for."""
    layers = {"gemma-3-270m": 18, "smollm2-135m": 30}
    return {name: tiny.folder(tmp_path_factory.mktemp("models") / name, n_layers=n) for name, n in layers.items()}


@dataclass
class Place:
    """Where the commands of a page run."""

    folder: Path
    monkeypatch: pytest.MonkeyPatch
    done: set[tuple[str, ...]]
    """Commands that were carried out on an earlier page: `mechpaint` is asked the same thing once."""
    items: int | None = None
    """How many items tasks have, whatever the command says."""
    only_reads: bool = False
    """Whether commands of `mechpaint` are read and then left at that."""

    def enter(self, folder: Path) -> None:
        self.folder = folder
        self.monkeypatch.chdir(folder)

    def file(self, name: str) -> Path:
        """A file that a command names: in the page's folder, or in the repository."""
        found = next((home / name for home in (self.folder, ROOT) if (home / name).exists()), None)
        assert found, f"there is no {name}"
        return found


@pytest.fixture(scope="module")
def done():
    """What was carried out so far."""
    return set()


@pytest.fixture
def place(tmp_path, monkeypatch, folder, done):
    """A folder with what the pages speak of: a text, a model in a folder."""
    (tmp_path / "my.txt").write_text("to be or not to be, that is the question\n" * 50)
    (tmp_path / "runs").mkdir()
    (tmp_path / "path" / "or").mkdir(parents=True)
    (tmp_path / "path" / "or" / "hub-name").symlink_to(folder)
    monkeypatch.setenv("COLUMNS", "160")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr(calibration, "BUDGET", 0.02)  # what estimates of time are made from, in seconds
    made = Place(tmp_path, monkeypatch, done)
    made.enter(tmp_path)
    return made


def _mechpaint(words: list[str], place: Place) -> None:
    if words[1] == "get":
        assert words[2] in PRESETS, words
        return
    analysis = words[2] if words[1] == "analyze" else ""
    if analysis in MINUTES or (analysis == "induction" and "gemma-3-270m" in words):
        words = [*(word for word in words if word != "--dry-run"), "--dry-run"]
    if analysis == "painters" and place.items:
        words = _limited(words, place.items)
    if tuple(words) in place.done:
        return
    place.done.add(tuple(words))
    with pytest.MonkeyPatch.context() as for_this_one:
        if place.only_reads:
            for_this_one.setattr(app, "_analyze", _read)
            for_this_one.setattr(plan, "_plan", _read)
            for_this_one.setattr(export, "_export", lambda *given: None)
            for_this_one.setattr(export, "_print", lambda *given: None)
        for_this_one.setattr(sys, "argv", words)
        with pytest.raises(SystemExit) as stopped:
            main()
    assert not stopped.value.code, words


def _limited(words: list[str], items: int) -> list[str]:
    """A command with another `--limit`, so that those that differ in nothing else are one."""
    at = words.index("--limit") if "--limit" in words else len(words)
    return [*words[:at], *words[at + 2 :], "--limit", str(items)]


def _read(registry: Registry, *given: Any) -> None:
    """Stand in for an analysis or a plan: its options were read, and the analysis was made of them."""
    *_, analysis, options = given
    assert isinstance(analysis, Analysis)
    with handle_errors("nothing was written"):
        parse_hook_set(options.get("hooks", ""), registry.hook_sets)


def _lm_eval(words: list[str], place: Place) -> None:
    from lm_eval import __main__, tasks

    with pytest.MonkeyPatch.context() as for_this_one:
        for_this_one.setattr(tasks, "TaskManager", partial(tasks.TaskManager, include_defaults=False))
        for_this_one.setattr(__main__, "setup_logging", lambda: None)  # it would go on writing where stderr was
        for_this_one.setattr(sys, "argv", words)
        with pytest.raises(SystemExit) as ended:
            lm_eval_command()
    assert not ended.value.code


def _sbatch(words: list[str], place: Place) -> None:
    text = place.file(words[1]).read_text()
    first = re.search(r"^#SBATCH --array=(\d+)-\d+$", text, re.M)[1]
    for line in text.replace("$SLURM_ARRAY_TASK_ID", first).splitlines():
        if not line.startswith(("#", "export ")):
            carry_out(shlex.split(line), place)


def _python(words: list[str], place: Place) -> None:
    if words[1] == "-m":
        assert importlib.util.find_spec(words[2]), words[2]
        return
    script = place.file(words[1])
    if words[1] == "examples/export.py":
        for name in words[3:]:
            place.file(f"examples/{name}.ipynb")
        return
    place.monkeypatch.setattr(sys, "argv", words[1:])
    runpy.run_path(str(script), run_name="__main__")


def _git(words: list[str], place: Place) -> None:
    assert words[1] == "clone"
    assert words[2] == "ADDRESS", "this repository has no address of its own"
    if shutil.which("git") is None:
        pytest.skip("git is not installed")
    source = place.folder / "source"
    source.mkdir()
    shutil.copy(ROOT / "Makefile", source)
    for step in (["init", "-q"], ["add", "."], ["-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", "a"]):
        subprocess.run(["git", *step], cwd=source, check=True)
    subprocess.run(["git", "clone", "-q", str(source), *words[3:]], cwd=place.folder, check=True)


def _cd(words: list[str], place: Place) -> None:
    place.enter(place.folder / words[1])


def _make(words: list[str], place: Place) -> None:
    subprocess.run(["make", "-n", *words[1:]], cwd=ROOT, check=True, capture_output=True)


def _pip(words: list[str], place: Place) -> None:
    assert words[1] == "install"
    wanted = [words[i] for i in range(2, len(words)) if words[i - 1] != "-c" and not words[i].startswith("-")]
    for i, word in enumerate(words):
        if word == "-c":
            place.file(words[i + 1])
    for requirement in wanted:
        what, extras = re.fullmatch(r"([^\[]+)(?:\[(.*)\])?", requirement).groups()
        assert set(extras.split(",") if extras else ()) <= EXTRAS, requirement
        home = ROOT if what == "." else place.file(what)
        project = tomllib.loads((home / "pyproject.toml").read_text())["project"]
        if home != ROOT:
            _install(project, home, place)


def _install(project: dict[str, Any], home: Path, place: Place) -> None:
    """Have a package's modules and entry points found for the rest of the page, without a build."""
    info = place.folder / "site" / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
    info.mkdir(parents=True)
    needs = [f"Requires-Dist: {one}" for one in project.get("dependencies", ())]
    facts = ["Metadata-Version: 2.1", f"Name: {project['name']}", f"Version: {project['version']}", *needs]
    (info / "METADATA").write_text("\n".join(facts) + "\n")
    groups = project.get("entry-points", {}).items()
    lines = [line for group, named in groups for line in (f"[{group}]", *(f"{k} = {v}" for k, v in named.items()))]
    (info / "entry_points.txt").write_text("\n".join(lines) + "\n")
    place.monkeypatch.setenv(
        "MECHPAINT_PLUGINS", ",".join(project.get("entry-points", {}).get("mechpaint.plugins", ()))
    )
    for folder in (info.parent, home / "src"):
        place.monkeypatch.syspath_prepend(str(folder))


KINDS: dict[str, Callable[[list[str], Place], None]] = {
    "mechpaint": _mechpaint,
    "mechpaint-lm-eval": _lm_eval,
    "python": _python,
    "sbatch": _sbatch,
    "git": _git,
    "cd": _cd,
    "make": _make,
    "pip": _pip,
}


def carry_out(words: list[str], place: Place) -> None:
    """Carry out one command in the way of its kind."""
    with pytest.MonkeyPatch.context() as for_this_one:
        while re.fullmatch(r"[A-Z_]+=.*", words[0]):
            for_this_one.setenv(*words[0].split("=", 1))
            words = words[1:]
        program = words[0].removeprefix(".venv/bin/")
        assert program in KINDS, f"how is {shlex.join(words)!r} tested? Add its kind to {__name__}"
        KINDS[program]([program, *words[1:]], place)


@pytest.fixture
def on_stand_in(stand_in, monkeypatch):
    """The stand-ins go by the names of presets."""

    for name, folder in stand_in.items():
        monkeypatch.setitem(PRESETS, name, Preset("a stand-in", partial(Path, folder)))


def _marked(pages: list[Path]) -> list[Any]:
    return [pytest.param(page, marks=pytest.mark.slow if page in LONG else ()) for page in pages]


@pytest.mark.parametrize("page", _marked(WITH_COMMANDS), ids=_name)
def test_commands(page, place, on_stand_in, capfd):
    place.items = 4
    for block, commands in _enacted(page, place, capfd):
        if commands and block.output is not None:
            assert shows(capfd.readouterr().out, block.output)


@pytest.mark.parametrize("page", sorted(LONG), ids=_name)
def test_commands_can_be_read(page, place, on_stand_in, capfd):
    place.only_reads, place.done = True, set()
    for _ in _enacted(page, place, capfd):
        pass


def _enacted(page: Path, place: Place, capfd: Any) -> Iterator[tuple[Block, list[list[str]]]]:
    """The blocks of a page, after each was carried out."""
    for block in blocks_of(page):
        if block.title:
            (place.folder / block.title).write_text(block.text)
        capfd.readouterr()
        commands = _commands(block)
        for words in commands:
            carry_out(words, place)
        yield block, commands


ON_PRESETS = {page: [words for words in commands if _asks_a_preset(words)] for page, commands in COMMANDS.items()}


@pytest.mark.models
@pytest.mark.slow
@pytest.mark.parametrize("page", [page for page in WITH_COMMANDS if ON_PRESETS[page]], ids=_name)
def test_commands_on_the_real_model(page, place):
    for words in ON_PRESETS[page]:
        carry_out(words, place)


def test_an_unknown_kind_of_command_fails(place):
    with pytest.raises(AssertionError, match="how is 'curl something' tested"):
        carry_out(["curl", "something"], place)


def test_what_cannot_be_read_fails(place):
    place.only_reads = True
    for wrong in ("--nothing 3", "--seeds many", "--start-layers a,b", "--hooks 'nowhere(1)'", "--limit"):
        with pytest.raises(AssertionError, match="painters"):
            carry_out(["mechpaint", "analyze", "painters", *shlex.split(wrong)], place)


def test_wrong_commands_fail(place):
    with pytest.raises(subprocess.CalledProcessError):
        carry_out(["make", "nothing"], place)
    with pytest.raises(AssertionError, match="fest"):
        carry_out(["pip", "install", ".[fest]"], place)
    with pytest.raises(AssertionError, match="no-such-analysis"):
        carry_out(["mechpaint", "analyze", "no-such-analysis"], place)
    with pytest.raises(AssertionError, match="there is no missing"):
        carry_out([".venv/bin/python", "missing.py"], place)


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_blocks_are_of_a_language_that_is_tested(page):
    for block in blocks_of(page):
        assert block.language in LANGUAGES, block
        if block.language == "toml":
            tomllib.loads(block.text)


def test_what_is_installed_is_found(place):
    package = place.folder / "plug"
    (package / "src").mkdir(parents=True)
    (package / "src" / "plugged_in.py").write_text("told = 'yes'\n")
    facts = 'name = "a-plug"\nversion = "1.0"\n[project.entry-points."some.group"]\nplug = "plugged_in:told"\n'
    (package / "pyproject.toml").write_text(f"[project]\n{facts}")
    carry_out(["pip", "install", "plug"], place)
    (found,) = metadata.entry_points(group="some.group")
    assert found.load() == "yes"
    assert metadata.version("a-plug") == "1.0"


def test_variables_are_set_for_one_command(place, capfd):
    (place.folder / "say.py").write_text("import os\nprint(os.environ.get('SAID'))\n")
    carry_out(["SAID=a=b", "python", "say.py"], place)
    carry_out(["python", "say.py"], place)
    assert capfd.readouterr().out == "a=b\nNone\n"
