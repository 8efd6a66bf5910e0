"""Tables of all of lm-eval's metrics of all routes, aggregated by lm-eval, with its standard errors."""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeAlias

from mechpaint.report import Table
from mechpaint.statistics.bootstrap import RESAMPLES
from mechpaint.statistics.results import ReportedMetric, Results, TaskFacts
from mechpaint.tasks.lm_eval.metrics import aggregation_of
from mechpaint.tasks.lm_eval.registry import quiet, require_lm_eval

_DIGITS = 6
_SERIAL = "DISABLE_MULTIPROC"
Values: TypeAlias = dict[str, list[tuple[float, float]]]
"""For each route, the value and the standard error of each metric."""


def lm_eval_tables(results: Results) -> list[Table]:
    """A table of the full model, then one of all routes for each task of lm-eval; none without such tasks."""
    tasks = [task for task in results.tasks if task.reported]
    if not tasks:
        return []
    require_lm_eval()
    values = {task.name: dict(_routes(results, task)) for task in tasks}
    full = str(results.routes["baseline"])
    return [
        _full(tasks, values, full),
        *(_each(i, task, values[task.name], results) for i, task in enumerate(tasks, start=1)),
    ]


def aggregated(metric: ReportedMetric, values: Sequence[Any]) -> tuple[float, float]:
    """A metric's value by lm-eval's aggregation, and its standard error by lm-eval's `stderr_for_metric`.

    Its bootstrap takes 1000 resamples, which depend on the order of `values`, the task's. The standard error is NaN if
    lm-eval has none, and both are if it no longer has the aggregation.
    """
    from lm_eval.api.metrics import stderr_for_metric

    aggregation: Any = aggregation_of(metric.aggregation)
    if aggregation is None:
        return math.nan, math.nan
    with quiet(), _one_process():
        stderr: Any = stderr_for_metric(metric=aggregation, bootstrap_iters=RESAMPLES)
        error = stderr(values) if stderr is not None and len(values) > 1 else math.nan
        return float(aggregation(values)), float(error)


@contextmanager
def _one_process() -> Generator[None]:
    """Set the variable that keeps lm-eval from resampling in as many processes as there are processors."""
    before = os.environ.get(_SERIAL)
    os.environ[_SERIAL] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ[_SERIAL]
        else:
            os.environ[_SERIAL] = before


def _routes(results: Results, task: TaskFacts) -> Iterator[tuple[str, list[tuple[float, float]]]]:
    """Each route's notation, and its values of the task's metrics, in order."""
    records: Any = results.records
    of_task = records[records["task"] == task.name]
    for route, rows in of_task.groupby("route", sort=False):
        ordered = sorted(zip(rows["item"], rows["metrics"], strict=True), key=lambda row: _natural(row[0]))
        texts = [text for _, text in ordered]
        if not all(texts):  # NaN propagates
            yield str(route), [(math.nan, math.nan)] * len(task.reported)
            continue
        documents: list[Any] = [json.loads(text) for text in texts]
        yield str(route), [aggregated(metric, _values(metric, documents)) for metric in task.reported]


def _natural(name: str) -> tuple[int, str]:
    """A key that sorts names by the number at their end."""
    number = re.search(r"\d+$", name)
    return (int(number[0]) if number else 0), name


def _values(metric: ReportedMetric, documents: Sequence[Any]) -> list[Any]:
    return [one[metric.filter][metric.name] for one in documents if metric.name in one[metric.filter]]


def _full(tasks: Sequence[TaskFacts], values: dict[str, Values], full: str) -> Table:
    rows = [
        (task.name, metric.name, metric.filter, _number(value), _number(error), _way(metric), str(task.items))
        for task in tasks
        for metric, (value, error) in zip(task.reported, values[task.name][full], strict=True)
    ]
    return Table(
        "lm-eval",
        "lm-eval's metrics of the full model",
        "As lm-eval aggregates them, with its standard errors.",
        ("task", "metric", "filter", "value", "standard error", "better", "items"),
        rows,
    )


def _each(place: int, task: TaskFacts, values: Values, results: Results) -> Table:
    heads = [_head(metric) for metric in task.reported]
    rows = [
        (label, str(route), *(_number(number) for pair in values[str(route)] for number in pair))
        for label, route in results.routes.items()
    ]
    return Table(
        f"lm-eval-{place}-{re.sub(r'[^A-Za-z0-9]+', '-', task.name).strip('-')}",
        f"lm-eval's metrics of {task.name}, all routes",
        "As lm-eval aggregates them, with its standard errors.",
        ("hook set", "route", *(head for one in heads for head in (one, f"{one}, standard error"))),
        rows,
    )


def _head(metric: ReportedMetric) -> str:
    return metric.name if metric.filter == "none" else f"{metric.name} ({metric.filter})"


def _way(metric: ReportedMetric) -> str:
    return "higher" if metric.higher_is_better else "lower"


def _number(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:.{_DIGITS}g}"
