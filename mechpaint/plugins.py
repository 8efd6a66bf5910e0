"""What hook sets, tasks and analyses there are. Built-ins and anyone's own are made known in the same way.

A module with a function `register(registry)` is a plugin: one of mechpaint's own, one that an installed package names,
or a file. `mechpaint.plugins` finds and loads those that are not mechpaint's.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import os
import re
import sys
import traceback
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import redirect_stdout
from dataclasses import dataclass
from functools import partial
from importlib import metadata
from pathlib import Path
from types import MappingProxyType, ModuleType, TracebackType
from typing import TYPE_CHECKING, Any, Literal, NoReturn, TypeAlias, TypeVar

import mechpaint
from mechpaint.errors import PluginError
from mechpaint.routes.hookset import HookSet

if TYPE_CHECKING:
    from mechpaint.analysis import Analysis
    from mechpaint.tasks.task import Task

__all__ = [
    "NameTaken",
    "Registry",
    "built_in",
    "registry",
]

_NAME = re.compile(r"\w[\w.-]*")
_T = TypeVar("_T")


class NameTaken(PluginError):
    """A name that something else has."""


class Registry:
    """Hook sets, tasks and analyses by name."""

    def __init__(self) -> None:
        self._hook_sets: dict[str, type[HookSet]] = {}
        self._tasks: dict[str, type[Task[Any]]] = {}
        self._analyses: dict[str, type[Analysis]] = {}

    @property
    def hook_sets(self) -> Mapping[str, type[HookSet]]:
        """By text name."""
        return MappingProxyType(self._hook_sets)

    @property
    def tasks(self) -> Mapping[str, type[Task[Any]]]:
        """By name."""
        return MappingProxyType(self._tasks)

    @property
    def analyses(self) -> Mapping[str, type[Analysis]]:
        """By name."""
        return MappingProxyType(self._analyses)

    def add_hook_set(self, hook_set: type[HookSet]) -> None:
        """Make a hook set known by its text name.

        Raises:
            PluginError: Another has this name.
            TypeError: It is no hook set.
        """
        _check(hook_set, HookSet)
        _add(self._hook_sets, hook_set.text_name(), hook_set, "hook sets")

    def add_task(self, task: type[Task[Any]]) -> None:
        """Make a task known by its name.

        Raises:
            PluginError: Another has this name.
            TypeError: It is no task.
            ValueError: Its name is none that can be typed.
        """
        from mechpaint.tasks.task import Task

        _check(task, Task, "name", "measure")
        _add(self._tasks, task.name, task, "tasks")

    def add_analysis(self, analysis: type[Analysis]) -> None:
        """Make an analysis known by its name.

        Raises:
            PluginError: Another has this name.
            TypeError: It is no analysis.
            ValueError: Its name is none that can be typed.
        """
        from mechpaint.analysis import Analysis

        _check(analysis, Analysis, "name", "question")
        _add(self._analyses, analysis.name, analysis, "analyses")

    def copy(self) -> Registry:
        """Another registry of the same things."""
        other = Registry()
        other._hook_sets |= self._hook_sets
        other._tasks |= self._tasks
        other._analyses |= self._analyses
        return other


def _check(thing: object, base: type, *texts: str) -> None:
    """Plugins are not type-checked: what is wrong is said where it is registered, not where it would be used."""
    if not (isinstance(thing, type) and issubclass(thing, base)):
        raise TypeError(f"expected a subclass of {base.__name__}, got {thing!r}")
    for name in texts:
        if not isinstance(getattr(thing, name, None), str):
            raise TypeError(f"expected {thing.__name__}.{name} to be a str, got {getattr(thing, name, None)!r}")


def _add(known: dict[str, type[_T]], name: str, thing: type[_T], what: str) -> None:
    if not _NAME.fullmatch(name):
        raise ValueError(f"expected a name of letters, digits, '_', '-' and '.', got {name!r} of {thing.__module__}")
    if known.get(name, thing) is not thing:
        raise PluginError(f"there are two {what} named {name!r}: of {known[name].__module__} and of {thing.__module__}")
    known[name] = thing


def built_in() -> Registry:
    """A registry of everything that mechpaint brings."""
    registry = Registry()
    for hook_set in importlib.import_module("mechpaint.hooks").BUILT_IN:
        registry.add_hook_set(hook_set)
    for task in importlib.import_module("mechpaint.tasks").BUILT_IN:
        registry.add_task(task)
    for analysis in importlib.import_module("mechpaint.analyses").BUILT_IN:
        registry.add_analysis(analysis)
    return registry


VARIABLE = "MECHPAINT_PLUGINS"
"""The environment variable with the names of the plugins to load, separated by commas. Not set: all."""
_LINES_OF_TRACEBACK = 12


@dataclass(frozen=True)
class Loaded:
    """It is there.

    Args:
        brings: The names of its `"hook sets"`, `"tasks"` and `"analyses"`.
    """

    brings: Mapping[str, tuple[str, ...]]


@dataclass(frozen=True)
class NotChosen:
    """It was not asked for, and not imported."""


@dataclass(frozen=True)
class Refused:
    """It was asked for, and nothing of it is there.

    Args:
        why: `"broken"`: it cannot be imported or registered; `"duplicate"`: its name, or that of something that it
            brings, is taken; `"mismatch"`: it requires another mechpaint.
        reason: More of that, in a line.
        traceback: Its last lines, if there is one.
    """

    why: Literal["broken", "duplicate", "mismatch"]
    reason: str
    traceback: str = ""


Outcome: TypeAlias = Loaded | NotChosen | Refused


@dataclass(frozen=True)
class Plugin:
    """A plugin that was found.

    Args:
        source: Where.
        outcome: What became of it.
    """

    source: Source
    outcome: Outcome


@dataclass(frozen=True)
class Discovery:
    """What there is.

    Args:
        registry: Everything that could be had.
        plugins: Every plugin that was found: those of packages by name, then the files.
        missing: Names that were chosen, and no package has.
    """

    registry: Registry
    plugins: tuple[Plugin, ...]
    missing: tuple[str, ...] = ()

    def refused(self) -> list[tuple[Source, Refused]]:
        """The plugins that were asked for and are not there."""
        return [(p.source, p.outcome) for p in self.plugins if isinstance(p.outcome, Refused)]


Check: TypeAlias = "Callable[[type[Analysis]], object]"
"""Raises, if an analysis cannot be used."""


def discover(
    base: Registry,
    files: Iterable[str | Path] = (),
    chosen: frozenset[str] | None = None,
    check: Check | None = None,
) -> Discovery:
    """Load the plugins of installed packages, by name, then those in files. No plugin can make this raise.

    Of several that bring the same name the first is kept."""
    registry = base
    plugins: list[Plugin] = []
    loaded: dict[str, Source] = {}
    for source in installed():
        outcome: Outcome
        if chosen is not None and source.name not in chosen:
            outcome = NotChosen()
        elif source.name in loaded:
            outcome = Refused("duplicate", f"another plugin has this name: {loaded[source.name]}")
        else:
            outcome, registry = _load(source, registry, check)
            if isinstance(outcome, Loaded):
                loaded[source.name] = source
        plugins.append(Plugin(source, outcome))
    missing = (chosen or frozenset()) - {plugin.source.name for plugin in plugins}
    for source in {source.module: source for source in map(from_file, files)}.values():
        outcome, registry = _load(source, registry, check)
        plugins.append(Plugin(source, outcome))
    return Discovery(registry, tuple(plugins), tuple(sorted(missing)))


def chosen_by(environment: Mapping[str, str]) -> frozenset[str] | None:
    """What the environment variable `MECHPAINT_PLUGINS` chooses: None for all."""
    names = environment.get(VARIABLE)
    return None if names is None else frozenset(filter(None, map(str.strip, names.split(","))))


def registry(files: Iterable[str | Path] = ()) -> Registry:
    """Everything there is: what mechpaint brings, the plugins of installed packages, and those in files.

    What the command line has, for a session. `MECHPAINT_PLUGINS` applies. A plugin of an installed package that cannot
    be loaded is left out with a warning.

    Args:
        files: Python files with a function `register(registry)`. Read anew at each call.

    Raises:
        PluginError: Something is wrong with one of the files.
    """
    found = discover(built_in(), files, chosen_by(os.environ))
    require_files(found)
    if found.missing:
        warnings.warn(f"{VARIABLE} names plugins that are not there: {', '.join(found.missing)}", stacklevel=2)
    for source, refused in found.refused():
        warnings.warn(f"{refused.why} plugin {source.name!r} left out: {refused.reason}", stacklevel=2)
    return found.registry


def require_files(found: Discovery) -> None:
    """Refuse a discovery in which a file was not loaded: files are asked for one by one."""
    for source, refused in found.refused():
        if source.package is None:
            raise PluginError(f"cannot load the plugin {source.place}: {refused.reason}")


def _load(source: Source, registry: Registry, check: Check | None) -> tuple[Outcome, Registry]:
    """What became of a plugin, and the registry after it: another one if it was loaded, the same otherwise."""
    trial = registry.copy()
    try:
        if source.package and (mismatch := source.package.mismatch()):
            return Refused("mismatch", mismatch), registry
        with redirect_stdout(sys.stderr):  # standard output has results, and nothing else
            _register(source.load(), trial)
        for name in trial.analyses.keys() - registry.analyses.keys():
            if check is not None:
                check(trial.analyses[name])
    except KeyboardInterrupt:
        raise
    except NameTaken as error:
        return Refused("duplicate", str(error)), registry
    except PluginError as error:
        return Refused("broken", str(error)), registry
    except BaseException as error:  # SystemExit too: a script without a main guard
        return _broken(source, error), registry
    return Loaded(_brought(registry, trial)), trial


def _register(plugin: Any, registry: Registry) -> None:
    register = getattr(plugin, "register", None)
    if not callable(register):
        raise PluginError(f"it has no function register(registry): {getattr(plugin, '__file__', plugin)}")
    register(registry)


def _brought(before: Registry, after: Registry) -> dict[str, tuple[str, ...]]:
    kinds = {
        "hook sets": (before.hook_sets, after.hook_sets),
        "tasks": (before.tasks, after.tasks),
        "analyses": (before.analyses, after.analyses),
    }
    return {kind: tuple(name for name in now if name not in then) for kind, (then, now) in kinds.items()}


def _broken(source: Source, error: BaseException) -> Refused:
    """What went wrong, and where: the traceback from the plugin's own code on, and the last line of that code."""
    own = [at for at in _tracebacks(error) if at.tb_frame.f_globals["__name__"].partition(".")[0] == source.module]
    told = traceback.TracebackException(type(error), error, own[0] if own else None)
    lines = "".join(told.format()).splitlines()[-_LINES_OF_TRACEBACK:]
    if isinstance(error, SyntaxError):
        what, file, line = f"{type(error).__name__}: {error.msg}", error.filename, error.lineno
    else:
        what = traceback.format_exception_only(error)[0].splitlines()[0]
        file, line = (own[-1].tb_frame.f_code.co_filename, own[-1].tb_lineno) if own else (None, None)
    place = f" ({Path(file).name}, line {line})" if file else ""
    return Refused("broken", f"{what}{place}", "\n".join(lines))


