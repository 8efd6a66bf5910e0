"""Plugins: hook sets, tasks and analyses, registered by mechpaint, by installed packages and by files.

A plugin is a module or an object with a function `register(registry)`: what an entry point in the group
`mechpaint.plugins` names, or a Python file. It is loaded whole or not at all, and stops nothing else.
"""

from __future__ import annotations

import hashlib
import importlib
import os
import re
import sys
import traceback
import warnings
from collections.abc import Callable, Iterable, Mapping
from contextlib import redirect_stdout
from dataclasses import dataclass, field, replace
from functools import partial
from importlib import metadata
from pathlib import Path
from types import MappingProxyType, ModuleType
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import mechpaint.analysis
import mechpaint.hooks
import mechpaint.routes.hookset
import mechpaint.tasks
from mechpaint.errors import PluginError
from mechpaint.files import is_file, is_folder

if TYPE_CHECKING:
    from mechpaint.analysis import Analysis
    from mechpaint.routes.hookset import HookSet
    from mechpaint.tasks import Task

__all__ = ["Registry", "built_in", "registry"]

VARIABLE = "MECHPAINT_PLUGINS"
"""The environment variable that lists the entry points to load, separated by commas. Unset: all."""
DIGEST = "__mechpaint_sha256__"
"""The attribute of a plugin file's module that holds the file's SHA-256."""
_NAME = re.compile(r"\w[\w.-]*")
_TRACEBACK_LINES = 12


class NameTaken(PluginError):
    """A name that something else has."""


class Registry:
    """Hook sets, tasks and analyses by name.

    Each method `add_...` raises TypeError for a class of another kind, or one that lacks a text (a task's `name` or
    `measure`, an analysis's `name` or `question`); ValueError for a name with characters other than letters, digits,
    `_`, `-` and `.`; and PluginError for a name that another class has.
    """

    def __init__(self) -> None:
        self._kinds: dict[str, dict[str, Any]] = {"hook sets": {}, "tasks": {}, "analyses": {}}

    @property
    def hook_sets(self) -> Mapping[str, type[HookSet]]:
        """Hook sets by text name."""
        return MappingProxyType(self._kinds["hook sets"])

    @property
    def tasks(self) -> Mapping[str, type[Task[Any]]]:
        """Tasks by name."""
        return MappingProxyType(self._kinds["tasks"])

    @property
    def analyses(self) -> Mapping[str, type[Analysis]]:
        """Analyses by name."""
        return MappingProxyType(self._kinds["analyses"])

    def add_hook_set(self, hook_set: type[HookSet]) -> None:
        """Register the class `hook_set` under its text name."""
        _check(hook_set, mechpaint.routes.hookset.HookSet)
        self._add("hook sets", hook_set.text_name(), hook_set)

    def add_task(self, task: type[Task[Any]]) -> None:
        """Register the class `task` under its name."""
        _check(task, mechpaint.tasks.Task, "name", "measure")
        self._add("tasks", task.name, task)

    def add_analysis(self, analysis: type[Analysis]) -> None:
        """Register the class `analysis` under its name."""
        _check(analysis, mechpaint.analysis.Analysis, "name", "question")
        self._add("analyses", analysis.name, analysis)

    def copy(self) -> Registry:
        """Copy the registry, not the classes."""
        other = Registry()
        other._kinds = {kind: dict(classes) for kind, classes in self._kinds.items()}
        return other

    def names_beyond(self, other: Registry) -> dict[str, tuple[str, ...]]:
        """List the names that the registry `other` lacks, by kind: `"hook sets"`, `"tasks"`, `"analyses"`."""
        return {kind: tuple(n for n in names if n not in other._kinds[kind]) for kind, names in self._kinds.items()}

    def _add(self, kind: str, name: str, cls: type) -> None:
        if not _NAME.fullmatch(name):
            raise ValueError(f"expected a name of letters, digits, '_', '-' and '.', got {name!r} of {cls.__module__}")
        other = self._kinds[kind].setdefault(name, cls)
        if other is not cls:
            raise NameTaken(f"there are two {kind} named {name!r}: of {other.__module__} and of {cls.__module__}")


