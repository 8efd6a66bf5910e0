"""Normalised scores (chance is 0, the full model 1), with paired bootstrap intervals, as in "Layers as Painters".

The items of a task are resampled, the same for every route, so that differences between routes are paired. The task's
own metric scores each resample. Random draws of hook sets (`Drawn`), such as random orders, are resampled too, the same
for every task. NaN propagates.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar, cast

import numpy as np
from jaxtyping import Float, Int

from mechpaint.statistics.metrics import Metric
from mechpaint.statistics.random_effects import Drawn, weights
from mechpaint.statistics.results import Results, TaskFacts

RESAMPLES = 1000
Key = TypeVar("Key")
HookSets: TypeAlias = "Sequence[str] | Drawn"
"""Labels of hook sets to average over. Those of `Drawn` are resampled; others are the whole population."""
CENTRAL = (2.5, 97.5)
"""The percentiles that bound the central 95 % of the resamples."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A value with its 95 % bootstrap interval.

    Args:
        value: The measured value.
        low: The lower end of the interval, the 2.5th percentile of the resamples.
        high: The upper end, the 97.5th percentile.
    """

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self}"

    def __format__(self, spec: str) -> str:
        """The value with its interval in brackets, each number formatted by `spec`.

        By default with the digits that the interval allows: two significant ones of half its width, and no more than
        three decimals; from 100,000 on in units of a power of ten. So `0.57 [0.40, 0.77]` and `3.1e6 [0.9e6, 10.0e6]`.
        """
        numbers = (self.value, self.low, self.high)
        value, low, high = (number(each, spec) for each in numbers) if spec else _with_digits_of_interval(*numbers)
        return f"{value} [{low}, {high}]"


def number(value: float, spec: str = ".3f") -> str:
    """Format a number; what rounds to zero has no sign.

    Args:
        value: The number.
        spec: How, as for `format`.
    """
    text = format(value, spec)
    return (
        text.removeprefix("-") if text.startswith("-") and not re.search("[1-9a-z]", text.partition("e")[0]) else text
    )


_DECIMALS = 3
_LARGE = 1e5
"""From here on, numbers are written in units of a power of ten."""
_ORDERS = 1000
"""Ends this many times apart have no place in common: each gets two digits of its own."""


def _with_digits_of_interval(value: float, low: float, high: float) -> list[str]:
    """Format a value and the ends of its interval, all to the same place."""
    numbers = (value, low, high)
    if low > 0 and high > _ORDERS * low:
        return [f"{each:.2g}" for each in numbers]
    finite = [abs(each) for each in numbers if math.isfinite(each)]
    largest, width = max(finite, default=0.0), (high - low) / 2
    top = math.floor(math.log10(largest)) if largest >= 1 else 0
    digits = math.floor(math.log10(width)) - 1 if 0 < width < math.inf else top - _DECIMALS
    place = max(-_DECIMALS, digits)
    power = math.floor(math.log10(abs(value) or largest)) if largest >= _LARGE and math.isfinite(value) else 0

    def formatted(each: float) -> str:
        if not math.isfinite(each):
            return f"{each}"
        rounded = round(each / 10.0**power, power - place)  # also to a place before the point
        return number(rounded, f".{max(0, power - place)}f") + (f"e{power}" if power else "")

    return [formatted(each) for each in numbers]


def ranked(estimates: Mapping[Key, Estimate], *, highest_first: bool = False) -> list[Key]:
    """Put what was measured in the order of its values, without what is no number.

    Args:
        estimates: The values, by what they are of.
        highest_first: Whether the highest comes first; else the lowest.
    """
    sign = -1 if highest_first else 1
    numbers = [key for key in estimates if not math.isnan(estimates[key].value)]
    return sorted(numbers, key=lambda key: sign * estimates[key].value)


class Scores:
    """Normalised scores of every task and route, and their bootstrap resamples.

    Args:
        results: The measured results; their routes must include `"baseline"`.
        seed: The seed of the resampling.

    Attributes:
        tasks: The tasks on which the full model beats chance, in at least 97.5 % of the resamples, so that the scale
            has two ends. The few resamples in which it does not are replaced by others of the same task.
        unusable: The other tasks, which no median includes.
        draws: `[1 + resamples, task, route]`: the scores first, then those of each resample.
    """

    draws: Float[np.ndarray, "draw task route"]

    def __init__(self, results: Results, seed: int = 0) -> None:
        self._results = results
        self._column = {label: str(route) for label, route in results.routes.items()}
        self.routes = list(dict.fromkeys(self._column.values()))
        self._index = {route: i for i, route in enumerate(self.routes)}
        self._seed = seed
        rng = np.random.default_rng(seed)
        self._measured = {task.name: _Measured(results.records, task, self.routes, rng) for task in results.tasks}
        self.raw = {name: measured.scores for name, measured in self._measured.items()}
        full = self._index[self._column["baseline"]]
        gap = {t.name: self.raw[t.name][:, full] - t.chance for t in results.tasks}
        self.tasks = [t for t in results.tasks if _better_than_chance(gap[t.name])]
        self.unusable = [t for t in results.tasks if t not in self.tasks]
        scaled: list[np.ndarray] = []
        for t in self.tasks:
            drawn = _with_scale(gap[t.name], rng)
            scaled.append((self.raw[t.name][drawn] - t.chance) / gap[t.name][drawn, None])
        empty = np.empty((1 + RESAMPLES, 0, len(self.routes)))
        self.draws = np.stack(scaled, axis=1) if scaled else empty

    def score(self, task: str, label: str) -> Estimate:
        """A task's own score under one hook set, not normalised.

        Args:
            task: The task's name.
            label: The hook set's label, or `"baseline"`.
        """
        return estimate(self._raw(task, label))

    def error(self, task: str, label: str) -> float:
        """The standard error of that score: the standard deviation of its resamples.

        Args:
            task: The task's name.
            label: The hook set's label, or `"baseline"`.
        """
        return float(self._raw(task, label)[1:].std())

    def of_task(self, task: str, labels: HookSets) -> Float[np.ndarray, " draw"]:
        """Draws of a task's normalised score, averaged over hook sets.

        Args:
            task: The name of one of `tasks`.
            labels: The hook sets' labels.
        """
        at = [t.name for t in self.tasks].index(task)
        return self._average(self.draws[:, [at]], labels)[:, 0]

    def median(self, labels: HookSets) -> Float[np.ndarray, " draw"]:
        """Draws of the median over tasks of the normalised score, averaged over hook sets first.

        Args:
            labels: The hook sets' labels.
        """
        if not self.tasks:
            return np.full(1 + RESAMPLES, np.nan)
        return np.median(self._average(self.draws, labels), axis=1)

    def by_item(self, task: str, labels: Sequence[str]) -> Float[np.ndarray, "item label"]:
        """Every item's score on the task's normalised scale, whose ends are fixed as measured.

        Args:
            task: The name of one of `tasks`.
            labels: The hook sets' labels.
        """
        (facts,) = (t for t in self.tasks if t.name == task)
        gap = self._raw(task, "baseline")[0] - facts.chance
        return (self._measured[task].items[:, self._columns(labels)] - facts.chance) / gap

    def perplexity(self, task: str, label: str) -> Float[np.ndarray, " draw"]:
        """Draws of exp of the mean negative log-probability of the right answers' tokens; NaN if the task has none.

        Args:
            task: The task's name.
            label: The hook set's label, or `"baseline"`.
        """
        return self._measured[task].perplexities[:, self._index[self._column[label]]]

    def has_perplexity(self, task: str) -> bool:
        """Whether a task has log-probabilities.

        Args:
            task: The task's name.
        """
        return self._measured[task].tokens

    def not_finite(self) -> int:
        """The number of items with log-probabilities that are not finite, over all tasks and routes."""
        finite = cast(Any, self._results.records["finite"])
        return int((~finite.astype(bool)).sum())

    def _columns(self, labels: Sequence[str]) -> list[int]:
        return [self._index[self._column[label]] for label in labels]

    def _raw(self, task: str, label: str) -> Float[np.ndarray, " draw"]:
        return self.raw[task][:, self._index[self._column[label]]]

    def _average(
        self, draws: Float[np.ndarray, "draw task route"], hook_sets: HookSets
    ) -> Float[np.ndarray, "draw task"]:
        """Average over hook sets. Equally many drawn ones get the same weights in every call."""
        if not isinstance(hook_sets, Drawn):
            return draws[:, :, self._columns(hook_sets)].mean(axis=-1)
        members = len(hook_sets.labels)
        each = weights(members, RESAMPLES, np.random.default_rng([self._seed, members]))
        return np.einsum("dtm,dm->dt", draws[:, :, self._columns(hook_sets.labels)], each)


def resampled(
    metric: Metric, names: Sequence[str], scores: Float[np.ndarray, "item route"], rng: np.random.Generator
) -> Float[np.ndarray, "draw route"]:
    """A metric of all items, then of each bootstrap resample of them, the same resamples for every route.

    Args:
        metric: The metric.
        names: The items' names.
        scores: The items' scores under each route.
        rng: The generator of the resamples.

    Returns:
        The metric, `[1 + resamples, route]`.
    """
    return _of_counts(metric, names, scores, _counts(len(names), rng))


def estimate(draws: Float[np.ndarray, " draw"]) -> Estimate:
    """The first draw as the value, and the central 95 % of the others as its interval.

    Args:
        draws: The score, then its resamples.
    """
    with np.errstate(invalid="ignore"):  # interpolating between infinities gives NaN
        low, high = np.percentile(draws[1:], CENTRAL)
    return Estimate(float(draws[0]), float(low), float(high))


def verdict(difference: Estimate) -> str:
    """Decide a claim that a difference is positive.

    Args:
        difference: The difference that should be above 0.

    Returns:
        `"held"`, `"not held"`, or `"undecided"` if the interval contains 0.
    """
    if difference.low > 0:
        return "held"
    if difference.high < 0:
        return "not held"
    return "undecided"


def combine(draws: Sequence[Float[np.ndarray, " draw"]], how: Callable[..., np.ndarray]) -> Float[np.ndarray, " draw"]:
    """Combine several quantities draw by draw.

    Args:
        draws: The quantities.
        how: Such as `np.mean`; called with an array `[quantity, draw]` and `axis=0`.
    """
    return how(np.stack(list(draws)), axis=0)


class _Measured:
    """One task's item scores, its score and perplexity, and their resamples; columns in the order of `routes`."""

    items: Float[np.ndarray, "item route"]
    scores: Float[np.ndarray, "draw route"]
    perplexities: Float[np.ndarray, "draw route"]

    def __init__(self, records: Any, task: TaskFacts, routes: list[str], rng: np.random.Generator) -> None:
        own = records[records["task"] == task.name]
        wide = own.pivot(index="item", columns="route", values=["score", "logprob", "tokens"]).sort_index()
        self.items, logprobs, tokens = (
            wide[column][routes].to_numpy(dtype=float) for column in ("score", "logprob", "tokens")
        )
        counts = _counts(len(wide), rng)
        self.scores = _of_counts(task.metric, [str(name) for name in wide.index], self.items, counts)
        self.tokens = bool((tokens > 0).any())
        self.perplexities = np.full(self.scores.shape, np.nan)
        if self.tokens:
            every = np.concatenate([np.ones((1, len(wide))), counts])
            with np.errstate(all="ignore"):  # NaN and infinity are reported as such
                self.perplexities = np.exp(-(every @ logprobs) / (every @ tokens))


def _counts(items: int, rng: np.random.Generator) -> Float[np.ndarray, "resample item"]:
    """The number of times each resample contains each item."""
    return rng.multinomial(items, np.full(items, 1 / items), size=RESAMPLES).astype(float)


def _of_counts(
    metric: Metric,
    names: Sequence[str],
    scores: Float[np.ndarray, "item route"],
    counts: Float[np.ndarray, "resample item"],
) -> Float[np.ndarray, "draw route"]:
    return np.concatenate([metric(names, scores)[None], metric.resampled(names, scores, counts)])


def _better_than_chance(gap: Float[np.ndarray, " draw"]) -> bool:
    return bool(gap[0] > 0 and np.percentile(gap[1:], CENTRAL[0]) > 0)


def _with_scale(gap: Float[np.ndarray, " draw"], rng: np.random.Generator) -> Int[np.ndarray, " draw"]:
    """For each draw, the draw to use: another resample if the full model is no better than chance in it; NaN stays."""
    stands = np.arange(len(gap))
    without = np.flatnonzero(gap <= 0)
    stands[without] = rng.choice(np.flatnonzero(~(gap[1:] <= 0)) + 1, size=len(without))
    return stands