def _tracebacks(error: BaseException) -> Iterator[TracebackType]:
    at = error.__traceback__
    while at is not None:
        yield at
        at = at.tb_next


GROUP = "mechpaint.plugins"
"""The entry points that name plugins."""
DIGEST = "__mechpaint_sha256__"
"""What a module that was made of a file has the SHA-256 of that file under, as it was then."""
_UNKNOWN = "unknown"
_Distribution: TypeAlias = Any
"""importlib.metadata's, or, once that package is imported, importlib_metadata's, which shares no base with it."""


@dataclass(frozen=True)
class Package:
    """An installed distribution.

    Args:
        name: Its name.
        version: Its version.
        requires: What it depends on, as its metadata says: `mechpaint<0.2,>=0.1`.
    """

    name: str
    version: str
    requires: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.name} {self.version}"

    def mismatch(self) -> str:
        """What it requires of mechpaint, if this is not that; otherwise nothing."""
        from packaging.requirements import Requirement
        from packaging.utils import canonicalize_name

        for text in self.requires:
            wanted = Requirement(text)
            applies = wanted.marker is None or wanted.marker.evaluate({"extra": ""})
            meant = canonicalize_name(wanted.name) == "mechpaint" and applies
            if meant and not wanted.specifier.contains(mechpaint.__version__, prereleases=True):
                return f"it requires mechpaint{wanted.specifier}, and this is mechpaint {mechpaint.__version__}"
        return ""


