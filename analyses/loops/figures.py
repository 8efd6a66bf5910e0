"""Figure 10."""

from __future__ import annotations

import numpy as np

from mechpaint.analyses.loops.grid import Grid
from mechpaint.drawing import axes, heatmap, legend, style
from mechpaint.report import Figure

_BOX = "#D55E00"


def grid_figure(grid: Grid, value: str) -> Figure:
    """The grid, the best number of iterations of each size boxed."""
    from matplotlib.patches import Rectangle

    drawing, (ax,) = axes(2.4 + 0.55 * len(grid.iterations), height=1.6 + 0.42 * len(grid.sizes))
    low = min(0.0, float(np.nanmin(grid.draws[0])))
    heatmap(drawing, ax, grid.draws[0], [str(s) for s in grid.sizes], [str(k) for k in grid.iterations], low, 1.0)
    for row, best in enumerate(grid.best[0]):
        ax.add_patch(Rectangle((best - 1.5, row - 0.5), 1, 1, fill=False, edgecolor=_BOX, linewidth=2))
    ax.set_xlabel("iterations")
    ax.set_ylabel("layers in parallel")
    best = ", ".join(f"{size}: {grid.best[0, i]}" for i, size in enumerate(grid.sizes))
    caption = (
        f"Normalised scores ({value}) of the middle layers in parallel, averaged, by how many they are and how often "
        f"they run; 0 is chance, 1 the full model. Boxed: the best number of iterations of each size ({best}). Paper: "
        "§3.7, figure 10."
    )
    alt = "Heatmap of scores, layers in parallel by iterations, with the best of each row boxed."
    return Figure("figure-10", "Figure 10: how often to loop", caption, alt, drawing)


def fit_figure(grid: Grid) -> Figure:
    """The best number of iterations against the size."""
    drawing, (ax,) = axes()
    fitted = grid.fitted()
    groups = (("fitted", fitted), ("left aside", [size for size in grid.sizes if size not in fitted]))
    for i, (name, sizes) in enumerate(groups):
        best = [grid.best_of(size) for size in sizes]
        if best:
            around = np.array([[max(0.0, b.value - b.low), max(0.0, b.high - b.value)] for b in best]).T
            ax.errorbar(sizes, [b.value for b in best], around, linestyle="", capsize=3, label=name, **style(i))
    fit = grid.fit()
    said = "There are too few sizes to fit a line to."
    if fit is not None:
        slope, intercept = fit[0][0], fit[1][0]
        ax.plot(fitted, [intercept + slope * s for s in fitted], color="#555555", linestyle="--", label="linear fit")
        said = f"The line is {intercept:.2f} + {slope:.2f} times the number of layers."
    ax.set_xlabel("layers in parallel")
    ax.set_ylabel("best number of iterations")
    ax.set_ylim(0, None)
    legend(ax)
    caption = (
        f"{said} Bars are 95 % bootstrap intervals over items. Left aside are the two largest sizes, as in the paper, "
        "a single layer, which run once is the full model, and sizes at which even the best score is not above chance."
    )
    alt = "The best number of iterations against the number of layers in parallel, with intervals and a linear fit."
    return Figure("figure-10-fit", "The best number of iterations", caption, alt, drawing)
