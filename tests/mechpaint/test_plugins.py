"""Plugins: found without being imported, loaded whole or not at all, and never in the way of anything else."""

from __future__ import annotations

import hashlib
import importlib
import json
import os
import re
import sys
import textwrap
from pathlib import Path

import pytest

from mechpaint import plugins
from mechpaint.cli.plugins import take_plugins
from mechpaint.errors import PluginError
from mechpaint.plugins import Registry, built_in, chosen_by, discover
from mechpaint.runs.fingerprint import plugin_versions
from tests.made_up import Gaze

GOOD = """
from dataclasses import dataclass
from mechpaint.analysis import Experiment
from mechpaint.routes.hookset import HookSet

@dataclass(frozen=True)
class {hook_set}(HookSet):
    first: int

@dataclass(frozen=True)
class Count(Experiment):
    name = "{analysis}"
    question = "How far?"
    columns = {{"value": int}}
    to: int = 3

    def trials(self):
        return {{"one": self.to}}

    def measure(self, label, advance):
        return [{{"value": value}} for value in range(self.to)]

    def report(self, table):
        from mechpaint.report import Report, Table
        rows = [(label, str(value)) for label, value in table.itertuples(index=False)]
        return Report("Counted", ["By a plugin."], [Table("counts", "Counts", "All.", ("trial", "value"), rows)])

def register(registry):
    registry.add_hook_set({hook_set})
    registry.add_analysis(Count)
"""


def good(hook_set="Turned", analysis="count"):
    return GOOD.format(hook_set=hook_set, analysis=analysis)


