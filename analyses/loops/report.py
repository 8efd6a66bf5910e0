"""The report of `loops`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mechpaint.analyses.claims import Claim, claims_table
from mechpaint.analyses.loops.figures import ANSWER, fit_figure, grid_figure
from mechpaint.analyses.loops.grid import Grid
from mechpaint.analyses.painters.curves import Curves
from mechpaint.analyses.painters.report import warnings
from mechpaint.analyses.painters.tables import tasks_table
from mechpaint.report import Report, Section, Table
from mechpaint.statistics.bootstrap import estimate, verdict
from mechpaint.statistics.results import Results

if TYPE_CHECKING:
    from mechpaint.analyses.loops import Loops


_CAPTION = (
    "A claim of “Transformer Layers as Painters” (arXiv 2407.09298). Intervals are 95 % paired bootstrap intervals "
    "over items."
)


def report(analysis: Loops, results: Results) -> Report:
    """Draw the report; without a task that the full model can do there is no grid."""
    curves = Curves((), results)
    grid = Grid(analysis, results, curves.scores)
    tested = claims(grid) if curves.scores.tasks else []
    return Report(
        title=f"Looped parallel layers: {results.model}",
        question="How often should layers in parallel be looped, given how many they are?",
        summary=_summary(results, grid, curves.value),
        answer=ANSWER if curves.scores.tasks else None,
        sections=[
            *([claims_table(tested, _CAPTION)] if tested else []),
            *(_of_the_grid(grid, curves.value) if curves.scores.tasks else []),
            tasks_table(curves),
        ],
        warnings=warnings(curves),
    )


def _of_the_grid(grid: Grid, value: str) -> list[Section]:
    return [grid_figure(grid, value), fit_figure(grid), _best_table(grid), _grid_table(grid)]


def claims(grid: Grid) -> list[Claim]:
    """Test that the best number of iterations grows with the size; empty with too few sizes."""
    fit = grid.fit()
    if fit is None:
        return []
    slope = estimate(fit[0])
    best = ", ".join(f"{size} layers {grid.best_of(size)}" for size in grid.fitted())
    evidence = (
        f"{slope} more iterations per additional layer, by a linear fit (held if the interval lies above 0); {best}"
    )
    text = (
        "The best number of iterations grows with the number of layers in parallel, except for the two largest sizes."
    )
    return [Claim("§3.7, figure 10", text, verdict(slope), evidence)]


def _summary(results: Results, grid: Grid, value: str) -> list[str]:
    items = ", ".join(f"{task.name} ({task.items} items)" for task in results.tasks)
    how = (
        f"The middle layers of {results.model}, {grid.sizes[0]} to {grid.sizes[-1]} of them, ran in parallel 1 to "
        f"{grid.iterations[-1]} times and were scored on {items}."
    )
    return [_found(grid, value), how]


def _found(grid: Grid, value: str) -> str:
    """What was found, in a sentence."""
    if np.isnan(grid.draws[0]).all():
        return (
            "The full model is not clearly better than chance on any task: no number of iterations can be called best."
        )
    fit = grid.fit()
    if fit is None:
        return "The paper's claim was not tested: a line needs three sizes or more whose best score is above chance."
    return (
        f"By a linear fit, the number of iterations with the best {value} changes by {estimate(fit[0])} with each "
        "additional layer in parallel."
    )


def _best_table(grid: Grid) -> Table:
    rows = [
        (
            str(size),
            f"{grid.best_of(size):.0f}",
            _candidates(grid, size),
            grid.score_of(size),
            grid.at(size, 1),
        )
        for size in grid.sizes
    ]
    caption = (
        "Scores are normalised (chance 0, full model 1), with 95 % bootstrap intervals over items. The best score is "
        "slightly optimistic: the number was chosen on the same items. Frequency: the share of resamples in which a "
        "number is best, if at least 1 %."
    )
    columns = ("layers in parallel", "best number of iterations", "frequency", "best score", "score of one iteration")
    return Table("best", "The best number for each size", caption, columns, rows)


def _candidates(grid: Grid, size: int) -> str:
    """The shares of resamples in which numbers of iterations are best, largest first."""
    shares = {times: grid.share(size, times) for times in grid.iterations}
    often = sorted((times for times in shares if shares[times] >= 0.01), key=lambda times: -shares[times])
    return ", ".join(f"{times}: {shares[times]:.0%}" for times in often)


def _grid_table(grid: Grid) -> Table:
    rows = [
        (str(size), str(times), grid.at(size, times), f"{grid.share(size, times):.3f}")
        for size in grid.sizes
        for times in grid.iterations
    ]
    caption = (
        "Normalised scores with 95 % bootstrap intervals over items, and the share of resamples in which this number "
        "of iterations is best for its size."
    )
    return Table("grid", "All scores", caption, ("layers in parallel", "iterations", "score", "best in"), rows)
