"""The painters' tables: scales, scores, means over start layers, comparisons of variants."""

from __future__ import annotations

from itertools import combinations

import numpy as np

from mechpaint.analyses.painters.curves import CURVES, MIDDLE, Curves, count
from mechpaint.report import Table
from mechpaint.statistics.bootstrap import RESAMPLES, Scores, estimate
from mechpaint.statistics.metrics import Mean
from mechpaint.statistics.multiple_comparisons import adjusted
from mechpaint.statistics.random_effects import Components, components

_RANDOM = "random order"
_LEAST_AFFECTED = 3
"""With a single layer affected, most variants are the full model."""


def tables(curves: Curves) -> list[Table]:
    """Make all tables but the tasks'; without a scale, only that of the scores."""
    ran = [curve for curve in CURVES if curves.starts(curve)]
    if not curves.scores.tasks:
        return [_scores_table(curves, ran)]
    shared = curves.shared_starts(ran, _LEAST_AFFECTED) if ran else []
    made = [_means_table(curves, ran, shared)] if shared else []
    if shared and len(ran) > 1:
        made.append(_comparisons_table(curves, ran, shared))
    if curves.starts(_RANDOM):
        made += _components_table(curves, curves.shared_starts([_RANDOM], _LEAST_AFFECTED))
    return [*made, _scores_table(curves, ran)]


def tasks_table(curves: Curves) -> Table:
    """Tabulate the scales of the scores."""
    rows = [
        (
            task.name,
            task.measure,
            str(task.items),
            f"{task.chance:.3f}",
            curves.scores.score(task.name, "baseline"),
            f"{curves.scores.error(task.name, 'baseline'):.3f}",
            perplexity(curves.scores, task.name),
        )
        for task in curves.results.tasks
    ]
    caption = (
        "The scale of the scores: chance is 0 and the full model 1, so scores below chance are negative. Chance is "
        "exact; the full model's scores have 95 % bootstrap intervals over items, and standard errors from the same "
        "resamples."
    )
    columns = ("task", "score", "items", "chance", "full model", "standard error", "perplexity of right answers")
    return Table("tasks", "The full model", caption, columns, rows)


def perplexity(scores: Scores, task: str, label: str = "baseline") -> str:
    """The perplexity of right answers; a dash for a task without log-probabilities."""
    return f"{estimate(scores.perplexity(task, label))}" if scores.has_perplexity(task) else "–"


def _names(curves: Curves) -> tuple[list[str], str]:
    """The tasks to show separately, and the column before them: with a single task, that column is all."""
    names = [task.name for task in curves.scores.tasks]
    return ([], names[0]) if len(names) == 1 else (names, "median")


def _means_table(curves: Curves, ran: list[str], shared: list[int]) -> Table:
    """Best first."""
    names, first = _names(curves)
    areas = {curve: curves.area(curve, shared) for curve in ran}
    rows = [
        (curve, estimate(areas[curve]), *(estimate(curves.task_area(t, curve, shared)) for t in names))
        for curve in sorted(ran, key=lambda c: -areas[c][0])
    ]
    caption = (
        f"Normalised scores (chance 0, full model 1), averaged over the start layers N = {_listed(shared)} that all "
        f"variants share, with at least {_LEAST_AFFECTED} layers affected. {intervals(curves)}"
    )
    return Table("means", "Means over start layers", caption, ("variant", first, *names), rows)


def _comparisons_table(curves: Curves, ran: list[str], shared: list[int]) -> Table:
    """Compare all pairs, the better variant first."""
    areas = {curve: curves.area(curve, shared) for curve in ran}
    pairs = list(combinations(sorted(ran, key=lambda c: -areas[c][0]), 2))
    differences = np.stack([areas[better] - areas[worse] for better, worse in pairs], axis=1)
    compared = zip(pairs, differences.T, adjusted(differences), strict=True)
    rows = [(better, worse, estimate(draws), f"{p:.3f}") for (better, worse), draws, p in compared]
    caption = (
        f"Differences of {curves.mean_values} over the same start layers, paired. {intervals(curves)} Intervals are "
        "pointwise; p-values are two-sided and adjusted for all comparisons (Romano-Wolf stepdown, 2005). With "
        f"{RESAMPLES} resamples, none can be below {1 / (1 + RESAMPLES):.3f}."
    )
    columns = ("variant", "minus", "difference", "adjusted p")
    return Table("comparisons", f"All {len(pairs)} differences", caption, columns, rows)


def _components_table(curves: Curves, starts: list[int]) -> list[Table]:
    """Split the uncertainty under random orders, for tasks scored by a mean over items: one table or none."""
    if not starts or len(curves.labels(_RANDOM, starts[0])) < 2:
        return []
    rows: list[tuple[str, ...]] = []
    for task in curves.scores.tasks:
        if isinstance(task.metric, Mean):
            each = np.mean([curves.scores.by_item(task.name, curves.labels(_RANDOM, s)) for s in starts], axis=0)
            rows.append((task.name, *_sources(components(each), *each.shape)))
    if not rows:
        return []
    caption = (
        f"Normalised scores under random orders, averaged over N = {_listed(starts)}: standard deviations between "
        "items, between orders, and of the residual (an item may be hard for one order only), from an analysis of "
        "variance with two crossed random effects (Searle, Casella and McCulloch 1992, chapter 4); and the standard "
        "error of the mean, as run and with twice as many items or orders. Uncertainty of the scale is ignored. Tasks "
        "not scored by a mean over items are omitted."
    )
    columns = ("task", "items", "orders", "SD items", "SD orders", "SD rest", "error", "2x items", "2x orders")
    return [Table("components", "Random orders: more items, or more orders?", caption, columns, rows)]


def _sources(parts: Components, items: int, seeds: int) -> tuple[str, ...]:
    deviations = (parts.items, parts.seeds, parts.rest)
    errors = (parts.error(items, seeds), parts.error(2 * items, seeds), parts.error(items, 2 * seeds))
    return str(items), str(seeds), *(f"{v**0.5:.3f}" for v in deviations), *(f"{e:.3f}" for e in errors)


def _scores_table(curves: Curves, ran: list[str]) -> Table:
    names, first = _names(curves)
    rows = [
        (
            curve,
            str(start),
            str(curves.affected(start)),
            estimate(curves.median(curve, start)),
            *(estimate(curves.task(name, curve, start)) for name in names),
        )
        for curve in ran
        for start in curves.starts(curve)
    ]
    caption = f"The variants: {MIDDLE} Random order is the mean over its orders. {intervals(curves)}"
    columns = ("variant", "start layer N", "layers affected M", first, *names)
    return Table("scores", "All normalised scores", caption, columns, rows)


def intervals(curves: Curves) -> str:
    """Describe the intervals in a sentence."""
    text = "In brackets: 95 % bootstrap intervals over items"
    starts = curves.starts(_RANDOM)
    if not starts:
        return f"{text}."
    orders = len(curves.labels(_RANDOM, starts[0]))
    if orders == 1:
        return f"{text}; with a single random order, its intervals cover items but not other orders."
    return f"{text}, for {_RANDOM} over items and its {count(orders, 'order')}."


def _listed(starts: list[int]) -> str:
    return ", ".join(map(str, starts))
