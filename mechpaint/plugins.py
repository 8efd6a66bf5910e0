"""What hook sets, tasks and analyses there are. Built-ins and anyone's own are made known in the same way.

A module with a function `register(registry)` is a plugin: one of mechpaint's own, one that an installed package names,
or a file. `mechpaint.discovery` finds and loads those that are not mechpaint's.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeVar

from mechpaint.hookset import HookSet

if TYPE_CHECKING:
    from mechpaint.analysis import Analysis
    from mechpaint.tasks.task import Task

BUILT_IN = ("mechpaint.hooks", "mechpaint.tasks", "mechpaint.analyses")

_NAME = re.compile(r"\w[\w.-]*")

_T = TypeVar("_T")


class NameTaken(ValueError):
    """Something is to be made known by a name that something else has."""


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
            NameTaken: Another has this name.
            TypeError: It is no hook set.
        """
        _check(hook_set, HookSet)
        _add(self._hook_sets, hook_set.text_name(), hook_set, "hook sets")

    def add_task(self, task: type[Task[Any]]) -> None:
        """Make a task known by its name.

        Raises:
            NameTaken: Another has this name.
            TypeError: It is no task.
            ValueError: Its name is none that can be typed.
        """
        from mechpaint.tasks.task import Task

        _check(task, Task, "name", "measure")
        _add(self._tasks, task.name, task, "tasks")

    def add_analysis(self, analysis: type[Analysis]) -> None:
        """Make an analysis known by its name.

        Raises:
            NameTaken: Another has this name.
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
        raise NameTaken(f"there are two {what} named {name!r}: of {known[name].__module__} and of {thing.__module__}")
    known[name] = thing


def built_in() -> Registry:
    """A registry of everything that mechpaint brings."""
    registry = Registry()
    for name in BUILT_IN:
        importlib.import_module(name).register(registry)
    return registry
