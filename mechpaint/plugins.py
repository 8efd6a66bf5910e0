"""What hook sets, tasks and analyses there are. Built-ins and anyone's own are made known in the same way.

A module with a function `register(registry)` is a plugin.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from mechpaint.hookset import HookSet

if TYPE_CHECKING:
    from mechpaint.analysis import Analysis
    from mechpaint.tasks.task import Task

BUILT_IN = ("mechpaint.hooks", "mechpaint.tasks", "mechpaint.analyses")


class Registry:
    """Hook sets, tasks and analyses by name."""

    def __init__(self) -> None:
        self.hook_sets: dict[str, type[HookSet]] = {}
        self.tasks: dict[str, type[Task]] = {}
        self.analyses: dict[str, type[Analysis]] = {}

    def add_hook_set(self, hook_set: type[HookSet]) -> None:
        """Make a hook set known by its text name."""
        _add(self.hook_sets, hook_set.text_name(), hook_set, "hook set")

    def add_task(self, task: type[Task]) -> None:
        """Make a task known by its name."""
        _add(self.tasks, task.name, task, "task")

    def add_analysis(self, analysis: type[Analysis]) -> None:
        """Make an analysis known by its name."""
        _add(self.analyses, analysis.name, analysis, "analysis")


def _add(known: dict[str, type], name: str, thing: type, what: str) -> None:
    if known.get(name, thing) is not thing:
        raise ValueError(f"there are two {what}s named {name!r}: {known[name].__module__} and {thing.__module__}")
    known[name] = thing


def built_in() -> Registry:
    """A registry of everything that mechpaint brings."""
    registry = Registry()
    for name in BUILT_IN:
        importlib.import_module(name).register(registry)
    return registry
