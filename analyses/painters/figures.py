"""The painters' figures, legible in grey and to colour-blind readers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from mechpaint.analyses.painters.curves import MIDDLE, Curves, count
from mechpaint.display.figures import NARROW, axes, banded, clip_below, legend, log_scale, shared_legend, style
from mechpaint.report import Figure
from mechpaint.routes.diagram import routes_diagram
from mechpaint.statistics.bootstrap import Estimate, combine, estimate, ranked
from mechpaint.statistics.results import TaskFacts

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FLOOR = -0.6
ANSWER = "figure-11"
"""The figure that answers the question."""
_RING: Mapping[str, Any] = {
    "linestyle": "", "marker": "o", "markersize": 3.5, "markerfacecolor": "none", "color": "#555555", "alpha": 0.8,
}  # fmt: skip

_FIGURES: Mapping[str, tuple[str, str, str]] = {
    # curve: (figure, title, section)
    "skip": ("4", "Skipping the middle", "§3.2"),
    "middle repeat": ("5", "Repeating the centre layer in place of every middle layer", "§3.3"),
    "reverse": ("6", "Reversing the middle", "§3.4"),
    "random order": ("7", "Running the middle in random order", "§3.4"),
    "parallel": ("8", "Running the middle in parallel, averaged", "§3.5"),
    "looped parallel": ("9", "Running the middle in parallel, looped", "§3.7"),
}


def figures(curves: Curves) -> list[Figure]:
    """Draw figures 2, 4 to 9, 11 and 17, and summed pairs, as far as their variants were run."""
    drawn = _single_layers(curves)
    if not curves.scores.tasks:  # without a scale there are no normalised scores
        return drawn
    drawn += [_by_task(curves, curve) for curve in _FIGURES if curves.starts(curve)]
    together = [c for c in (*_FIGURES, "summed pairs") if curves.starts(c)]
    if together:
        drawn.append(_medians(curves, ANSWER, "All variants of the middle", together, _all_caption(curves)))
    again = [c for c in ("middle twice", "middle three times") if curves.starts(c)]
    if again:
        drawn.append(
            _medians(curves, "figure-17", "Running the middle two or three times", again, _again_caption(curves, again))
        )
    return drawn


def variants_figure(curves: Curves) -> Figure:
    """Draw one route of each experiment."""
    diagram = routes_diagram(curves.routes())
    caption = (
        "One route of each experiment. Boxes are layers, from yellow to blue towards the end of the model; arrows "
        "are the residual stream. Stacked layers read the same stream, and their outputs are averaged (x̄) or their "
        "updates added (Σ)."
    )
    return Figure("variants", "Routes of the experiments", caption, diagram.alt, diagram)


def _single_layers(curves: Curves) -> list[Figure]:
    """Draw figure 2: by perplexity for tasks that have one, by score for the others."""
    by_perplexity, by_score = curves.with_perplexity(), curves.without_perplexity()
    drawn: list[Figure] = []
    if by_perplexity:
        drawn.append(_by_perplexity(curves, by_perplexity))
    if by_score:
        drawn.append(_by_score(curves, by_score, "figure-2-scores" if drawn else "figure-2"))
    return drawn


def _by_perplexity(curves: Curves, tasks: Sequence[TaskFacts]) -> Figure:
    drawing = _lines_by_layer(
        curves,
        tasks,
        "perplexity of the right answers (log scale)",
        lambda task, method, layer: estimate(curves.perplexity(task, method, layer)),
        lambda task: float(curves.scores.perplexity(task, "baseline")[0]),
        log=True,
    )
    ratios = {x: estimate(curves.perplexity_ratio("skip_idx_layer", x)) for x in range(curves.n_layers)}
    order = ranked(ratios)
    worst = ranked(ratios, highest_first=True)[:3]
    over = ", geometric mean over tasks" if len(tasks) > 1 else ""
    caption = (
        "Perplexity when a single layer is ablated, that is skipped (left), or two neighbours are switched (right). "
        "Dotted lines: full model; bands: 95 % intervals. "
        + (
            f"Skipping costs most at layers {_listing(worst)} (perplexity times "
            f"{_listing([f'{ratios[x]}' for x in worst])}{over}), and least at layer {order[0]} "
            f"(times {ratios[order[0]]}). "
            if order
            else "Without any layer the perplexity is no number. "
        )
        + "Paper: §3.1, figure 2, on LAMBADA."
    )
    alt = "Two line charts of perplexity against the layer that is skipped or switched, one line per task."
    return Figure("figure-2", "Ablating single layers", caption, alt, drawing)


def _by_score(curves: Curves, tasks: Sequence[TaskFacts], name: str) -> Figure:
    drawing = _lines_by_layer(
        curves,
        tasks,
        "normalised score (chance 0, full model 1)",
        lambda task, method, layer: estimate(curves.single(task, method, layer)),
        lambda task: 1.0,
        log=False,
    )
    left = {
        x: estimate(combine([curves.single(task.name, "skip_idx_layer", x) for task in tasks], np.mean))
        for x in range(curves.n_layers)
    }
    order, mild = ranked(left), ranked(left, highest_first=True)
    worst = order[:3]
    over = ", mean over tasks" if len(tasks) > 1 else ""
    caption = (
        "Score when a single layer is ablated, that is skipped (left), or two neighbours are switched (right), for "
        "tasks without log-probabilities. Dotted lines: full model; bands: 95 % intervals. "
        + (
            f"Skipping costs most at layers {_listing(worst)} ({_listing([str(left[x]) for x in worst])} remains"
            f"{over}), and least at layer {mild[0]} ({left[mild[0]]}). "
            if order
            else "Without any layer the score is no number. "
        )
        + "Paper: §3.1, figure 2, by the perplexity of LAMBADA."
    )
    alt = "Two line charts of normalised score against the layer that is skipped or switched, one line per task."
    return Figure(name, "Ablating single layers, by score", caption, alt, drawing)


def _lines_by_layer(
    curves: Curves,
    tasks: Sequence[TaskFacts],
    label: str,
    value: Callable[[str, str, int], Estimate],
    full: Callable[[str], float],
    *,
    log: bool,
) -> Any:
    """Draw two panels, skipped and switched: a line with its band per task, dotted for the full model."""
    drawing, both = axes(10.0, columns=2)
    layers = {"skip_idx_layer": range(curves.n_layers), "switch_idx_layer": range(curves.n_layers - 1)}
    names = {"skip_idx_layer": "layer skipped", "switch_idx_layer": "layer switched with the next"}
    for ax, (method, xs) in zip(both, layers.items(), strict=True):
        for i, task in enumerate(tasks):
            estimates = [value(task.name, method, x) for x in xs]
            banded(ax, xs, estimates, task.name, {**style(i), "linewidth": 1.4})
            ax.axhline(full(task.name), color=style(i)["color"], linewidth=0.7, linestyle=":")
        ax.set_xlabel(names[method])
        ax.set_xticks(list(xs)[:: 1 + len(xs) // 20])
    both[1].sharey(both[0])
    both[0].autoscale(axis="y")
    for ax in both if log else ():
        log_scale(ax)
    both[1].tick_params(which="both", labelleft=False)
    both[0].set_ylabel(label)
    shared_legend(drawing, both[0], 5)
    return drawing


def _by_task(curves: Curves, curve: str) -> Figure:
    """Draw one of figures 4 to 9: thin lines for tasks, a thick one with its interval for the median."""
    figure, title, section = _FIGURES[curve]
    starts = curves.starts(curve)
    affected = [curves.affected(s) for s in starts]
    drawing, (ax,) = axes()
    tasks = curves.scores.tasks
    for i, task in enumerate(tasks if len(tasks) > 1 else ()):
        aside = (i - (len(tasks) - 1) / 2) * min(0.2, 1 / len(tasks))  # keeps bars apart
        estimates = [estimate(curves.task(task.name, curve, s)) for s in starts]
        _bars(ax, [m + aside for m in affected], estimates, task.name, style(i))
    orders = len(curves.labels(curve, starts[0]))
    if orders > 1:
        _dots(ax, affected, [[curves.one(curve, s, k)[0] for k in range(orders)] for s in starts])
    medians = [estimate(curves.median(curve, s)) for s in starts]
    label = "median" if len(tasks) > 1 else tasks[0].name
    banded(ax, affected, medians, label, {"color": "#000000", "linewidth": 2.6})
    _finish(ax, affected)
    extra = {"random order": _orders(orders), "looped parallel": f" {curves.loops} times"}.get(curve, "")
    over = "items and orders" if orders > 1 else "items"
    dots = f" Rings: the {'medians' if len(tasks) > 1 else 'scores'} of single orders." if orders > 1 else ""
    caption = (
        f"{title}{extra}. {_ends(curves.value, affected, medians)} Bands and bars: 95 % bootstrap intervals over "
        f"{over}.{dots} Paper: {section}, figure {figure}."
    )
    alt = f"Line chart of normalised score against the number of affected layers under {curve}; " + (
        "one line per task, and their median." if len(tasks) > 1 else "one line."
    )
    return Figure(f"figure-{figure}", title, caption, alt, drawing)


def _orders(orders: int) -> str:
    return f", mean of {orders} orders" if orders > 1 else ", a single order, so the interval does not cover others"


def _medians(curves: Curves, name: str, title: str, which: list[str], caption: str) -> Figure:
    """Draw figure 11 or 17: medians over tasks, one line per variant; figure 11 narrow, to be read on a phone."""
    drawing, (ax,) = axes(NARROW, height=3.9) if name == ANSWER else axes()
    everything: list[int] = []
    for i, curve in enumerate(which):
        affected = [curves.affected(s) for s in curves.starts(curve)]
        medians = [estimate(curves.median(curve, s)) for s in curves.starts(curve)]
        banded(ax, affected, medians, curve, {**style(i), "linewidth": 1.6})
        everything += affected
    _finish(ax, everything)
    alt = (
        f"Line chart of the {'median ' if len(curves.scores.tasks) > 1 else ''}normalised score against the number of "
        "affected layers, one line per variant: " + ", ".join(which)
    )
    return Figure(name, title, caption, alt, drawing)


def _bars(ax: Axes, xs: list[float], estimates: list[Estimate], label: str, style: dict[str, Any]) -> None:
    """Draw a thin line with its intervals as bars, since several bands would hide each other."""
    ax.plot(xs, [e.value for e in estimates], label=label, linewidth=1, alpha=0.75, **style)
    ax.vlines(xs, [e.low for e in estimates], [e.high for e in estimates], color=style["color"], alpha=0.5, linewidth=1)


def _dots(ax: Axes, affected: list[int], each: list[list[float]]) -> None:
    """Draw the value of each random order, to the right of the others."""
    for x, values in zip(affected, each, strict=True):
        ax.plot([x + 0.7] * len(values), values, **_RING)


def scale_lines(ax: Axes) -> None:
    """Draw the lines of chance and of the full model."""
    ax.axhline(1, color="#555555", linewidth=0.8, linestyle="--")
    ax.axhline(0, color="#555555", linewidth=0.8, linestyle=":")


def _finish(ax: Axes, affected: list[int]) -> None:
    scale_lines(ax)
    ax.set_xticks(sorted(set(affected)))
    clip_below(ax, FLOOR)
    ax.set_xlabel("layers affected, M")
    ax.set_ylabel("normalised score (chance 0, full model 1)")
    legend(ax)


def _ends(value: str, affected: list[int], medians: list[Any]) -> str:
    few, many = int(np.argmin(affected)), int(np.argmax(affected))
    text = f"The {value} is {medians[few]} with {count(affected[few])} affected"
    return text + (f", {medians[many]} with {affected[many]}." if many != few else ".")


def _all_caption(curves: Curves) -> str:
    return (
        f"{_heading(curves)}; {MIDDLE} Bands: 95 % bootstrap intervals. Paper: §3.8, figure 11; summed pairs: arXiv "
        "2502.02790."
    )


def _again_caption(curves: Curves, which: list[str]) -> str:
    parts: list[str] = []
    for curve in which:
        values = {curves.affected(s): estimate(curves.median(curve, s)) for s in curves.starts(curve)}
        order = ranked(values, highest_first=True)
        if not order:
            parts.append(f"{curve} has no score that is a number")
            continue
        best = order[0]
        parts.append(f"{curve} is at best {values[best]} ({count(best)})")
    return f"The middle sequence run again, {curves.value}: {'; '.join(parts)}. Paper: A.6, figure 17."


def _heading(curves: Curves) -> str:
    return "Medians over tasks" if len(curves.scores.tasks) > 1 else f"Scores on {curves.scores.tasks[0].name}"


def _listing(values: list[Any]) -> str:
    return ", ".join(map(str, values[:-1])) + (" and " if len(values) > 1 else "") + str(values[-1])
