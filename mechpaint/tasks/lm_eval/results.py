"""From a model's answers to lm-eval's metrics of a document: its filters, then its `process_results`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias, cast

from mechpaint.tasks.lm_eval.documents import Document
from mechpaint.tasks.lm_eval.generation import Prompt
from mechpaint.tasks.lm_eval.registry import unlogged

MetricValues: TypeAlias = Mapping[str, Mapping[str, Any]]
"""For each of a task's filters, for each of its metrics, what it makes of a document: numbers, or tuples of them."""


def metrics_of_answers(task: Any, document: Document, answers: Sequence[Any]) -> MetricValues:
    """lm-eval's metrics of log-probabilities, one answer for each request.

    An answer is `(log-probability, whether all tokens had the highest logit)`, or a log-probability for a whole text.
    """
    return _metrics(task, document, [[answer] * task.config.repeats for answer in answers])


def metrics_of_texts(task: Any, prompt: Prompt, texts: Sequence[str]) -> MetricValues:
    """lm-eval's metrics of generated texts."""
    return _metrics(task, prompt, [list(texts)])


def _metrics(task: Any, document: Document | Prompt, answers: Sequence[list[Any]]) -> MetricValues:
    with unlogged():
        from lm_eval.api.instance import Instance

        kind = "loglikelihood" if task.OUTPUT_TYPE == "multiple_choice" else task.OUTPUT_TYPE
        instances = [
            Instance(
                request_type=kind,
                doc=document.fields,
                arguments=(),
                idx=i,
                metadata=(task.task_name, document.number, len(repeated)),
                resps=repeated,
            )
            for i, repeated in enumerate(answers)
        ]
        task._instances = instances  # there is no other way to filter the answers of one route
        task.apply_filters()
        return {
            key: task.process_results(document.fields, [instance.filtered_resps[key] for instance in instances])
            for key in cast("dict[str, Any]", instances[0].filtered_resps)
        }


def to_json(values: MetricValues) -> str:
    """As JSON; tuples become lists."""
    return json.dumps(values, default=_plain)


def _plain(value: Any) -> Any:
    """Turn numpy's numbers and arrays into numbers and lists."""
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"expected numbers, texts and lists of them, got {value!r}")
