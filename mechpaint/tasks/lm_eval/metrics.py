"""From one of lm-eval's metrics to a task's score, for which higher is better."""

from __future__ import annotations

import importlib
import inspect
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from mechpaint.errors import TaskError
from mechpaint.statistics.metrics import F1, Matthews, Mean, Metric, WeightedMean
from mechpaint.statistics.results import ReportedMetric

Values: TypeAlias = Callable[[], Mapping[str, Any]]
_FIRST = ("acc_norm", "acc")
_UNITS = {"word_perplexity": "word", "byte_perplexity": "byte"}


class Reading(ABC):
    """The way documents' values of a metric become their scores, and these the task's."""

    @abstractmethod
    def score(self, value: Any) -> float:
        """A document's score."""

    @abstractmethod
    def metric(self, values: Values) -> Metric:
        """The task's metric; `values` gives each document's value for any answer, to take what no answer changes."""

    @abstractmethod
    def measured(self, name: str) -> str:
        """A description of the score, with the unit, for a metric of that name."""


@dataclass(frozen=True)
class Average(Reading):
    """The mean, times a sign: -1 if lower is better."""

    sign: int

    def score(self, value: Any) -> float:
        """The value."""
        return self.sign * float(value)

    def metric(self, values: Values) -> Metric:
        """The mean."""
        return Mean()

    def measured(self, name: str) -> str:
        """Its name."""
        return name if self.sign == 1 else f"minus {name}"


class LogProbability(Reading):
    """Minus the logarithm of `perplexity`: perplexities of models that guess are off every scale."""

    def score(self, value: Any) -> float:
        """The log-probability."""
        return float(value)

    def metric(self, values: Values) -> Metric:
        """The mean."""
        return Mean()

    def measured(self, name: str) -> str:
        """With the unit."""
        return f"log-probability, nats per document ({name} is exp of minus it)"


@dataclass(frozen=True)
class PerUnit(Reading):
    """The same for perplexities of words and bytes, of which documents have different numbers; or in bits."""

    bits: bool

    def score(self, value: Any) -> float:
        """The log-probability of one word or byte."""
        logprob, count = value
        return float(logprob) / float(count) / (math.log(2) if self.bits else 1)

    def metric(self, values: Values) -> Metric:
        """The mean over words or bytes."""
        return WeightedMean({name: float(count) for name, (_, count) in values().items()})

    def measured(self, name: str) -> str:
        """With the unit."""
        if self.bits:
            return f"log-probability, bits per byte ({name} is minus it)"
        return f"log-probability, nats per {_UNITS.get(name, 'unit')} ({name} is exp of minus it)"


class Brier(Reading):
    """Minus the squared distance of the choices' probabilities from the right answer."""

    def score(self, value: Any) -> float:
        """One document's."""
        gold, probabilities = value
        return -sum((p - (i == gold)) ** 2 for i, p in enumerate(probabilities))

    def metric(self, values: Values) -> Metric:
        """The mean."""
        return Mean()

    def measured(self, name: str) -> str:
        """Its name."""
        return f"minus {name}"


@dataclass(frozen=True)
class OfTwoClasses(Reading):
    """F1 or Matthews' correlation, for classes 0 and 1."""

    kind: type[F1] | type[Matthews]

    def score(self, value: Any) -> float:
        """The predicted class."""
        return float(value[1])

    def metric(self, values: Values) -> Metric:
        """The metric with the right classes; TaskError if there are others than 0 and 1."""
        right = {name: float(gold) for name, (gold, _) in values().items()}
        if not set(right.values()) <= {0.0, 1.0}:
            raise TaskError("F1 and Matthews' correlation need classes 0 and 1, and this task has others")
        return self.kind(right)

    def measured(self, name: str) -> str:
        """Its name."""
        return name


@dataclass(frozen=True)
class Measure:
    """The metric that scores a task: its name and filter in lm-eval (`none` without filters), and its reading."""

    name: str
    filter: str
    reading: Reading

    def value(self, values: Mapping[str, Mapping[str, Any]]) -> Any:
        """The metric of a document."""
        return values[self.filter][self.name]

    def score(self, values: Mapping[str, Mapping[str, Any]]) -> float:
        """A document's score."""
        return self.reading.score(self.value(values))


def measure_of(task: Any, wanted: str | None) -> Measure:
    """The metric that scores a task: the wanted one, or `acc_norm`, else `acc`, else the first that makes a score."""
    metrics = list(task.aggregation())
    if wanted is not None and wanted not in metrics:
        raise TaskError(f"lm_eval:{task.task_name} has no metric {wanted!r}; it has: {', '.join(metrics)}")
    ordered = (
        [wanted] if wanted is not None else [name for name in dict.fromkeys((*_FIRST, *metrics)) if name in metrics]
    )
    for name in ordered:
        reading = _reading(task, name)
        if reading is not None:
            return Measure(name, filters_of(task)[0], reading)
    raise TaskError(
        f"lm_eval:{task.task_name} cannot be scored by {', '.join(ordered)}: expected a metric whose aggregation is "
        f"one of {', '.join(_readings(1))}"
    )


def filters_of(task: Any) -> list[str]:
    """The names of a task's filters, in order."""
    listed = task.config.filter_list
    return [one["name"] for one in listed] if listed else ["none"]


def all_metrics(task: Any) -> tuple[ReportedMetric, ...]:
    """All metrics of a task, for each of its filters."""
    better = task.higher_is_better()
    return tuple(
        ReportedMetric(name, key, name_of(aggregation), better.get(name) is not False)
        for key in filters_of(task)
        for name, aggregation in task.aggregation().items()
    )


def _reading(task: Any, name: str) -> Reading | None:
    sign = -1 if task.higher_is_better().get(name) is False else 1
    return _readings(sign).get(name_of(task.aggregation()[name]))


def _readings(sign: int) -> dict[str, Reading]:
    """Readings by the name of lm-eval's aggregation."""
    return {
        "mean": Average(sign),
        "perplexity": LogProbability(),
        "weighted_perplexity": PerUnit(bits=False),
        "bits_per_byte": PerUnit(bits=True),
        "brier_score": Brier(),
        "f1": OfTwoClasses(F1),
        "matthews_corrcoef": OfTwoClasses(Matthews),
    }


Aggregation: TypeAlias = Callable[[Sequence[Any]], float]
_OWN = "lm_eval."


def name_of(aggregation: Aggregation) -> str:
    """The name that lm-eval registered an aggregation by, or `MODULE:NAME` if one of its tasks defines it.

    Empty for all others, such as a function in a user's file: a run folder names no code outside lm-eval.
    """
    from lm_eval.api.registry import AGGREGATION_REGISTRY

    registered: dict[Any, str] = {function: name for name, function in dict(AGGREGATION_REGISTRY).items()}
    if aggregation in registered:
        return registered[aggregation]
    named = inspect.isfunction(aggregation) and aggregation.__module__.startswith(_OWN)
    return f"{aggregation.__module__}:{aggregation.__qualname__}" if named else ""


def aggregation_of(name: str) -> Aggregation | None:
    """The function of a name from `name_of`; None if the name is empty, or lm-eval no longer has it."""
    from lm_eval.api.registry import AGGREGATION_REGISTRY

    if name in AGGREGATION_REGISTRY:
        registered: Any = AGGREGATION_REGISTRY[name]
        return registered
    module, _, function = name.rpartition(":")
    if not module.startswith(_OWN):
        return None
    try:
        return getattr(importlib.import_module(module), function, None)
    except ImportError:
        return None
