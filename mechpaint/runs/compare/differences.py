"""Differences between two scored runs: of each task under each hook set, with 95 % bootstrap intervals.

Where both runs asked the same items, the resamples are the same for both, so that the difference is paired. Where items
have the same names but other contents, as for models with other tokenizers, they are resampled independently.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from mechpaint.statistics.bootstrap import Estimate, estimate, resampled
from mechpaint.statistics.results import Results, TaskFacts


@dataclass(frozen=True)
class Scored:
    """A run of a `RouteAnalysis`.

    Args:
        results: What was measured.
        contents: For each task, from its items' names to digests of what is in them.
    """

    results: Results
    contents: Mapping[str, Mapping[str, str]]


@dataclass(frozen=True)
class Difference:
    """The difference of a run from the first, on one task under one hook set.

    Attributes:
        task: The task's name.
        label: The hook set's label.
        first: The first run's score.
        other: The other run's.
        change: The other's minus the first's.
        items: How many items each score is of.
        paired: Whether these are the same.
    """

    task: str
    label: str
    first: float
    other: float
    change: Estimate
    items: tuple[int, int]
    paired: bool

    @property
    def clear(self) -> bool:
        """True if the interval excludes 0."""
        return self.change.low > 0 or self.change.high < 0

    @property
    def size(self) -> float:
        """The absolute difference; 0 for NaN."""
        return -1.0 if np.isnan(self.change.value) else abs(self.change.value)


def common_tasks(first: Results, other: Results) -> list[tuple[TaskFacts, TaskFacts]]:
    """The tasks that both runs have, by name, where their scores are of the same measure."""
    known = {task.name: task for task in other.tasks}
    return [(t, known[t.name]) for t in first.tasks if t.name in known and known[t.name].measure == t.measure]


def common_labels(first: Results, other: Results) -> list[str]:
    """The labels of hook sets that both runs have, in the first one's order."""
    return [label for label in first.routes if label in other.routes]


def same_items(first: Mapping[str, str], other: Mapping[str, str]) -> list[str]:
    """The names of items that have the same content in both, sorted."""
    return sorted(name for name, content in first.items() if other.get(name) == content)


def differences(first: Scored, other: Scored) -> list[Difference]:
    """Every difference that can be taken, the largest first."""
    labels = common_labels(first.results, other.results)
    rows = [
        difference
        for tasks in common_tasks(first.results, other.results)
        for difference in _of_task(first, other, tasks, labels)
    ]
    return sorted(rows, key=lambda difference: -difference.size)


def _of_task(
    first: Scored, other: Scored, tasks: tuple[TaskFacts, TaskFacts], labels: Sequence[str]
) -> list[Difference]:
    paired = same_items(*(run.contents[tasks[0].name] for run in (first, other)))
    names = [paired or sorted(run.contents[tasks[0].name]) for run in (first, other)]
    seeds = (0, 0) if paired else (0, 1)
    draws = [
        _draws(run.results, task, own, labels, seed)
        for run, task, own, seed in zip((first, other), tasks, names, seeds, strict=True)
    ]
    items = (len(names[0]), len(names[1]))
    return [
        Difference(tasks[0].name, label, float(one[0]), float(two[0]), estimate(two - one), items, bool(paired))
        for label, one, two in zip(labels, draws[0].T, draws[1].T, strict=True)
    ]


def _draws(
    results: Results, task: TaskFacts, names: list[str], labels: Sequence[str], seed: int
) -> Float[np.ndarray, "draw label"]:
    """The task's score of some items under each hook set, then those of resamples: the same ones for the same seed."""
    records: Any = results.records
    routes = [str(results.routes[label]) for label in labels]
    wide = records[records["task"] == task.name].pivot(index="item", columns="route", values="score")
    scores: np.ndarray = wide.loc[names, list(dict.fromkeys(routes))].to_numpy(dtype=float)
    place = {route: i for i, route in enumerate(dict.fromkeys(routes))}
    drawn = resampled(task.metric, names, scores, np.random.default_rng(seed))
    return drawn[:, [place[route] for route in routes]]
