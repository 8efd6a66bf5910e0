"""The score of guessing in a task of lm-eval."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np

from mechpaint.statistics.metrics import F1, Matthews, Metric
from mechpaint.tasks.lm_eval.documents import Document
from mechpaint.tasks.lm_eval.generation import Prompt
from mechpaint.tasks.lm_eval.metrics import Measure
from mechpaint.tasks.lm_eval.results import metrics_of_answers, metrics_of_texts

_UNLIKELY = -1e4
_RIGHT_OR_NOT = ("acc", "acc_norm", "acc_bytes", "acc_mutual_info")
"""lm-eval's own accuracies of choices."""


def values_of_uniform(task: Any, measure: Measure, documents: Sequence[Document], vocabulary: int) -> Mapping[str, Any]:
    """Each document's metric by its name, if all tokens are equally likely."""
    return {
        document.name: measure.value(metrics_of_answers(task, document, _evenly(task, document, vocabulary)))
        for document in documents
    }


def values_of_silence(task: Any, measure: Measure, prompts: Sequence[Prompt]) -> Mapping[str, Any]:
    """Each document's metric by its name, if nothing is generated."""
    return {prompt.name: measure.value(metrics_of_texts(task, prompt, ("",) * prompt.repeats)) for prompt in prompts}


def chance_of_silence(task: Any, measure: Measure, metric: Metric, prompts: Sequence[Prompt]) -> float:
    """The score of generating nothing."""
    values = values_of_silence(task, measure, prompts)
    return _of(metric, prompts, [measure.reading.score(values[prompt.name]) for prompt in prompts])


def chance(task: Any, measure: Measure, metric: Metric, documents: Sequence[Document], vocabulary: int) -> float:
    """The score of a random choice, or of always the same one if that is better and all documents share it.

    So the scale begins, as the paper's, with random or majority guessing. Without choices, all tokens are equally
    likely.
    """
    if isinstance(metric, Matthews):
        return 0.0
    if task.OUTPUT_TYPE != "multiple_choice":
        values = values_of_uniform(task, measure, documents, vocabulary)
        return _of(metric, documents, [measure.reading.score(values[document.name]) for document in documents])
    choices = [_choices(task, document) for document in documents]
    scores = [[_taken(task, measure, d, i, n) for i in range(n)] for d, n in zip(documents, choices, strict=True)]
    always = [_of(metric, documents, list(column)) for column in zip(*scores, strict=True)] if _alike(documents) else []
    if isinstance(metric, F1):  # predicted classes cannot be averaged
        return max(always, default=0.0)
    return max([_of(metric, documents, [sum(row) / len(row) for row in scores]), *always])


def _of(metric: Metric, documents: Sequence[Document | Prompt], scores: Sequence[float]) -> float:
    return float(metric([document.name for document in documents], np.array(scores, dtype=float)[:, None])[0])


def _evenly(task: Any, document: Document, vocabulary: int) -> list[Any]:
    logprobs = [-math.log(vocabulary) * sum(len(w.after) for w in request.windows) for request in document.requests]
    return logprobs if task.OUTPUT_TYPE == "loglikelihood_rolling" else [(value, False) for value in logprobs]


def _choices(task: Any, document: Document) -> int:
    """The number of choices: for mutual information lm-eval asks each a second time, without the question."""
    return len(document.requests) // (2 if "acc_mutual_info" in task.aggregation() else 1)


def _alike(documents: Sequence[Document]) -> bool:
    """Whether all documents have the same choices."""
    return len({tuple(r.windows[0].after for r in document.requests) for document in documents}) == 1


def _taken(task: Any, measure: Measure, document: Document, taken: int, choices: int) -> float:
    """A document's score if one of its choices is certain."""
    if measure.name in _RIGHT_OR_NOT and not callable(task.config.process_results):
        return float(taken in document.right)
    answers = [(0.0 if i == taken or i >= choices else _UNLIKELY, i == taken) for i in range(len(document.requests))]
    return measure.score(metrics_of_answers(task, document, cast("list[Any]", answers)))
