"""The objective of the search: log-probability of right answers, normalised (chance 0, full model 1), mean over tasks.

Accuracies of a few items take few values, and most edits change none of them. So a task with log-probabilities is
scored by that of the right answer, in nats per token, mean over items; chance is a uniform guess over the vocabulary.
Other tasks keep their own score.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any, cast

import numpy as np
from jaxtyping import Float

from mechpaint.statistics.bootstrap import RESAMPLES, Scores, combine
from mechpaint.statistics.metrics import Mean
from mechpaint.statistics.results import SearchResults, TaskFacts

MEASURE = "log-probability of the right answer, nats per token"


def graded(results: SearchResults) -> SearchResults:
    """Replace scores by log-probabilities, for tasks that have them for all items."""
    records = cast(Any, results.records)
    answered = cast("dict[str, bool]", (records["tokens"] > 0).groupby(records["task"]).all().to_dict())
    has = records["task"].map(answered).astype(bool)
    score = records["score"].where(~has, records["logprob"] / records["tokens"].where(has, 1))
    chance = -math.log(results.vocabulary)
    tasks = tuple(_by_logprob(task, chance) if answered.get(task.name) else task for task in results.tasks)
    return replace(results, records=records.assign(score=score), tasks=tasks)


def _by_logprob(task: TaskFacts, chance: float) -> TaskFacts:
    return replace(task, measure=MEASURE, chance=chance, metric=Mean())


def mean_score(scores: Scores, label: str) -> Float[np.ndarray, " draw"]:
    """Draws of the normalised score, mean over tasks; NaN if no task has a scale."""
    if not scores.tasks:
        return np.full(1 + RESAMPLES, np.nan)
    return combine([scores.of_task(task.name, [label]) for task in scores.tasks], np.mean)
