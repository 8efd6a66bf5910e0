"""The figures of `pareto`: score against layer calls, progress of the search, and routes."""

from __future__ import annotations

from mechpaint.analyses.pareto.findings import Findings
from mechpaint.display.figures import COLOURS, NARROW, axes, banded, clip_below, legend, style
from mechpaint.report import Figure
from mechpaint.routes.diagram import MOST_BOXES, routes_diagram

ANSWER = "front"
"""The figure that answers the question."""


def front_figure(findings: Findings) -> Figure:
    """Draw score against layer calls."""
    drawing, (ax,) = axes(NARROW, height=3.9)
    costs = list(range(findings.limit, findings.n_layers))
    skips = [findings.best_skip(calls) for calls in costs]
    calls = [route.layer_calls for route in findings.front]
    ax.axvline(findings.limit, color="#555555", linestyle=":", linewidth=1)
    ax.axhline(1, color="#999999", linewidth=0.8)
    banded(ax, calls, list(map(findings.estimated, findings.front)), "found, held-out items", style(0))
    seen = [findings.archive.scores[route] for route in findings.front]
    ax.plot(calls, seen, linestyle="--", linewidth=1, color=COLOURS[0], label="found, search items")
    banded(ax, costs, list(map(findings.estimated, skips)), "best contiguous skip, held-out items", style(1))
    every = [findings.estimated(skip).value for skip in findings.skips(findings.limit)]
    ax.plot([findings.limit] * len(every), every, "x", color=COLOURS[1], label="each contiguous skip", markersize=4)
    low = min([0.0, *(findings.estimated(route).low for route in (*findings.front, *skips))])
    clip_below(ax, low - 0.05)
    ax.set_xticks([*costs, findings.n_layers])
    ax.set_xlabel("layer calls")
    ax.set_ylabel("score (chance 0, full model 1)")
    legend(ax, columns=2)
    caption = (
        f"The full model has {findings.n_layers} layer calls; dotted: the budget of {findings.limit}. Each point is "
        "the route that was best on the search items; the dashed line is its score there. Bands: 95 % bootstrap "
        "intervals over items."
    )
    alt = "Line chart of score against layer calls: routes found and the best contiguous skips, with intervals."
    return Figure(ANSWER, "Score against layer calls", caption, alt, drawing)


def progress_figure(findings: Findings) -> Figure:
    """Draw the best score within the budget against the number of routes scored."""
    drawing, (ax,) = axes(height=3.2)
    kinds: dict[str, list[tuple[int, float]]] = {}
    for label, point in findings.by_round().items():
        kinds.setdefault(label.rstrip("0123456789 "), []).append(point)
    for place, (kind, points) in enumerate(kinds.items()):
        ax.plot([n for n, _ in points], [best for _, best in points], label=kind, linestyle="-", **style(place))
    ax.set_xlabel("routes scored")
    ax.set_ylabel(f"best score at {findings.limit} layer calls")
    legend(ax)
    (last, best) = list(findings.by_round().values())[-1]
    caption = (
        f"The best score within the budget on the search items, round by round, up to {best:.3f} after {last:,} routes."
    )
    alt = "Line chart of the best score within the budget against the number of routes scored, one marker per round."
    return Figure("progress", "Progress of the search", caption, alt, drawing)


def routes_figure(findings: Findings) -> list[Figure]:
    """Draw the route found and the best contiguous skip; empty if they are too long to draw."""
    named = {"found": findings.chosen, "best contiguous skip": findings.best_skip(findings.limit)}
    shown = {f"{name}, {findings.estimated(route).value:.2f}": route for name, route in named.items()}
    if findings.n_layers > MOST_BOXES:
        return []
    caption = (
        "The route found at the budget and the best contiguous skip of the same cost, with their scores on held-out "
        "items. Stacked layers read the same residual stream, and their outputs are averaged (x̄) or their updates "
        "added (Σ)."
    )
    listed = "; ".join(f"{name}: {route}" for name, route in shown.items())
    return [Figure("routes", "The routes", caption, f"Routes. {listed}.", routes_diagram(shown))]
