"""Labelled texts: the tasks of GLUE, and custom data in the same columns."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from mechpaint.errors import TrainingError
from mechpaint.statistics.metrics import F1, Accuracy, Matthews, Metric, Pearson, Spearman

METRICS: Mapping[str, Callable[[Mapping[str, float]], Metric]] = MappingProxyType(
    {"accuracy": Accuracy, "F1": F1, "Matthews": Matthews, "Pearson": Pearson, "Spearman": Spearman}
)
"""Metrics by name, made from the right labels by the examples' names."""


@dataclass(frozen=True, slots=True)
class Example:
    """A text, or a pair of texts, with its label.

    Args:
        name: Name in results, unique within its split.
        texts: One or two texts.
        label: The index of its class, from 0; any number for a regression.
    """

    name: str
    texts: tuple[str, ...]
    label: float


@dataclass(frozen=True, slots=True)
class Benchmark:
    """A kind of labelled texts: its columns and metrics.

    Args:
        columns: The column of the text, or the two columns of a pair.
        labels: The number of classes; 1 for a regression.
        metrics: Names among `METRICS`, the usual one first.
        validation: Name of the validation split in `datasets`.
    """

    columns: tuple[str, ...]
    labels: int
    metrics: tuple[str, ...]
    validation: str = "validation"

    def metric(self, examples: Iterable[Example], name: str | None = None) -> Metric:
        """Make a metric of predicted classes or values.

        Args:
            examples: The examples, with the right labels.
            name: One of `metrics`; None for the first.
        """
        return METRICS[name or self.metrics[0]]({example.name: example.label for example in examples})


_PAIR = ("sentence1", "sentence2")

GLUE: Mapping[str, Benchmark] = {
    "cola": Benchmark(("sentence",), 2, ("Matthews", "accuracy")),
    "sst2": Benchmark(("sentence",), 2, ("accuracy",)),
    "mrpc": Benchmark(_PAIR, 2, ("F1", "accuracy")),
    "stsb": Benchmark(_PAIR, 1, ("Spearman", "Pearson")),
    "qqp": Benchmark(("question1", "question2"), 2, ("F1", "accuracy")),
    "mnli": Benchmark(("premise", "hypothesis"), 3, ("accuracy",), "validation_matched"),
    "qnli": Benchmark(("question", "sentence"), 2, ("accuracy",)),
    "rte": Benchmark(_PAIR, 2, ("accuracy",)),
    "wnli": Benchmark(_PAIR, 2, ("accuracy",)),
}
"""The tasks of GLUE (arXiv 1804.07461), with the columns, labels and metrics of its data set on the hub."""


@dataclass(frozen=True)
class Labelled:
    """Examples for training and for validation.

    Args:
        benchmark: Their kind.
        train: Training examples, of two classes or more.
        validation: Validation examples, at least one.
        source: A description of their source and split.

    Raises:
        TrainingError: No examples, or a single class in training.
    """

    benchmark: Benchmark
    train: tuple[Example, ...]
    validation: tuple[Example, ...]
    source: str

    def __post_init__(self) -> None:
        for name, examples in (("train", self.train), ("validate", self.validation)):
            if not examples:
                raise TrainingError(f"there are no examples to {name} on in {self.source}")
        if len({example.label for example in self.train}) < 2:
            raise TrainingError(
                f"all {len(self.train)} examples to train on in {self.source} have the label {self.train[0].label:g}; "
                "expected two or more"
            )


def examples(rows: Iterable[Mapping[str, Any]], benchmark: Benchmark, source: str) -> tuple[Example, ...]:
    """Make examples from rows with GLUE's columns."""
    return tuple(_example(row, i, benchmark, source) for i, row in enumerate(rows))


def _example(row: Mapping[str, Any], i: int, benchmark: Benchmark, source: str) -> Example:
    where = f"row {i + 1} of {source}"
    for column in (*benchmark.columns, "label"):
        if row.get(column) is None:
            raise TrainingError(
                f"{where} has no {column!r}; expected the columns {', '.join(benchmark.columns)} and label, "
                f"got {', '.join(row)}"
            )
    texts = tuple(row[column] for column in benchmark.columns)
    if not all(isinstance(text, str) for text in texts):
        raise TrainingError(f"{where} has {texts!r}; expected texts")
    return Example(str(i), texts, _label(row["label"], benchmark, where))


def _label(given: Any, benchmark: Benchmark, where: str) -> float:
    whole = benchmark.labels > 1
    expected = f"a whole number from 0 to {benchmark.labels - 1}" if whole else "a number"
    hint = " (GLUE's test sets hide their labels: use the validation set)" if given == -1 else ""
    try:
        label = float(given)
    except (TypeError, ValueError):
        label = math.nan
    if not math.isfinite(label) or (whole and label not in range(benchmark.labels)):
        raise TrainingError(f"{where} has the label {given!r}; expected {expected}{hint}")
    return label


def own(rows: Sequence[Mapping[str, Any]], source: str) -> Benchmark:
    """Detect the kind of custom data: whole labels are classes (accuracy), others a regression (Spearman)."""
    columns = ("sentence",) if rows and "sentence" in rows[0] else _PAIR
    if not rows or not {*columns, "label"} <= {*rows[0]}:
        got = ", ".join(rows[0]) if rows else "no rows"
        raise TrainingError(
            f"expected the columns sentence, or sentence1 and sentence2, and label in {source}, got {got}"
        )
    labels = [row["label"] for row in rows]
    if any(isinstance(label, float) and not label.is_integer() for label in labels):
        return Benchmark(columns, 1, ("Spearman", "Pearson"))
    classes = {int(label) for label in labels if isinstance(label, (int, float))}
    if not classes or min(classes) < 0 or max(classes) >= len(labels):
        raise TrainingError(f"the labels in {source} are {labels[:3]}, …; expected classes counted from 0, or numbers")
    return Benchmark(columns, max(2, max(classes) + 1), ("accuracy",))


def split(examples: Sequence[Example], held_out: float, seed: int) -> tuple[tuple[Example, ...], tuple[Example, ...]]:
    """Split examples at random, keeping their order."""
    count = round(held_out * len(examples))
    chosen = set(random.Random(f"split {seed}").sample(range(len(examples)), count))
    parts = [tuple(e for i, e in enumerate(examples) if (i in chosen) == wanted) for wanted in (False, True)]
    return parts[0], parts[1]
