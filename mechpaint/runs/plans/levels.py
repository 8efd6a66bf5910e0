"""The levels of graded tasks that a model can do, found once and kept in the user's cache."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import mechpaint
from mechpaint.errors import CannotWrite
from mechpaint.files import write_text
from mechpaint.models.presets.packaged import cache_folder
from mechpaint.runs.fingerprint import digest
from mechpaint.tasks.graded import Graded
from mechpaint.tasks.task import Task

if TYPE_CHECKING:
    from mechpaint.runs.plans.routed_model import RoutedModel


def fitted(tasks: Sequence[Task[Any]], routed_model: RoutedModel) -> tuple[Task[Any], ...]:
    """The tasks at levels that the full model can do, where none is given."""
    return tuple(_fitted(task, routed_model) if isinstance(task, Graded) else task for task in tasks)


def _fitted(task: Graded, routed_model: RoutedModel) -> Graded:
    from mechpaint.display.terminal import status
    from mechpaint.models.meta_device import is_meta

    if task.level is not None or is_meta(routed_model.model):
        return task.fitted(routed_model.model)
    depends = {"task": task.settings(), "model": routed_model.weights, "dtype": routed_model.dtype}
    path = cache_folder() / "levels" / f"{digest(depends, {'mechpaint': mechpaint.__version__})}.json"
    level = _kept(path)
    if level is None:
        with status(f"trying which level of {task} the full model can do"):
            level = task.fitted(routed_model.model).level
        with suppress(CannotWrite):
            write_text(path, json.dumps({"task": task.name, "level": level}))
    return replace(task, level=level)


def _kept(path: Path) -> int | None:
    try:
        level: Any = json.loads(path.read_text(encoding="utf-8"))["level"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return level if isinstance(level, int) and level > 0 else None