def _check(cls: object, base: type, *texts: str) -> None:
    """Check what a plugin registers here, not where it is used: plugins are not type-checked."""
    if not (isinstance(cls, type) and issubclass(cls, base)):
        raise TypeError(f"expected a subclass of {base.__name__}, got {cls!r}")
    for text in texts:
        if not isinstance(getattr(cls, text, None), str):
            raise TypeError(f"expected {cls.__name__}.{text} to be a str, got {getattr(cls, text, None)!r}")


def built_in() -> Registry:
    """Register what mechpaint itself has.

    Returns:
        A new registry, without plugins.
    """
    made = Registry()
    for hook_set in mechpaint.hooks.BUILT_IN:
        made.add_hook_set(hook_set)
    for task in mechpaint.tasks.BUILT_IN:
        made.add_task(task)
    # not imported above, since analyses are the layer over this one
    for analysis in importlib.import_module("mechpaint.analyses").BUILT_IN:
        made.add_analysis(analysis)
    return made


def registry(files: Iterable[str | Path] = ()) -> Registry:
    """Register all there is: mechpaint's own, installed plugins that `MECHPAINT_PLUGINS` chooses, and plugin files.

    Installed plugins that cannot be loaded are left out with a warning.

    Args:
        files: Python files with a function `register(registry)`, read anew at each call.

    Returns:
        A new registry.

    Raises:
        PluginError: A file cannot be loaded.
    """
    discovery = discover(built_in(), files)
    require_files(discovery)
    if discovery.missing:
        warnings.warn(f"{VARIABLE} names plugins that are not there: {', '.join(discovery.missing)}", stacklevel=2)
    for plugin in discovery.refused:
        warnings.warn(f"{plugin.status} plugin {plugin.name!r} left out: {plugin.reason}", stacklevel=2)
    return discovery.registry


Check: TypeAlias = "Callable[[type[Analysis]], object]"  # raises if an analysis cannot be used


@dataclass(frozen=True)
class Plugin:
    """An entry point or a file, and what became of it."""

    name: str
    place: str  # an entry point's value, or a file's path as given
    module: str  # the top-level one
    load: Callable[[], Any] = field(repr=False)
    package: str | None = None  # None for a file
    version: str | None = None
    status: Literal["loaded", "broken", "duplicate", "not chosen"] = "not chosen"
    reason: str = ""
    traceback: str = ""
    brings: Mapping[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])


@dataclass(frozen=True)
class Discovery:
    """A registry with all that loaded, and every plugin: those of packages by name, then files."""

    registry: Registry
    plugins: tuple[Plugin, ...]
    missing: tuple[str, ...]  # names in `MECHPAINT_PLUGINS` that no entry point has

    @property
    def refused(self) -> list[Plugin]:
        """Plugins that were asked for and left out."""
        return [plugin for plugin in self.plugins if plugin.status in ("broken", "duplicate")]


def discover(base: Registry, files: Iterable[str | Path] = (), check: Check = lambda analysis: None) -> Discovery:
    """Add plugins to a registry: those of packages that are chosen, and files. No plugin makes this raise."""
    known, plugins, first = base, list[Plugin](), dict[str, Plugin]()
    chosen = chosen_by(os.environ)
    from_files = {plugin.module: plugin for plugin in map(_from_file, files)}  # a file given twice is one plugin
    for plugin in [*installed(), *from_files.values()]:
        if plugin.package and chosen is not None and plugin.name not in chosen:
            tried = plugin
        elif plugin.package and (other := first.get(plugin.name)):
            reason = f"another plugin has this name: {other.place} of {other.package} {other.version}"
            tried = replace(plugin, status="duplicate", reason=reason)
        else:
            tried, known = _load(plugin, known, check)
        if tried.package and tried.status == "loaded":
            first[plugin.name] = tried
        plugins.append(tried)
    missing = (chosen or frozenset()) - {plugin.name for plugin in plugins if plugin.package}
    return Discovery(known, tuple(plugins), tuple(sorted(missing)))


