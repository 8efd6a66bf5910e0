"""The painters' tables: what scores are scaled by, every score, means over start layers, and how variants compare."""

from __future__ import annotations

from itertools import combinations

import numpy as np

from mechpaint.analyses.painters.curves import CURVES, Curves, count
from mechpaint.report import Table
from mechpaint.statistics.bootstrap import RESAMPLES, estimate
from mechpaint.statistics.metrics import Mean
from mechpaint.statistics.multiple_comparisons import adjusted
from mechpaint.statistics.random_effects import Components, components

_RANDOM = "random order"
_LEAST_AFFECTED = 3
"""With a single layer affected most variants are the full model."""


def tables(curves: Curves) -> list[Table]:
    """All that can be made of what was measured, but for the tasks': without a scale only that there is none."""
    ran = [curve for curve in CURVES if curves.starts(curve)]
    if not curves.scores.tasks:
        return [_scores_table(curves, ran)]
    shared = curves.shared_starts(ran, _LEAST_AFFECTED) if ran else []
    found = [_means_table(curves, ran, shared)] if shared else []
    if shared and len(ran) > 1:
        found.append(_comparisons_table(curves, ran, shared))
    if curves.starts(_RANDOM):
        found += _components_table(curves, curves.shared_starts([_RANDOM], _LEAST_AFFECTED))
    return [*found, _scores_table(curves, ran)]


def tasks_table(curves: Curves) -> Table:
    """What scores are scaled by."""
    rows = [
        (
            task.name,
            task.measure,
            str(task.items),
            f"{task.chance:.3f}",
            str(curves.scores.score(task.name, "baseline")),
            f"{curves.scores.error(task.name, 'baseline'):.3f}",
            _perplexity(curves, task.name),
        )
        for task in curves.results.tasks
    ]
    caption = (
        "What the scores are scaled by: guessing is 0 and the full model 1, so that what does worse than guessing is "
        "below 0. Chance is known or counted, and has no error; the full model's scores have 95 % bootstrap intervals "
        "over items, and standard errors from the same resamples."
    )
    columns = ("task", "score", "items", "chance", "full model", "standard error", "perplexity of right answers")
    return Table("tasks", "The full model", caption, columns, rows)


def _perplexity(curves: Curves, task: str) -> str:
    if not curves.scores.has_perplexity(task):
        return "–"
    return f"{estimate(curves.scores.perplexity(task, 'baseline')):.3g}"


def _names(curves: Curves) -> tuple[list[str], str]:
    """The tasks that are shown each, and what is shown before them: of a single task that is all."""
    names = [task.name for task in curves.scores.tasks]
    return ([], names[0]) if len(names) == 1 else (names, "median")


def _means_table(curves: Curves, ran: list[str], shared: list[int]) -> Table:
    """Best first."""
    names, first = _names(curves)
    areas = {curve: curves.area(curve, shared) for curve in ran}
    rows = [
        (curve, str(estimate(areas[curve])), *(str(estimate(curves.task_area(t, curve, shared))) for t in names))
        for curve in sorted(ran, key=lambda c: -areas[c][0])
    ]
    caption = (
        f"Normalised scores, averaged over the start layers N = {_listed(shared)} that all variants have with "
        f"{_LEAST_AFFECTED} layers affected or more. {intervals(curves)}"
    )
    return Table("means", "Means over start layers", caption, ("variant", first, *names), rows)


def _comparisons_table(curves: Curves, ran: list[str], shared: list[int]) -> Table:
    """All pairs, the one with the higher value first."""
    areas = {curve: curves.area(curve, shared) for curve in ran}
    pairs = list(combinations(sorted(ran, key=lambda c: -areas[c][0]), 2))
    differences = np.stack([areas[better] - areas[worse] for better, worse in pairs], axis=1)
    found = zip(pairs, differences.T, adjusted(differences), strict=True)
    rows = [(better, worse, str(estimate(draws)), f"{p:.3f}") for (better, worse), draws, p in found]
    caption = (
        f"Differences of {curves.mean_values} over the same start layers, paired. {intervals(curves)} An interval is "
        "of one difference alone; the p-value is two-sided and adjusted for all of them (stepdown by resampling, "
        f"Romano and Wolf 2005). With {RESAMPLES} resamples none can be below {1 / (1 + RESAMPLES):.3f}."
    )
    columns = ("variant", "less", "difference", "adjusted p")
    return Table("comparisons", f"All {len(pairs)} differences", caption, columns, rows)


def _components_table(curves: Curves, starts: list[int]) -> list[Table]:
    """Of each task that is a mean of items, where the uncertainty under random orders comes from: one table or none."""
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
        "items, between orders, and of what is left (that an item is hard for one order and not for another), by the "
        "analysis of variance of two crossed random effects (Searle, Casella and McCulloch 1992, chapter 4), and the "
        "standard error of their mean that follows, now and with twice as many of either. The scale's own uncertainty "
        "is left aside. Tasks whose score is no mean of items are not shown."
    )
    columns = ("task", "items", "orders", "SD items", "SD orders", "SD rest", "error", "2x items", "2x orders")
    return [Table("components", "Random orders: more items, or more orders?", caption, columns, rows)]


def _sources(found: Components, items: int, seeds: int) -> tuple[str, ...]:
    deviations = (found.items, found.seeds, found.rest)
    errors = (found.error(items, seeds), found.error(2 * items, seeds), found.error(items, 2 * seeds))
    return str(items), str(seeds), *(f"{v**0.5:.3f}" for v in deviations), *(f"{e:.3f}" for e in errors)


def _scores_table(curves: Curves, ran: list[str]) -> Table:
    names, first = _names(curves)
    rows = [
        (
            curve,
            str(start),
            str(curves.affected(start)),
            str(estimate(curves.median(curve, start))),
            *(str(estimate(curves.task(name, curve, start))) for name in names),
        )
        for curve in ran
        for start in curves.starts(curve)
    ]
    caption = f"Chance is 0, the full model 1. Random order is the mean of its orders. {intervals(curves)}"
    return Table("scores", "All normalised scores", caption, ("variant", "N", "layers affected", first, *names), rows)


def intervals(curves: Curves) -> str:
    """A sentence of what the intervals are."""
    text = "In brackets: 95 % bootstrap intervals over items"
    starts = curves.starts(_RANDOM)
    if not starts:
        return f"{text}."
    orders = len(curves.labels(_RANDOM, starts[0]))
    if orders == 1:
        return f"{text}; with a single random order nothing is known of others, and its intervals are over items alone."
    return f"{text}, of {_RANDOM} over items and over its {count(orders, 'order')}."


def _listed(starts: list[int]) -> str:
    return ", ".join(map(str, starts))
