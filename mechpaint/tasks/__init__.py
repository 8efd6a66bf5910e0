"""What is measured: tasks that generate their items, and texts."""

from __future__ import annotations

from mechpaint.plugins import Registry
from mechpaint.tasks.arithmetic import Arithmetic
from mechpaint.tasks.facts import Facts
from mechpaint.tasks.induction import Induction
from mechpaint.tasks.ioi import IndirectObject
from mechpaint.tasks.task import ChoiceTask, Item, Outcome, Task, TaskError
from mechpaint.tasks.text import Text

__all__ = [
    "Arithmetic",
    "ChoiceTask",
    "Facts",
    "IndirectObject",
    "Induction",
    "Item",
    "Outcome",
    "Task",
    "TaskError",
    "Text",
]


def register(registry: Registry) -> None:
    """Make the built-in tasks known by their names."""
    for task in (Facts, Induction, IndirectObject, Arithmetic, Text):
        registry.add_task(task)
