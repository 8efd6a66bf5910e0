"""Scores as the painters' paper shows them: chance is 0, the full model 1; with paired bootstrap intervals.

The items of a task are resampled, the same for every route, so that differences between routes are paired. The task's
own metric makes a score of each resample. Values that are no numbers stay that way: they are never averaged away.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from jaxtyping import Float

from mechpaint.analysis import Results, TaskFacts
from mechpaint.metrics import Metric

RESAMPLES = 1000
_CENTRAL = (2.5, 97.5)


@dataclass(frozen=True, slots=True)
class Estimate:
    """A value with its 95 % bootstrap interval.

    Args:
        value: What was measured.
        low: The interval's lower end, the 2.5th percentile of the resamples.
        high: Its upper end, the 97.5th.
    """

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"


class Scores:
    """Normalised scores of every task and route, and their bootstrap resamples.

    Args:
        results: What was measured; its routes must include `"baseline"`.
        seed: Of the resampling.

    Attributes:
        tasks: The tasks on which the full model does better than chance, so that the scale has two ends.
        unusable: The other tasks, which no median includes.
        draws: `[1 + resamples, task, route]`: the scores themselves first, then those of each resample.
    """

    draws: Float[np.ndarray, "draw task route"]

    def __init__(self, results: Results, seed: int = 0) -> None:
        self._results = results
        self._column = {label: str(route) for label, route in results.routes.items()}
        self.routes = list(dict.fromkeys(self._column.values()))
        self._index = {route: i for i, route in enumerate(self.routes)}
        rng = np.random.default_rng(seed)
        self.raw = {task.name: _resampled(results.records, task, self.routes, rng) for task in results.tasks}
        full = self._index[self._column["baseline"]]
        gap = {t.name: self.raw[t.name][:, full] - t.chance for t in results.tasks}
        self.tasks = [t for t in results.tasks if np.percentile(gap[t.name][1:], _CENTRAL[0]) > 0]
        self.unusable = [t for t in results.tasks if t not in self.tasks]
        scaled = [(self.raw[t.name] - t.chance) / _positive(gap[t.name])[:, None] for t in self.tasks]
        empty = np.empty((1 + RESAMPLES, 0, len(self.routes)))
        self.draws = np.stack(scaled, axis=1) if scaled else empty

    def score(self, task: str, label: str) -> Estimate:
        """A task's own score under one hook set, not normalised.

        Args:
            task: The task's name.
            label: The hook set's label, or `"baseline"`.
        """
        return estimate(self.raw[task][:, self._index[self._column[label]]])

    def of_task(self, task: str, labels: Sequence[str]) -> Float[np.ndarray, " draw"]:
        """Draws of a task's normalised score, averaged over hook sets.

        Args:
            task: The name of one of `tasks`.
            labels: The hook sets' labels.
        """
        at = [t.name for t in self.tasks].index(task)
        return self.draws[:, at, self._columns(labels)].mean(axis=-1)

    def median(self, labels: Sequence[str]) -> Float[np.ndarray, " draw"]:
        """Draws of the median over tasks of the normalised score, averaged over hook sets (random seeds) first.

        Args:
            labels: The hook sets' labels.
        """
        if not self.tasks:
            return np.full(1 + RESAMPLES, np.nan)
        return np.median(self.draws[:, :, self._columns(labels)].mean(axis=-1), axis=1)

    def perplexity(self, task: str, label: str) -> float:
        """exp of the mean negative log-probability of the right answers' tokens. NaN where the task has none.

        Args:
            task: The task's name.
            label: The hook set's label, or `"baseline"`.
        """
        records: Any = self._results.records
        found: Any = records[(records["task"] == task) & (records["route"] == self._column[label])]
        tokens = int(found["tokens"].sum())
        return float(np.exp(-found["logprob"].sum(skipna=False) / tokens)) if tokens else float("nan")

    def has_perplexity(self, task: str) -> bool:
        """Whether a task has log-probabilities.

        Args:
            task: The task's name.
        """
        records: Any = self._results.records
        return bool((records.loc[records["task"] == task, "tokens"] > 0).any())

    def not_finite(self) -> int:
        """How many items gave log-probabilities that are not numbers, over all tasks and routes."""
        finite = cast(Any, self._results.records["finite"])
        return int((~finite.astype(bool)).sum())

    def _columns(self, labels: Sequence[str]) -> list[int]:
        return [self._index[self._column[label]] for label in labels]


def resampled(
    metric: Metric, names: Sequence[str], scores: Float[np.ndarray, "item route"], rng: np.random.Generator
) -> Float[np.ndarray, "draw route"]:
    """A metric of all items first, then of each bootstrap resample of them, the same resamples for every route.

    Args:
        metric: The metric.
        names: What the items are called.
        scores: Their scores under each route.
        rng: What draws the resamples.
    """
    items = len(names)
    counts = rng.multinomial(items, np.full(items, 1 / items), size=RESAMPLES).astype(float)
    return np.concatenate([metric(names, scores)[None], metric.resampled(names, scores, counts)])


def estimate(draws: Float[np.ndarray, " draw"]) -> Estimate:
    """The first draw as the value, and the central 95 % of the others.

    Args:
        draws: The score itself, then its resamples.
    """
    low, high = np.percentile(draws[1:], _CENTRAL)
    return Estimate(float(draws[0]), float(low), float(high))


def verdict(difference: Estimate) -> str:
    """What a difference that a claim says is positive tells: it held, it did not, or the data cannot tell.

    Args:
        difference: What should be above 0.

    Returns:
        `"held"`, `"not held"` or `"undecided"`, which is where the interval has 0 in it.
    """
    if difference.low > 0:
        return "held"
    if difference.high < 0:
        return "not held"
    return "undecided"


def combine(draws: Sequence[Float[np.ndarray, " draw"]], how: Callable[..., np.ndarray]) -> Float[np.ndarray, " draw"]:
    """Draw by draw, one number of several quantities.

    Args:
        draws: The quantities.
        how: Such as `np.mean`; it is given an array `[quantity, draw]` and `axis=0`.
    """
    return how(np.stack(list(draws)), axis=0)


def _resampled(
    records: Any, task: TaskFacts, routes: list[str], rng: np.random.Generator
) -> Float[np.ndarray, "draw route"]:
    table: Any = records[records["task"] == task.name].pivot(index="item", columns="route", values="score")
    table = table.sort_index()[routes]
    scores: np.ndarray = table.to_numpy(dtype=float)
    names = [str(name) for name in table.index]
    return resampled(task.metric, names, scores, rng)


def _positive(gap: Float[np.ndarray, " draw"]) -> Float[np.ndarray, " draw"]:
    """A resample in which the full model is no better than chance has no scale: no number rather than a huge one."""
    return np.where(gap > 0, gap, np.nan)
