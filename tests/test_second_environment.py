"""Wheels of mechpaint and of the example plugin in an environment of their own, as a user has them.

The heavy dependencies are those of the first environment; mechpaint is not: it comes from the wheel.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
EXAMPLE = ROOT / "examples" / "plugin"
GUIDE = ROOT / "docs" / "how-to" / "plugins.md"
SOURCES = ("pyproject.toml", "README.md", "LICENSE", "MANIFEST.in", "mechpaint", "hooks", "analyses")
JUNK = shutil.ignore_patterns("__pycache__", "*.egg-info", "build", "dist")
NO_HEAVY = """
import sys
sys.argv = ["mechpaint", "list"]
from mechpaint.cli import main
try:
    main()
except SystemExit as stop:
    assert not stop.code
assert "mechpaint_example" in sys.modules
heavy = {"torch", "transformers", "transformer_lens", "matplotlib", "pandas", "datasets"} & set(sys.modules)
assert not heavy, heavy
"""

# one story of half a minute, told by one test after the other
pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("second environment")]


class Environment:
    """A virtual environment, and how commands are run in it."""

    def __init__(self, folder: Path) -> None:
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
        self.folder = folder
        self.python = folder / "bin" / "python"
        (site,) = (folder / "lib").glob("python*/site-packages")
        # the folder alone: files in it that end in .pth, such as that of an editable mechpaint, are not read
        (site / "first_environment.pth").write_text(sysconfig.get_path("purelib") + "\n")

    def install(self, *wheels: Path) -> None:
        command = ["-m", "pip", "--python", self.python, "install", "--quiet", "--no-index", "--no-deps", *wheels]
        subprocess.run([sys.executable, *command], check=True)

    def run(self, *command: str | Path, **variables: str) -> subprocess.CompletedProcess[str]:
        kept = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "MECHPAINT_PLUGINS")}
        env = {**kept, "HF_HUB_OFFLINE": "1", "COLUMNS": "200", **variables}
        return subprocess.run(command, capture_output=True, text=True, env=env, cwd=self.folder, check=False)

    def mechpaint(self, *arguments: str | Path, **variables: str) -> subprocess.CompletedProcess[str]:
        return self.run(self.folder / "bin" / "mechpaint", *arguments, **variables)

    def plugins(self, **variables: str) -> tuple[int, dict[str, dict]]:
        done = self.mechpaint("plugins", "--json", **variables)
        return done.returncode, {plugin["package"]: plugin for plugin in json.loads(done.stdout)["plugins"]}


def _copy(name: str, to: Path, before: str = "", after: str = "") -> Path:
    """The example under another name (distribution, package and entry point), with its `__init__` changed."""
    made = shutil.copytree(EXAMPLE, to / name, ignore=JUNK)
    (made / "src" / "mechpaint_example").rename(made / "src" / f"mechpaint_{name}")
    for path in made.rglob("*.py"):
        path.write_text(path.read_text().replace("mechpaint_example", f"mechpaint_{name}"))
    project = (made / "pyproject.toml").read_text().replace("mechpaint-example", f"mechpaint-{name}")
    project = project.replace('example = "mechpaint_example"', f'{name} = "mechpaint_{name}"')
    (made / "pyproject.toml").write_text(project)
    module = made / "src" / f"mechpaint_{name}" / "__init__.py"
    assert before in module.read_text()
    module.write_text(module.read_text().replace(before, after))
    return made


@pytest.fixture(scope="module")
def wheels(tmp_path_factory):
    """By distribution. Built from copies, so that nothing that lies about in the checkout gets in."""
    place = tmp_path_factory.mktemp("sources")
    checkout = place / "mechpaint"
    checkout.mkdir()
    for name in SOURCES:
        source = ROOT / name
        copy = shutil.copytree if source.is_dir() else shutil.copy
        copy(source, checkout / name, **({"ignore": JUNK, "symlinks": True} if source.is_dir() else {}))
    folders = [
        checkout,
        shutil.copytree(EXAMPLE, place / "example", ignore=JUNK),
        _copy("raises", place, "    registry.add_hook_set", "    raise RuntimeError('of no use')\n    registry.add"),
        _copy("needs", place, "from mechpaint.plugins", "import a_module_that_is_nowhere\nfrom mechpaint.plugins"),
        _copy("twin", place),
    ]
    out = tmp_path_factory.mktemp("wheels")
    command = ["-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--no-index", "--wheel-dir", out]
    subprocess.run([sys.executable, *command, *folders], check=True)
    return {path.name.split("-")[0]: path for path in out.glob("*.whl")}


@pytest.fixture(scope="module")
def environment(tmp_path_factory, wheels):
    """The second environment, with mechpaint and the example."""
    made = Environment(tmp_path_factory.mktemp("environment") / "second")
    made.install(wheels["mechpaint"], wheels["mechpaint_example"])
    return made


def test_mechpaint_is_that_of_the_second_environment(environment):
    done = environment.run(environment.python, "-c", "import mechpaint, mechpaint.hooks as h; print(h.__file__)")
    assert Path(done.stdout.strip()).is_relative_to(environment.folder), done.stderr


def test_the_example_is_listed_and_brings_no_torch(environment):
    status, plugins = environment.plugins()
    assert (status, plugins["mechpaint-example"]["status"]) == (0, "loaded")
    assert plugins["mechpaint-example"]["brings"] == {
        "hook sets": ["rotate"],
        "tasks": ["weekdays"],
        "analyses": ["rotations"],
    }
    listed = environment.run(environment.python, "-c", NO_HEAVY)
    assert listed.returncode == 0, listed.stderr
    for word in ("rotate", "weekdays", "rotations", "painters", "skip"):
        assert f"  {word} " in listed.stdout


def test_the_example_s_own_tests_pass(environment):
    tests = shutil.copytree(EXAMPLE / "tests", environment.folder / "tests", ignore=JUNK)
    done = environment.run(environment.python, "-m", "pytest", "-q", "-p", "no:cacheprovider", tests)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_example_is_run_and_its_version_recorded(environment, folder):
    given = ("analyze", "rotations", "--model", folder, "--width", "4", "--limit", "8", "--json")
    done = environment.mechpaint(*given, "--task", "weekdays:2")
    assert done.returncode == 0, done.stderr
    shown = json.loads(done.stdout)
    assert [row["route"] for row in shown["rotations"]] == ["0-5", "1-3 0 4-5", "0 2-4 1 5", "0-1 3-5 2"]
    run = environment.folder / shown["run"]
    assert json.loads((run / "run.json").read_text())["environment"]["plugins"] == {"mechpaint-example": "0.1.0"}
    assert (run / "figures" / "scores.svg").exists()
    assert "mechpaint-example 0.1.0" in (run / "report.html").read_text()


def _blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}[^\n]*\n(.*?)```", GUIDE.read_text(), re.S)


def test_every_command_of_the_guide_works(environment, wheels, folder, tmp_path):
    """In order, in a folder with the file that the guide shows. The package is installed from its wheel."""
    file, *session = _blocks("python")
    (tmp_path / "mine.py").write_text(file)
    commands = [line for block in _blocks("sh") for line in block.splitlines()]
    assert len(commands) > 10
    for command in commands:
        if command.startswith("pip install"):
            assert (ROOT / command.split()[-1] / "pyproject.toml").exists()
            continue
        model = f" --model {folder}" if "rotations" in command or "painters" in command else ""  # a tiny stand-in
        done = environment.run("sh", "-c", f"cd {tmp_path} && PATH={environment.folder}/bin:$PATH && {command}{model}")
        assert done.returncode == 0, (command, done.stderr)
        assert done.stderr.count("warning") == 0, (command, done.stderr)
    (page,) = {
        path.parent for path in (tmp_path / "runs" / "lengths").rglob("report.html") if "duplicate(" in path.read_text()
    }
    assert json.loads((page / "run.json").read_text())["environment"]["plugins"].keys() == {"mine.py"}
    (tmp_path / "session.py").write_text("\n".join([file, *session, "print(run.report.sections[0].rows)"]))
    done = environment.run(environment.python, tmp_path / "session.py", MECHPAINT_PLUGINS="")
    assert done.returncode == 0, done.stderr
    assert "('without 0', '1', " in done.stdout


def test_the_guide_shows_the_example_s_entry_point():
    (shown,) = map(tomllib.loads, _blocks("toml"))
    is_so = tomllib.loads((EXAMPLE / "pyproject.toml").read_text())["project"]
    assert shown["project"].items() <= is_so.items()


def test_broken_copies_stop_nothing_else(environment, wheels, folder):
    environment.install(*(wheels[f"mechpaint_{name}"] for name in ("raises", "needs", "twin")))
    status, plugins = environment.plugins()
    assert status == 1
    assert {name.removeprefix("mechpaint-"): plugin["status"] for name, plugin in plugins.items()} == {
        "example": "loaded",
        "raises": "broken",
        "needs": "broken",
        "twin": "duplicate",
    }
    assert "RuntimeError: of no use (__init__.py, line " in plugins["mechpaint-raises"]["reason"]
    assert "raise RuntimeError('of no use')" in plugins["mechpaint-raises"]["traceback"]
    assert "a_module_that_is_nowhere" in plugins["mechpaint-needs"]["reason"]
    assert "hook sets named 'rotate': of mechpaint_example.rotate" in plugins["mechpaint-twin"]["reason"]

    done = environment.mechpaint("list")
    assert done.returncode == 0
    assert "rotations" in done.stdout
    assert len(done.stderr.splitlines()) == 3, done.stderr
    assert all(line.endswith("for more: mechpaint plugins") for line in done.stderr.splitlines())
    assert "the plugin raises of mechpaint-raises 0.1.0 was left out (broken)" in done.stderr

    small = ("--model", folder, "--limit", "4", "--task", "weekdays", "--json")
    again = environment.mechpaint("analyze", "painters", *small, "--start-layers", "1", "--seeds", "1")
    assert again.returncode == 0, again.stderr
    assert Path(json.loads(again.stdout)["report"]).name == "report.html"


def test_a_choice_of_plugins(environment):
    status, plugins = environment.plugins(MECHPAINT_PLUGINS="example, twin")
    assert status == 1
    assert {plugin["plugin"]: plugin["status"] for plugin in plugins.values()}["raises"] == "not chosen"
    assert environment.plugins(MECHPAINT_PLUGINS="twin")[1]["mechpaint-twin"]["status"] == "loaded"
    assert environment.plugins(MECHPAINT_PLUGINS="example")[0] == 0
    none = environment.mechpaint("list", "--json", MECHPAINT_PLUGINS="")
    assert "rotations" not in json.loads(none.stdout)["analyses"]
    assert none.stderr == ""
