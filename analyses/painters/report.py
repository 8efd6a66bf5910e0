"""The painters' report."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from mechpaint.analyses.claims import Claim, claims_table
from mechpaint.analyses.painters.claims import claims
from mechpaint.analyses.painters.curves import CURVES, Curves
from mechpaint.analyses.painters.figures import ANSWER, figures, variants_figure
from mechpaint.analyses.painters.tables import intervals, tables, tasks_table
from mechpaint.report import Report, Table
from mechpaint.statistics.bootstrap import estimate, ranked
from mechpaint.statistics.results import Results, TaskFacts

if TYPE_CHECKING:
    from mechpaint.analyses.painters import Painters

_NAMED = 10


def report(analysis: Painters, results: Results) -> Report:
    """Draw the report: claims, then figures and tables."""
    curves = Curves(analysis.variants(results.n_layers), results)
    tested = claims(curves)
    drawn = figures(curves)
    return Report(
        title=f"Layers as painters: {results.model}",
        question="What is left of a model when its middle layers are skipped, reordered, repeated or run in parallel?",
        summary=[_found(curves), _measured(results)],
        answer=next((figure.name for figure in drawn if figure.name == ANSWER), None),
        sections=[
            *([_claims_table(curves, tested)] if tested else []),
            *([variants_figure(curves)] if curves.routes() else []),
            tasks_table(curves),
            *drawn,
            *tables(curves),
        ],
        warnings=warnings(curves),
    )


def _claims_table(curves: Curves, tested: list[Claim]) -> Table:
    tasks = curves.scores.tasks
    which = f"those of {tasks[0].name}" if len(tasks) == 1 else "medians over tasks"
    return claims_table(
        tested,
        f"Claims of “Transformer Layers as Painters” (arXiv 2407.09298). Scores are {which}, normalised (chance 0, "
        f"full model 1). {intervals(curves)} Differences are paired. A comparison held if its interval lies above 0, "
        "and is undecided if it contains 0.",
    )


def _found(curves: Curves) -> str:
    """What was found, in a sentence."""
    if not curves.scores.tasks:
        return (
            f"The full model is not clearly better than chance on {_names(curves.scores.unusable)}: rerouting it has "
            "nothing to lose, and the paper's claims cannot be tested. That is as expected of an untrained model."
        )
    ran = [curve for curve in CURVES if curves.starts(curve)]
    shared = (curves.shared_starts(ran, 3) or curves.shared_starts(ran, 1)) if ran else []
    areas = {curve: estimate(curves.area(curve, shared)) for curve in ran} if shared else {}
    order = ranked(areas, highest_first=True)
    if len(order) < 2:
        return "The variants have no start layer in common at which all have a score."
    best, worst = order[0], order[-1]
    return (
        f"Of {len(order)} ways to reroute the middle, {best} keeps most of the full model's score, on average "
        f"{areas[best]} of 1; {worst} keeps least, {areas[worst]} (chance is 0)."
    )


def _measured(results: Results) -> str:
    items = ", ".join(f"{task.name} ({task.items} items)" for task in results.tasks)
    return (
        f"The {results.n_layers} layers of {results.model} ran in {len(set(results.routes.values()))} distinct routes, "
        f"scored on {items}."
    )


def _names(tasks: Sequence[TaskFacts]) -> str:
    return ", ".join(task.name for task in tasks)


def warnings(curves: Curves) -> list[str]:
    """Warn of unusable tasks, overflows, items left out, and few items."""
    notes: list[str] = []
    if curves.scores.unusable and curves.scores.tasks:
        names = _names(curves.scores.unusable)
        notes.append(
            f"The full model is not clearly better than chance on {names}: normalised scores are meaningless there, "
            "and medians exclude them. Try more items or a stronger model."
        )
    broken = curves.scores.not_finite()
    if broken:
        notes.append(
            f"{broken:,} of {len(curves.results.records):,} scored items gave NaN log-probabilities "
            "(the activations overflowed). Scores that include them are shown as nan."
        )
    for task in curves.results.tasks:
        if task.too_long:
            notes.append(
                f"{len(task.too_long)} items of {task.name} exceed the model's context and were left "
                f"out: {', '.join(task.too_long[:_NAMED])}{', …' if len(task.too_long) > _NAMED else ''}."
            )
    fewest = min(task.items for task in curves.results.tasks)
    if fewest < 50:
        notes.append(f"Only {fewest} items per task were scored: read the intervals before the values.")
    return notes