def chosen_by(environment: Mapping[str, str]) -> frozenset[str] | None:
    """The entry points that `MECHPAINT_PLUGINS` chooses; None for all."""
    names = environment.get(VARIABLE)
    return None if names is None else frozenset(filter(None, map(str.strip, names.split(","))))


def require_files(discovery: Discovery) -> None:
    """Raise PluginError for the first file left out: files are asked for one by one."""
    for plugin in discovery.refused:
        if plugin.package is None:
            raise PluginError(f"cannot load the plugin {plugin.place}: {plugin.reason}")


def installed() -> list[Plugin]:
    """The entry points of installed packages, ordered by name and package. None is imported."""
    plugins = [
        Plugin(p.name, p.value, re.split(r"[.:\s]", p.value)[0], p.load, str(p.dist.name), str(p.dist.version))
        for p in metadata.entry_points(group="mechpaint.plugins")
        if p.dist is not None
    ]
    return sorted(plugins, key=lambda plugin: (plugin.name, str(plugin.package)))


def _from_file(path: str | Path) -> Plugin:
    real = Path(os.path.realpath(path))
    digest = hashlib.sha256(os.fsencode(real)).hexdigest()[:8]
    module = f"mechpaint_plugin_{re.sub(r'[^0-9A-Za-z_]', '_', real.stem)}_{digest}"
    return Plugin(Path(path).name, str(path), module, partial(_import, Path(path), module))


def _import(path: Path, name: str) -> ModuleType:
    if not is_file(path) or path.suffix != ".py":
        problem = "no Python file (.py)" if is_file(path) or is_folder(path) else "not there"
        raise PluginError(f"{str(path)!r} is {problem}; expected a Python file with a function register(registry)")
    code = path.read_bytes()  # once, and not from a bytecode cache: the digest is of what runs
    module = ModuleType(name)
    module.__file__ = str(path.resolve())
    setattr(module, DIGEST, hashlib.sha256(code).hexdigest())
    sys.modules[name] = module  # where dataclasses look annotations up
    try:
        exec(compile(code, module.__file__, "exec", dont_inherit=True), module.__dict__)
    except BaseException:
        sys.modules.pop(name, None)
        raise
    return module


def _load(plugin: Plugin, before: Registry, check: Check) -> tuple[Plugin, Registry]:
    """The plugin with its status, and a registry with all of it; if it fails, the registry as it was."""
    trial = before.copy()
    try:
        with redirect_stdout(sys.stderr):  # standard output is for results
            loaded = plugin.load()
            if not callable(getattr(loaded, "register", None)):
                raise PluginError(f"it has no function register(registry): {getattr(loaded, '__file__', loaded)}")
            loaded.register(trial)
        brings = trial.names_beyond(before)
        for name in brings["analyses"]:
            check(trial.analyses[name])
    except KeyboardInterrupt:
        raise
    except PluginError as error:
        status = "duplicate" if isinstance(error, NameTaken) else "broken"
        return replace(plugin, status=status, reason=str(error)), before
    except BaseException as error:  # SystemExit too: a script without a main guard
        reason, lines = _explain(error, plugin.module)
        return replace(plugin, status="broken", reason=reason, traceback=lines), before
    return replace(plugin, status="loaded", brings=brings), trial


def _explain(error: BaseException, module: str) -> tuple[str, str]:
    """The error with the module's last line that led to it, and the end of the traceback from its first on."""
    told = traceback.TracebackException.from_exception(error)
    frames = (frame for frame, _ in traceback.walk_tb(error.__traceback__))
    modules = [str(frame.f_globals.get("__name__")).partition(".")[0] for frame in frames]
    own = [line for line, of in zip(told.stack, modules, strict=False) if of == module]
    del told.stack[: modules.index(module) if own else None]
    lines = "".join(told.format()).splitlines()[-_TRACEBACK_LINES:]
    if isinstance(error, SyntaxError):
        what, file, line = f"{type(error).__name__}: {error.msg}", error.filename, error.lineno
    else:
        what = next(told.format_exception_only()).splitlines()[0]
        file, line = (own[-1].filename, own[-1].lineno) if own else (None, None)
    place = f" ({Path(str(file)).name}, line {line})" if file else ""
    return f"{what}{place}", "\n".join(lines)
