"""Tasks: items and their scores, generated, or read from texts, pairs of sentences, benchmarks and lm-eval."""

from __future__ import annotations

from mechpaint.data import read_rows
from mechpaint.errors import TaskError
from mechpaint.scoring.encoding import encode
from mechpaint.scoring.items import Item, Named, Outcome, Pair, Place, Placed, Rowed
from mechpaint.tasks.builtin.arithmetic import Arithmetic
from mechpaint.tasks.builtin.counting import Counting
from mechpaint.tasks.builtin.facts import Facts
from mechpaint.tasks.builtin.glue import Glue
from mechpaint.tasks.builtin.hops import Hops
from mechpaint.tasks.builtin.induction import Induction
from mechpaint.tasks.builtin.ioi import IndirectObject
from mechpaint.tasks.builtin.mlm import Masked, MaskedTokens
from mechpaint.tasks.builtin.sts import Similarity
from mechpaint.tasks.builtin.text import Text
from mechpaint.tasks.graded import Graded
from mechpaint.tasks.lm_eval.task import LmEval, Sources, lm_eval_tasks
from mechpaint.tasks.task import CausalTask, ChoiceTask, Part, PlaceTask, RowTask, Selection, Task

__all__ = [
    "Arithmetic",
    "CausalTask",
    "ChoiceTask",
    "Counting",
    "Facts",
    "Glue",
    "Graded",
    "Hops",
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
    "encode",
    "lm_eval_tasks",
    "read_rows",
]

BUILT_IN = (Facts, Hops, Induction, IndirectObject, Counting, Arithmetic, Text, MaskedTokens, Similarity, Glue, LmEval)
"""The built-in tasks."""
