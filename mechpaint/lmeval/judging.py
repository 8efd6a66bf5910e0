"""From a model's answers to lm-eval's metrics of a document: its filters, then its `process_results`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias, cast

from mechpaint.lmeval.document import Document
from mechpaint.lmeval.quiet import quiet

Judged: TypeAlias = Mapping[str, Mapping[str, Any]]
"""For each of a task's filters, for each of its metrics, what it makes of a document: numbers, or tuples of them."""


def judge(task: Any, document: Document, answers: Sequence[Any]) -> Judged:
    """What lm-eval makes of answers.

    Args:
        task: lm-eval's task.
        document: What was asked.
        answers: One for each request, as lm-eval's models give them: `(log-probability, whether all tokens were the
            first guess)`, a log-probability for a text, or a text that was generated.
    """
    with quiet():
        from lm_eval.api.instance import Instance

        kind = "loglikelihood" if task.OUTPUT_TYPE == "multiple_choice" else task.OUTPUT_TYPE
        repeats = task.config.repeats
        instances = [
            Instance(
                request_type=kind,
                doc=document.fields,
                arguments=(),
                idx=i,
                metadata=(task.task_name, document.number, repeats),
                resps=[answer] * repeats,
            )
            for i, answer in enumerate(answers)
        ]
        task._instances = instances  # there is no other way to filter the answers of one route
        task.apply_filters()
        return {
            key: task.process_results(document.fields, [instance.filtered_resps[key] for instance in instances])
            for key in cast("dict[str, Any]", instances[0].filtered_resps)
        }


def as_text(judged: Judged) -> str:
    """As JSON. Tuples become lists.

    Args:
        judged: What lm-eval makes of a document.
    """
    return json.dumps(judged, default=_plain)


def _plain(value: Any) -> Any:
    """A number or list instead of numpy's."""
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"expected numbers, texts and lists of them, got {value!r}")
