"""The figures of `pareto`: score against layer calls, the way there, and the routes themselves."""

from __future__ import annotations

from mechpaint.analyses.pareto.findings import Findings
from mechpaint.display.figures import COLOURS, axes, banded, legend, style
from mechpaint.report import Figure
from mechpaint.routes.diagram import MOST_BOXES, routes_diagram


def front_figure(found: Findings) -> Figure:
    """Score against layer calls."""
    drawing, (ax,) = axes()
    costs = list(range(found.limit, found.n_layers))
    skips = [found.best_skip(calls) for calls in costs]
    calls = [route.layer_calls for route in found.front]
    ax.axvline(found.limit, color="#555555", linestyle=":", linewidth=1)
    ax.axhline(1, color="#999999", linewidth=0.8)
    banded(ax, calls, list(map(found.estimated, found.front)), "found, items held out", style(0))
    seen = [found.archive.scores[route] for route in found.front]
    ax.plot(calls, seen, linestyle="--", linewidth=1, color=COLOURS[0], label="found, items of the search")
    banded(ax, costs, list(map(found.estimated, skips)), "best contiguous skip, items held out", style(1))
    every = [found.estimated(skip).value for skip in found.skips(found.limit)]
    ax.plot([found.limit] * len(every), every, "x", color=COLOURS[1], label="each contiguous skip", markersize=4)
    low = min([0.0, *(found.estimated(route).low for route in (*found.front, *skips))])
    ax.set_ylim(low - 0.05, None)
    ax.set_xticks([*costs, found.n_layers])
    ax.set_xlabel("layer calls")
    ax.set_ylabel("score (guessing 0, full model 1)")
    legend(ax, columns=2)
    at, skip = found.estimated(found.chosen), found.estimated(found.best_skip(found.limit))
    caption = (
        f"Score against layer calls, of {found.n_layers} in the full model. At the budget of {found.limit} the found "
        f"route has {at} on items held out, the best contiguous skip {skip}. Bands: 95 % bootstrap intervals over "
        "items. Each point is the route that was best on the items of the search; dashed is its score on these, by "
        "which it was chosen. Crosses below the axis are not shown."
    )
    alt = "Line chart of score against layer calls: found routes and the best contiguous skips, with intervals."
    return Figure("front", "Score against layer calls", caption, alt, drawing)


def progress_figure(found: Findings) -> Figure:
    """The best within the budget against how many routes were scored."""
    drawing, (ax,) = axes(height=3.2)
    kinds: dict[str, list[tuple[int, float]]] = {}
    for label, point in found.by_round().items():
        kinds.setdefault(label.rstrip("0123456789 "), []).append(point)
    for place, (kind, points) in enumerate(kinds.items()):
        ax.plot([n for n, _ in points], [best for _, best in points], label=kind, linestyle="-", **style(place))
    ax.set_xlabel("routes scored")
    ax.set_ylabel(f"best score at {found.limit} layer calls")
    legend(ax)
    (last, best) = list(found.by_round().values())[-1]
    caption = (
        f"The best score within the budget on the items of the search, round by round, up to {best:.3f} after "
        f"{last:,} routes."
    )
    alt = "Line chart of the best score within the budget against the number of routes scored, a marker a round."
    return Figure("progress", "How the search went", caption, alt, drawing)


def routes_figure(found: Findings) -> list[Figure]:
    """The found route beside the best contiguous skip; nothing where they are too long to be drawn."""
    named = {"found": found.chosen, "best contiguous skip": found.best_skip(found.limit)}
    shown = {f"{name}, {found.estimated(route).value:.2f}": route for name, route in named.items()}
    if found.n_layers > MOST_BOXES:
        return []
    caption = (
        "The route found at the budget and the best contiguous skip of its cost, with their scores on items held out. "
        "Layers above each other read the same residual stream, and their outputs are averaged (x̄) or their updates "
        "added (Σ)."
    )
    listed = "; ".join(f"{name}: {route}" for name, route in shown.items())
    return [Figure("routes", "The routes", caption, f"Routes. {listed}.", routes_diagram(shown))]
