"""Loading plugins, so that none of them can stop anything else.

A plugin is loaded whole or not at all: one that cannot be imported, or registers a name that is taken, leaves nothing
behind, and everything else goes on. What became of each is kept, for `mechpaint plugins`.
"""

from __future__ import annotations

import os
import sys
import traceback
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from mechpaint.plugins import NameTaken, Registry, built_in
from mechpaint.sources import PluginError, Source, from_file, installed

if TYPE_CHECKING:
    from mechpaint.analysis import Analysis

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

    Of several that bring the same name the first is kept.

    Args:
        base: What there is already.
        files: Python files with a function `register(registry)`.
        chosen: The names of the entry points to load; None for all. Files are always loaded.
        check: What else an analysis must be for its plugin to be kept.
    """
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
    """What the environment variable `MECHPAINT_PLUGINS` chooses: None for all.

    Args:
        environment: Such as `os.environ`.
    """
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
    """Refuse a discovery in which a file was not loaded: files are asked for one by one.

    Args:
        found: What there is.

    Raises:
        PluginError: For the first of them.
    """
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
