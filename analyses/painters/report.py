"""The painters' report."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mechpaint.analyses.claims import Claim, claims_table, tally, tally_highlights
from mechpaint.analyses.painters.claims import claims
from mechpaint.analyses.painters.curves import Curves
from mechpaint.analyses.painters.figures import figures, variants_figure
from mechpaint.analyses.painters.tables import intervals, tables, tasks_table
from mechpaint.report import Report
from mechpaint.statistics.results import Results

if TYPE_CHECKING:
    from mechpaint.analyses.painters import Painters

_NAMED = 10


def report(analysis: Painters, results: Results) -> Report:
    """Draw the report: claims, then figures and tables."""
    curves = Curves(analysis.variants(results.n_layers), results)
    tested = claims(curves)
    return Report(
        title=f"Layers as painters: {results.model}",
        summary=_summary(results, tested),
        sections=[
            claims_table(
                tested,
                f"Scores are {_which(curves)}, normalised (chance 0, full model 1). "
                f"{intervals(curves)} Differences are paired. A comparison held if its interval lies above 0.",
            ),
            *([variants_figure(curves)] if curves.routes() else []),
            tasks_table(curves),
            *figures(curves),
            *tables(curves),
        ],
        warnings=warnings(curves),
        highlights=tally_highlights(tested),
    )


def _which(curves: Curves) -> str:
    tasks = curves.scores.tasks
    return f"those of {tasks[0].name}" if len(tasks) == 1 else "medians over tasks"


def _summary(results: Results, tested: list[Claim]) -> list[str]:
    items = ", ".join(f"{task.name} ({task.items} items)" for task in results.tasks)
    return [
        f"The {results.n_layers} layers of {results.model} were skipped, reversed, shuffled, repeated, averaged and "
        f"looped, in {len(set(results.routes.values()))} distinct routes, and scored on {items}.",
        tally(tested, "“Transformer Layers as Painters” (arXiv 2407.09298)", "this number of items"),
    ]


def warnings(curves: Curves) -> list[str]:
    """Warn of unusable tasks, overflows, items left out, and few items."""
    notes: list[str] = []
    if curves.scores.unusable:
        names = ", ".join(task.name for task in curves.scores.unusable)
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
