"""Figure 10."""

from __future__ import annotations

import numpy as np

from mechpaint.analyses.loops.grid import Grid
from mechpaint.display.figures import axes, heatmap, legend, style
from mechpaint.report import Figure
from mechpaint.statistics.bootstrap import estimate

ANSWER = "figure-10"
"""The figure that answers the question."""
_BOX = "#D55E00"
_OFTEN = 0.05


def grid_figure(grid: Grid, value: str) -> Figure:
    """Draw the grid, with the best number of iterations for each size boxed."""
    from matplotlib.patches import Rectangle

    drawing, (ax,) = axes(2.4 + 0.55 * len(grid.iterations), height=1.6 + 0.42 * len(grid.sizes))
    low = min(0.0, float(np.nanmin(grid.draws[0])))
    heatmap(drawing, ax, grid.draws[0], [str(s) for s in grid.sizes], [str(k) for k in grid.iterations], low, 1.0)
    for row, size in enumerate(grid.sizes):
        for column, times in enumerate(grid.iterations):
            best, often = times == grid.best[0, row], grid.share(size, times) >= _OFTEN
            if best or often:
                look = {"linewidth": 2.4} if best else {"linewidth": 1.4, "linestyle": (0, (3, 2))}
                ax.add_patch(Rectangle((column - 0.46, row - 0.46), 0.92, 0.92, fill=False, edgecolor=_BOX, **look))
    ax.set_xlabel("iterations")
    ax.set_ylabel("layers in parallel")
    caption = (
        f"Normalised scores ({value}) of the middle layers in parallel, averaged, by group size and number of "
        "iterations; 0 is chance, 1 the full model. Solid boxes: the best number of iterations per size. "
        f"Dashed boxes: best in at least {_OFTEN:.0%} of the bootstrap resamples of items. For intervals see the table "
        "of all scores. Paper: §3.7, figure 10."
    )
    alt = (
        "Heatmap of scores, layers in parallel by iterations, with the best of each row boxed and near-best cells "
        "boxed with dashes."
    )
    return Figure(ANSWER, "How often to loop", caption, alt, drawing)


def fit_figure(grid: Grid) -> Figure:
    """Draw the best number of iterations against the size."""
    drawing, (ax,) = axes()
    fitted = grid.fitted()
    groups = (("fitted", fitted), ("not fitted", [size for size in grid.sizes if size not in fitted]))
    for i, (name, sizes) in enumerate(groups):
        best = [grid.best_of(size) for size in sizes]
        if best:
            around = np.array([[max(0.0, b.value - b.low), max(0.0, b.high - b.value)] for b in best]).T
            ax.errorbar(sizes, [b.value for b in best], around, linestyle="", capsize=3, label=name, **style(i))
    fit, line = grid.fit(), grid.line()
    result = "Too few sizes to fit a line."
    if fit is not None:
        ax.plot(fitted, [e.value for e in line], color="#555555", linestyle="--", label="linear fit")
        low, high = [e.low for e in line], [e.high for e in line]
        ax.fill_between(fitted, low, high, color="#555555", alpha=0.12, linewidth=0)
        result = f"Fit: {estimate(fit[1])} + {estimate(fit[0])} × number of layers."
    ax.set_xlabel("layers in parallel")
    ax.set_ylabel("best number of iterations")
    ax.set_ylim(0, None)
    legend(ax)
    caption = (
        f"{result} Bars, band and brackets: 95 % bootstrap intervals over items. Not fitted: the two largest sizes, as "
        "in the paper; a single layer, which run once is the full model; and sizes whose best score is not above "
        "chance."
    )
    alt = "The best number of iterations against the number of layers in parallel, with intervals and a linear fit."
    return Figure("figure-10-fit", "The best number of iterations", caption, alt, drawing)