class Site:
    """A folder like site-packages, with distributions made on the fly."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def install(self, name, code, *, point=None, target=None, version="1.0") -> None:
        module = name.replace("-", "_")
        (self.folder / f"{module}.py").write_text(textwrap.dedent(code))
        info = self.folder / f"{module}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        (info / "entry_points.txt").write_text(f"[mechpaint.plugins]\n{point or name} = {target or module}\n")
        importlib.invalidate_caches()


@pytest.fixture
def site(tmp_path, monkeypatch):
    """An empty one, on the path; plugins are chosen as they are by default; what was imported goes again."""
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(folder)
    monkeypatch.delenv("MECHPAINT_PLUGINS")
    before = set(sys.modules)
    yield Site(folder)
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(tmp_path)):
            del sys.modules[name]


@pytest.fixture
def files(tmp_path):
    """Writes a plugin file, and gives its path."""

    def write(code, name="mine.py"):
        (tmp_path / name).write_text(textwrap.dedent(code))
        return tmp_path / name

    return write


def by_name(discovery):
    return {plugin.name: plugin for plugin in discovery.plugins}


def test_nothing_is_imported_until_it_is_loaded(site, monkeypatch):
    site.install("lazy-one", good())
    (plugin,) = plugins.installed()
    assert (plugin.name, plugin.place, plugin.package, plugin.version) == ("lazy-one", "lazy_one", "lazy-one", "1.0")
    assert "lazy_one" not in sys.modules
    monkeypatch.setenv("MECHPAINT_PLUGINS", "")
    (plugin,) = discover(built_in()).plugins
    assert (plugin.name, plugin.status, plugin.brings) == ("lazy-one", "not chosen", {})
    assert "lazy_one" not in sys.modules
    monkeypatch.delenv("MECHPAINT_PLUGINS")
    discovery = discover(built_in())
    (plugin,) = discovery.plugins
    assert (plugin.name, plugin.status) == ("lazy-one", "loaded")
    assert plugin.brings == {"hook sets": ("turned",), "tasks": (), "analyses": ("count",)}
    assert discovery.registry.analyses["count"] is sys.modules["lazy_one"].Count
    assert "turned" not in built_in().hook_sets


def test_an_entry_point_may_name_an_object(site):
    code = "class Holder:\n    @staticmethod\n    def register(registry):\n        registry.add_hook_set(Turned)\n"
    site.install("held", good().replace("def register", "def other") + code, target="held:Holder")
    assert by_name(discover(built_in()))["held"].brings["hook sets"] == ("turned",)


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("import nowhere_at_all", "ModuleNotFoundError: No module named 'nowhere_at_all' (broken.py, line 1)"),
        ("\n\nx = (", "SyntaxError: '(' was never closed (broken.py, line 3)"),
        ("import sys\nsys.exit(3)", "SystemExit: 3 (broken.py, line 2)"),
        ("def register(registry):\n    raise KeyError('a\\nb')", "KeyError: 'a\\nb' (broken.py, line 2)"),
        ("register = 3", "it has no function register(registry)"),
        ("def register():\n    pass", "TypeError: register() takes 0 positional arguments but 1 was given"),
        ("def register(to):\n    to.add_task(3)", "TypeError: expected a subclass of Task, got 3 (broken.py, line 2)"),
        ("def register(registry):\n    registry.hook_sets['skip'] = int", "TypeError: 'mappingproxy' object does not"),
        (good(analysis="--count"), "ValueError: expected a name of letters, digits"),
        (good().replace('question = "How far?"', ""), "TypeError: expected Count.question to be a str, got None"),
    ],
)  # fmt: skip
def test_a_broken_plugin_says_why_and_leaves_nothing(site, code, reason):
    site.install("broken", code)
    site.install("fine", good("Fine", "fine"))
    base = built_in()
    discovery = discover(base)
    assert by_name(discovery)["broken"].status == "broken"
    assert by_name(discovery)["broken"].reason.startswith(reason)
    assert by_name(discovery)["fine"].status == "loaded"
    assert set(discovery.registry.hook_sets) - set(base.hook_sets) == {"fine"}
    assert set(discovery.registry.analyses) - set(base.analyses) == {"fine"}
    assert discovery.registry.tasks == base.tasks


def test_an_entry_point_that_names_no_module_is_broken(site):
    site.install("fine", good())
    site.install("odd-target", "", target="not a module!")
    discovery = discover(built_in())
    assert {name: plugin.status for name, plugin in by_name(discovery).items()} == {
        "fine": "loaded",
        "odd-target": "broken",
    }


def test_a_traceback_shows_the_plugin_s_lines_alone(site):
    site.install("broken", "def register(registry):\n    registry.add_task(int('x'))\n")
    (broken,) = discover(built_in()).refused
    assert broken.traceback.splitlines()[0] == "Traceback (most recent call last):"
    assert "registry.add_task(int('x'))" in broken.traceback
    assert "plugins.py" not in broken.traceback
    assert broken.traceback.splitlines()[-1].startswith("ValueError: invalid literal")


def test_ctrl_c_while_a_plugin_is_imported_is_not_the_plugin_s(site):
    site.install("slow-one", "raise KeyboardInterrupt")
    with pytest.raises(KeyboardInterrupt):
        discover(built_in())


def test_registering_is_all_or_nothing_where_a_name_is_taken(site):
    site.install("first", good("Turned", "count"))
    site.install("second", good("Other", "count"))
    site.install("third", good("Skip", "another"))
    discovery = discover(built_in())
    first, second, third = discovery.plugins
    assert first.status == "loaded"
    assert (second.status, second.reason, second.traceback) == (
        "duplicate",
        "there are two analyses named 'count': of first and of second",
        "",
    )
    assert (third.status, third.reason) == (
        "duplicate",
        "there are two hook sets named 'skip': of mechpaint.hooks.skip and of third",
    )
    assert "other" not in discovery.registry.hook_sets
    assert "another" not in discovery.registry.analyses


def test_of_two_plugins_with_one_name_the_first_that_works_stays(site):
    for name, code in (("a-copy", "1 / 0"), ("b-copy", good()), ("c-copy", good("Other", "other"))):
        site.install(name, code, point="same")
    broken, loaded, duplicate = discover(built_in()).plugins
    assert [plugin.status for plugin in (broken, loaded, duplicate)] == ["broken", "loaded", "duplicate"]
    assert duplicate.reason == "another plugin has this name: b_copy of b-copy 1.0"
    assert "c_copy" not in sys.modules


@pytest.mark.parametrize(
    ("value", "names"),
    [(None, None), ("", frozenset()), (" a ,b,, ", frozenset({"a", "b"})), ("[red]", frozenset({"[red]"}))],
)
def test_the_variable_chooses(value, names):
    assert chosen_by({} if value is None else {"MECHPAINT_PLUGINS": value}) == names


def test_only_what_is_chosen_is_imported_and_unknown_names_are_told(site, monkeypatch, mechpaint):
    site.install("one", good("One", "one"))
    site.install("two", good("Two", "two"))
    monkeypatch.setenv("MECHPAINT_PLUGINS", "two, three")
    done = mechpaint("list", "--json")
    assert done.returncode == 0
    assert {"one", "two"} & set(json.loads(done.stdout)["analyses"]) == {"two"}
    assert "one" not in sys.modules
    assert (
        done.stderr
        == "warning: MECHPAINT_PLUGINS names three, and there is no such plugin; for more: mechpaint plugins\n"
    )
    done = mechpaint("plugins")
    assert done.returncode == 1
    assert "MECHPAINT_PLUGINS names three, and there is no such plugin; there are: one, two" in done.stdout
    monkeypatch.setenv("MECHPAINT_PLUGINS", "two")
    assert mechpaint("plugins").returncode == 0


@pytest.mark.parametrize(
    ("arguments", "files", "others"),
    [
        ("list", [], "list"),
        ("--plugin a.py list", ["a.py"], "list"),
        ("analyze mine --plugin a.py --limit 3", ["a.py"], "analyze mine --limit 3"),
        ("--plugin=a.py analyze mine --plugin b.py --plugin=c=d.py", ["a.py", "b.py", "c=d.py"], "analyze mine"),
        ("analyze --plugin a.py mine", ["a.py"], "analyze mine"),
        ("list --plugin --json", ["--json"], "list"),
        ("list -- --plugin a.py", [], "list -- --plugin a.py"),
        ("list --plugins a.py", [], "list --plugins a.py"),
        ("analyze mine --plugin", [], "--plugin"),
        ("--plugin= list", [""], "list"),
    ],
)
def test_plugin_files_are_taken_from_anywhere(arguments, files, others):
    assert take_plugins(arguments.split()) == (files, others.split())


@pytest.mark.parametrize("before", [True, False])
def test_a_file_is_listed_run_and_named_in_the_report(files, mechpaint, tmp_path, before):
    path = files(good())
    plugin, command = ("--plugin", path), ("analyze", "count", "--to", "4", "--out", tmp_path / "runs", "--json")
    given = (*plugin, *command) if before else (*command, *plugin)
    done = mechpaint(*given)
    assert done.returncode == 0, done.stderr
    shown = json.loads(done.stdout)
    assert [row["value"] for row in shown["counts"]] == [0, 1, 2, 3]
    page = Path(shown["report"]).read_text()
    assert "mechpaint " + " ".join(map(str, given)) in page  # how to do it again
    assert "mine.py SHA-256" in page
    assert "count" in json.loads(mechpaint("list", *plugin, "--json").stdout)["analyses"]
    assert "turned" in mechpaint("analyze", "painters", "--hooks", "none(1)", *plugin).stderr
    assert "--to" in mechpaint("analyze", "count", "--help", f"--plugin={path}").stdout


def test_a_file_that_was_edited_is_another_run(files, mechpaint, tmp_path):
    command = ("analyze", "count", "--out", tmp_path / "runs", "--plugin", files(good()))
    assert "1 cells computed" in mechpaint(*command).stdout
    assert "all was computed before" in mechpaint(*command).stdout
    files(good().replace("range(self.to)", "range(9, 9 + self.to)"))
    assert "1 cells computed" in mechpaint(*command).stdout
    (first, second) = (json.loads(path.read_text()) for path in (tmp_path / "runs").rglob("run.json"))
    assert first["environment"]["plugins"]["mine.py"] != second["environment"]["plugins"]["mine.py"]


def test_an_edited_file_is_read_anew_even_with_the_same_size_and_time(files):
    path = files(good())
    assert plugins.registry([path]).analyses["count"]().to == 3
    before = path.stat()
    files(good().replace("to: int = 3", "to: int = 4"))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert path.stat().st_size == before.st_size
    assert plugins.registry([path]).analyses["count"]().to == 4


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("x = 1\n\ny = )\n", "SyntaxError: unmatched ')' (mine.py, line 3)"),
        ("import json\njson.loads('')\n", "(mine.py, line 2)"),
        ("x = 1\n", "it has no function register(registry)"),
        (good("Skip"), "there are two hook sets named 'skip'"),
        (good().replace("to: int", "to: 'Nowhere'"), "'count' cannot be a command: name 'Nowhere' is not defined"),
        (good().replace("to: int", "to: int | str"), "the analysis 'count' cannot be a command: Typer"),
        (
            good().replace("to: int = 3", "out: int = 3"),
            "the analysis 'count' cannot be a command: duplicate parameter",
        ),
        (None, "is not there; expected a Python file with a function register(registry)"),
    ],
)
@pytest.mark.parametrize("command", [["list"], ["analyze", "count"]])
def test_a_file_that_cannot_be_loaded_is_an_error(files, mechpaint, tmp_path, code, words, command):
    path = tmp_path / "mine.py" if code is None else files(code)
    done = mechpaint(*command, "--plugin", path)
    assert done.returncode == 2
    assert done.stdout == ""
    assert f"error: cannot load the plugin {path}: " in done.stderr
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    shown = mechpaint("plugins", "--plugin", path, "--json")
    assert shown.returncode == 1
    (plugin,) = json.loads(shown.stdout)["plugins"]
    assert words in plugin["reason"]
    assert mechpaint("--help", "--plugin", path).returncode == 0


def test_a_folder_is_no_plugin_file_and_a_file_twice_is_one(files, mechpaint, tmp_path):
    assert "is no Python file (.py)" in mechpaint("list", "--plugin", tmp_path).stderr
    (tmp_path / "mine.txt").write_text(good())
    assert "is no Python file (.py)" in mechpaint("list", "--plugin", tmp_path / "mine.txt").stderr
    (tmp_path / "loop.py").symlink_to("loop.py")
    assert "is not there" in mechpaint("list", "--plugin", tmp_path / "loop.py").stderr
    path = files(good())
    (tmp_path / "link.py").symlink_to(path)
    assert mechpaint("list", "--plugin", path, "--plugin", tmp_path / "link.py").returncode == 0
    done = mechpaint("list", "--plugin")
    assert done.returncode == 2
    assert "requires an argument" in done.stderr


def test_files_of_one_name_do_not_get_mixed_up(files, tmp_path):
    (tmp_path / "other").mkdir()
    registry = discover(built_in(), [files(good("One", "one")), files(good("Two", "two"), "other/mine.py")]).registry
    assert {"one", "two"} <= set(registry.analyses)
    assert sys.modules[registry.analyses["one"].__module__].__file__ == str(tmp_path / "mine.py")


def test_what_a_plugin_prints_is_no_result(files, mechpaint):
    path = files("print('noise')\n" + good())
    done = mechpaint("list", "--json", "--plugin", path)
    assert "count" in json.loads(done.stdout)["analyses"]
    assert "noise" in done.stderr


HOSTILE = "[red]x[/red]\x1b[2J\u202egnp"
WRITTEN = "[red]x[/red]␛[2J�gnp"


def test_hostile_names_and_messages_are_shown_as_text(site, files, mechpaint, tmp_path):
    site.install("hostile", f"raise ValueError({HOSTILE!r})", point=HOSTILE)
    for name, done in (("plugins", mechpaint("plugins")), ("list", mechpaint("list"))):
        shown = done.stdout + done.stderr
        assert "\x1b" not in shown, name
        assert "\u202e" not in shown, name
        assert WRITTEN in shown, name
    assert json.loads(mechpaint("plugins", "--json").stdout)["plugins"][0]["plugin"] == HOSTILE
    code = good().replace("first: int", f'"""{HOSTILE}"""\n    first: int').replace("How far?", HOSTILE)
    code = code.replace("to: int = 3", f"to: int = field(default=3, metadata={{'help': {HOSTILE!r}}})")
    path = files("from dataclasses import field\n" + code, "[bold]\x1b[2J.py")
    for command in (["list"], ["analyze", "--help"], ["analyze", "count", "--help"], ["plugins"]):
        done = mechpaint(*command, "--plugin", path)
        assert "\x1b" not in done.stdout + done.stderr, command
        assert WRITTEN in done.stdout + done.stderr, command
    path.write_text("1 / 0")
    assert "[bold]␛[2J.py" in mechpaint("list", "--plugin", path).stderr


def test_no_plugins_is_all_right(site, mechpaint):
    done = mechpaint("plugins")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("There are no plugins")
    assert json.loads(mechpaint("plugins", "--json").stdout) == {"plugins": [], "missing": []}


def test_plugins_shows_where_each_is_from_and_what_it_brings(site, files, mechpaint):
    site.install("one-of-them", good("One", "one"), point="one", version="3.1")
    site.install("broken", "1 / 0")
    done = mechpaint("plugins", "--plugin", files(good("Two", "two")))
    assert done.returncode == 1
    (one,) = (line for line in done.stdout.splitlines() if "one-of-them" in line)
    assert re.split(r"\s{2,}", one.strip()) == ["one", "one-of-them 3.1", "one_of_them", "loaded", "hook sets: one"]
    assert "broken: ZeroDivisionError: division by zero (broken.py, line 1)" in done.stdout
    assert "    1 / 0" in done.stdout
    assert done.stderr == ""


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["plugins", "--help"]])
def test_help_imports_no_plugin(site, mechpaint, arguments):
    site.install("lazy-one", good())
    done = mechpaint(*arguments)
    assert (done.returncode, done.stderr) == (0, "")
    assert "lazy_one" not in sys.modules


def test_a_session_has_what_the_command_line_has(site, files, monkeypatch):
    site.install("one", good("One", "one"))
    registry = plugins.registry([files(good("Two", "two"))])
    assert {"one", "two", "painters"} <= set(registry.analyses)
    site.install("broken", "1 / 0")
    with pytest.warns(UserWarning, match="broken plugin 'broken' left out: ZeroDivisionError"):
        assert "one" in plugins.registry().analyses
    with pytest.raises(PluginError, match=r"mine\.py: NameError: name 'x' is not defined \(mine\.py, line 1\)"):
        plugins.registry([files("x")])
    monkeypatch.setenv("MECHPAINT_PLUGINS", "none-such")
    with pytest.warns(UserWarning, match="MECHPAINT_PLUGINS names plugins that are not there: none-such"):
        plugins.registry()


def test_the_versions_that_a_run_depends_on(site, files):
    site.install("one-of-them", good("One", "one"), version="3.1")
    path = files(good("Two", "two"))
    registry = discover(built_in(), [path]).registry
    of_package, of_file = registry.analyses["one"](), registry.hook_sets["two"](0)
    assert plugin_versions([of_package, registry.hook_sets["one"](1)]) == {"one-of-them": "3.1"}
    (digest,) = plugin_versions([of_file]).values()
    assert digest == "SHA-256 " + hashlib.sha256(path.read_bytes()).hexdigest()[:16]
    path.write_text("edited since it was loaded")
    assert plugin_versions([of_file, of_package]) == {"one-of-them": "3.1", "mine.py": digest}
    assert plugin_versions([registry.analyses["painters"](), registry.hook_sets["skip"](0, 0), Gaze()]) == {}


def test_a_registry_refuses_what_is_none_of_its_kind():
    registry = Registry()
    registry.add_analysis(Gaze)
    registry.add_analysis(Gaze)  # the same again is no other
    with pytest.raises(TypeError, match="HookSet"):
        registry.add_hook_set(Gaze)
    with pytest.raises(PluginError, match="two analyses named 'gaze'"):
        registry.add_analysis(type("Other", (Gaze,), {}))
    copy = registry.copy()
    copy.add_hook_set(built_in().hook_sets["skip"])
    assert not registry.hook_sets
    assert copy.analyses == {"gaze": Gaze}
