"""lm-eval's own task, from the hub or from local files."""

from __future__ import annotations

import inspect
import json
import re
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from mechpaint.errors import TaskError
from mechpaint.tasks.lm_eval.local_files import columns_of, task_on_files
from mechpaint.tasks.lm_eval.registry import manager_of, quiet

if TYPE_CHECKING:
    from lm_eval.api.task import Task

SEED = 1234
"""lm-eval's default seed for few-shot examples."""


@dataclass(frozen=True)
class Definition:
    """The sources of a task: its name in lm-eval, a folder of YAML files, and files instead of its data set.

    Args:
        name: Its name in lm-eval.
        folder: A folder of YAML files that may define it.
        data: A file with its documents, instead of its data set.
        examples: A file with documents for few-shot prompts.
        num_fewshot: The number of examples before each question; None for the task's own.
    """

    name: str
    folder: str | None = None
    data: str | None = None
    examples: str | None = None
    num_fewshot: int | None = None


def load_task(definition: Definition) -> Task:
    """Load lm-eval's task with its documents.

    TaskError if there is no such task, it is a group, its data cannot be read or lack columns, or it needs pictures,
    sounds, or to run code that a model generated.
    """
    manager: Any = manager_of(definition.name, definition.folder)
    name = definition.name
    if name not in manager.all_subtasks:
        raise TaskError(f"{name!r} is a group of lm-eval's tasks: mechpaint.tasks.lm_eval_tasks({name!r}) gives them")
    if definition.examples is not None and definition.data is None:
        raise TaskError(f"--task-data {name}:fewshot=… also needs {name}=…, the documents that are asked")
    try:
        with quiet(), TemporaryDirectory() as scratch:
            asked = name
            if definition.data is not None:
                own = Path(manager.task_index[name].yaml_path)
                asked = str(task_on_files(own, definition.data, definition.examples, Path(scratch)))
            (task,) = manager.load([asked])["tasks"].values()
            _prepare(task, definition.num_fewshot)
    except TaskError:
        raise
    except Exception as error:  # lm-eval, datasets, and the code of tasks raise whatever they like
        raise TaskError(f"cannot load lm_eval:{name}: {why(error, definition)}") from error
    _check(task, name)
    return task


def _prepare(task: Any, num_fewshot: int | None) -> None:
    """Set the number of examples as `lm_eval.simple_evaluate` does: a task that sets 0 stays at 0."""
    said = task.get_config("num_fewshot")
    if num_fewshot is not None and said != 0:
        task.set_config(key="num_fewshot", value=num_fewshot)
    elif said is None:
        task.set_config(key="num_fewshot", value=0)


def instances_of(task: Any, limit: int | None) -> list[Any]:
    """lm-eval's requests, `lm_eval.api.instance.Instance`, with the same few-shot examples every time."""
    task.set_fewshot_seed(seed=SEED)
    task.build_all_requests(limit=limit, rank=0, world_size=1)
    return list(task.instances)


def _check(task: Any, name: str) -> None:
    if getattr(task, "MULTIMODAL", False):
        raise TaskError(f"lm_eval:{name} needs pictures or sounds, which mechpaint does not support")
    if getattr(task, "UNSAFE_CODE", False):
        raise TaskError(f"lm_eval:{name} runs code that the model writes, which mechpaint never does")


def why(error: Exception, definition: Definition) -> str:
    """Describe an error that lm-eval raised for a task."""
    column = _missing_column(error)
    if column is not None and definition.data is not None:
        try:
            with quiet():
                there = columns_of(definition.data)
        except Exception:  # then the first error says more
            there = [column]
        if column not in there:
            return f"it needs the column {column!r}, and {definition.data!r} has: {', '.join(there)}"
    if isinstance(error, IndexError):  # lm-eval tries its first document as it is made
        return f"its first document cannot be asked: an empty choice or answer, or none ({error})"
    said = str(error).strip().splitlines() or [""]
    reason = f"{type(error).__name__}: {said[0]}"
    if definition.data is None and isinstance(error, (OSError, ImportError)):
        return (
            f"{reason}. Its data comes from the hub, which asks the network; a file of one's own: "
            f"--task-data {definition.name}=FILE"
        )
    return reason


def _missing_column(error: Exception) -> str | None:
    """The name that a template or a function of a task did not find."""
    if isinstance(error, KeyError) and error.args:
        return str(error.args[0])
    match = re.match(r"'([^']+)' is undefined", str(error))
    return match[1] if match else None


def configuration(task: Any) -> dict[str, Any]:
    """The configuration that defines a task, as JSON-compatible values: functions as source, without paths of files."""
    with quiet():
        dumped: dict[str, Any] = json.loads(json.dumps(task.dump_config(), default=_source))
    dumped.pop("dataset_kwargs", None)
    dumped.get("metadata", {}).pop("config_source", None)
    return dumped


def _source(value: Any) -> str:
    """A function's source, or another value's type: a representation may contain a memory address."""
    try:
        return inspect.getsource(value)
    except (TypeError, OSError):
        return type(value).__qualname__