@dataclass(frozen=True)
class Source:
    """Where a plugin comes from.

    Args:
        name: The entry point's name, or the file's.
        place: What the entry point names, `module` or `module:object`; or the file's path as it was given.
        module: The top-level module or package that it is.
        package: What brings the entry point; None for a file.
        load: Imports it, and gives what has the function `register`. It raises whatever the plugin does.
    """

    name: str
    place: str
    module: str
    package: Package | None
    load: Callable[[], Any]

    def __str__(self) -> str:
        return f"{self.place} of {self.package}" if self.package else self.place


def installed() -> list[Source]:
    """The plugins of installed packages, ordered by name and package, however they were installed."""
    found = [source for distribution in _distributions() for source in _entry_points(distribution)]
    return sorted(found, key=lambda source: (source.name, source.package.name if source.package else ""))


def from_file(path: str | Path) -> Source:
    """The plugin in a file. However its path is written, it is the same module."""
    real = Path(os.path.realpath(path))
    digest = hashlib.sha256(os.fsencode(real)).hexdigest()[:8]
    module = f"mechpaint_plugin_{re.sub(r'[^0-9A-Za-z_]', '_', real.stem)}_{digest}"
    return Source(Path(path).name, str(path), module, None, partial(_import, Path(path), module))


def _distributions() -> Iterator[_Distribution]:
    """Those that may have plugins. Of two with the same name the one that Python would import."""
    from packaging.utils import canonicalize_name

    seen: set[str] = set()
    for distribution in filter(_mentions_plugins, metadata.distributions()):
        name = canonicalize_name(_field(distribution, "Name"))
        if name == _UNKNOWN:
            yield distribution
        elif name not in seen:
            yield next(iter(metadata.distributions(name=name)), distribution)
        seen.add(name)


