"""What the search goes by: how likely right answers are, on the scale from guessing to the full model.

Accuracies of a few items have few values, and most edits change none of them. So a task whose records have
log-probabilities is scored by that of the right answer, in nats a token, the mean over items. Guessing is to spread
evenly over the vocabulary. Other tasks are scored as they are. As everywhere, 0 is guessing and 1 the full model; the
score of a route is the mean over tasks.
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
    """The same with log-probabilities as scores, wherever a task has them of all its items."""
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
    """Draws of the mean over tasks of the normalised score. NaN where there is no task with a scale."""
    if not scores.tasks:
        return np.full(1 + RESAMPLES, np.nan)
    return combine([scores.of_task(task.name, [label]) for task in scores.tasks], np.mean)
