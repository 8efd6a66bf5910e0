"""What is measured: tasks that generate their items, texts, and pairs of sentences."""

from __future__ import annotations

from mechpaint.plugins import Registry
from mechpaint.tasks.arithmetic import Arithmetic
from mechpaint.tasks.facts import Facts
from mechpaint.tasks.glue import Glue
from mechpaint.tasks.induction import Induction
from mechpaint.tasks.ioi import IndirectObject
from mechpaint.tasks.items import Item, Named, Outcome, Place, Placed, Rowed, TaskError
from mechpaint.tasks.lm_eval import LmEval, Sources, lm_eval_tasks
from mechpaint.tasks.mlm import Masked, MaskedTokens
from mechpaint.tasks.sts import Pair, Similarity
from mechpaint.tasks.task import CausalTask, ChoiceTask, Part, PlaceTask, RowTask, Selection, Task
from mechpaint.tasks.text import Text

__all__ = [
    "Arithmetic",
    "CausalTask",
    "ChoiceTask",
    "Facts",
    "Glue",
    "IndirectObject",
    "Induction",
    "Item",
    "LmEval",
    "Masked",
    "MaskedTokens",
    "Named",
    "Outcome",
    "Pair",
    "Part",
    "Place",
    "PlaceTask",
    "Placed",
    "RowTask",
    "Rowed",
    "Selection",
    "Similarity",
    "Sources",
    "Task",
    "TaskError",
    "Text",
    "lm_eval_tasks",
]


def register(registry: Registry) -> None:
    """Make the built-in tasks known by their names."""
    for task in (Facts, Induction, IndirectObject, Arithmetic, Text, MaskedTokens, Similarity, Glue, LmEval):
        registry.add_task(task)