def _mentions_plugins(distribution: _Distribution) -> bool:
    try:
        return GROUP in (distribution.read_text("entry_points.txt") or "")
    except (OSError, ValueError):  # not a plugin's matter: pip says more of it
        return False


def _field(distribution: _Distribution, name: str) -> str:
    """A field of its metadata, which may be damaged."""
    try:
        return str(distribution.metadata[name] or _UNKNOWN)
    except Exception:  # what importlib.metadata makes of that differs by version
        return _UNKNOWN


def _entry_points(distribution: _Distribution) -> list[Source]:
    name, version = _field(distribution, "Name"), _field(distribution, "Version")
    try:
        package = Package(name, version, _requires(distribution))
        points = [point for point in distribution.entry_points if point.group == GROUP]
    except Exception as error:  # as above
        return [Source(name, "entry_points.txt", "", Package(name, version, ()), partial(_unreadable, error))]
    return [Source(p.name, p.value, re.split(r"[.:\s]", p.value)[0], package, p.load) for p in points]


def _requires(distribution: _Distribution) -> tuple[str, ...]:
    try:
        return tuple(distribution.requires or ())
    except Exception:  # without metadata importlib_metadata raises, where importlib.metadata says nothing
        return ()


def _unreadable(error: Exception) -> NoReturn:
    raise PluginError(f"its metadata cannot be read ({error}); install it again") from error


def _import(path: Path, name: str) -> ModuleType:
    if not path.is_file() or path.suffix != ".py":
        there = "no Python file (.py)" if path.exists() else "not there"
        raise PluginError(f"{str(path)!r} is {there}; expected a Python file with a function register(registry)")
    spec = importlib.util.spec_from_file_location(name, path.resolve())
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    setattr(module, DIGEST, hashlib.sha256(path.read_bytes()).hexdigest())
    sys.modules[name] = module  # where dataclasses look annotations up
    try:
        spec.loader.exec_module(module)
    except BaseException:
        sys.modules.pop(name, None)
        raise
    return module
