"""The figures of `similarity`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mechpaint.analyses.similarity.findings import Findings
from mechpaint.analyses.similarity.labels import FULL
from mechpaint.analyses.similarity.measures import ANGLE, BY_TOKEN, SIMILARITY
from mechpaint.analyses.similarity.spaces import Spaces
from mechpaint.display.figures import NARROW, axes, banded, heatmap, legend, panels, style
from mechpaint.report import Figure
from mechpaint.statistics.bootstrap import CENTRAL, estimate

if TYPE_CHECKING:
    from matplotlib.axes import Axes

ANSWER = "figure-3"
"""The figure that answers the question."""
_MOST_NAMES = 20
_BORDER = "#D55E00"


def figures(findings: Findings) -> list[Figure]:
    """Draw figure 3, both halves of figure 15, and the angular distances."""
    others = findings.labels[1:]
    return [
        *_full_model(findings),
        *([_routes(findings, others)] if others else []),
        _variances(findings),
        _angles(findings),
    ]


def shown(names: list[str]) -> list[str]:
    """Blank out names until the rest is legible."""
    every = -(-len(names) // _MOST_NAMES)
    return [name if i % every == 0 else "" for i, name in enumerate(names)]


def _matrix(findings: Findings, drawing: object, ax: Axes, label: str, measure: str) -> None:
    names = shown(findings.names(label))
    values = findings.matrix(label, measure)
    heatmap(drawing, ax, values, names, names, min(0.0, float(np.nanmin(values, initial=0.0))), 1.0)
    ax.tick_params(axis="x", rotation=90)
    ax.tick_params(labelsize=7.5)
    ax.spines[["top", "right", "bottom", "left"]].set_visible(False)


def draw_borders(ax: Axes, spaces: Spaces | None) -> None:
    """Draw the borders of the three spaces, if there are any."""
    for at in () if spaces is None else (spaces.middle[0], spaces.ending[0]):
        ax.axhline(at - 0.5, color=_BORDER, linewidth=1.2)
        ax.axvline(at - 0.5, color=_BORDER, linewidth=1.2)


def _widest(findings: Findings, labels: list[str], measures: tuple[str, ...]) -> str:
    """Describe the widest interval in a sentence, since heatmaps have no room for each."""
    widest = 0.0
    for label in labels:
        for measure in measures:
            low, high = np.percentile(findings.matrices(label, measure)[1:], CENTRAL, axis=0)
            widest = max(widest, float(np.nanmax(high - low, initial=0.0)))
    return f"The widest 95 % bootstrap interval of a similarity over windows spans {widest:.3f}."


def _full_model(findings: Findings) -> list[Figure]:
    """Draw the similarity of whole windows, as in the paper, and token by token."""
    where = "of the residual stream before the first layer and after each"
    caption = f"Mean cosine similarity {where}, each window flattened to one vector. "
    if findings.spaces is not None:
        caption += (
            "Lines: the split into three stretches with the least variance within blocks; "
            f"{findings.spaces.explained:.0%} of the variance is between blocks, and {findings.spaces.sure:.0%} of the "
            "resamples of windows give the same split. "
        )
    caption += f"{_widest(findings, [FULL], (SIMILARITY,))} Paper: §3.1, figure 3."
    return [_of_full_model(findings, ANSWER, "Similarity of the layers", caption, SIMILARITY), _by_token(findings)]


def _by_token(findings: Findings) -> Figure:
    """Draw the same token by token, split anew: in whole windows a single token of large norm can decide the split."""
    caption = "The mean over tokens of their own cosine similarities, to which each token contributes alike. "
    if (spaces := findings.spaces_by_token) is not None:
        stretches = ", ".join(map(findings.stretch, (spaces.beginning, spaces.middle, spaces.ending)))
        caption += (
            f"Lines: the split of these similarities: {stretches}; {spaces.explained:.0%} of the variance is between "
            f"blocks, and {spaces.sure:.0%} of the resamples of windows give the same split. "
        )
    caption += _widest(findings, [FULL], (BY_TOKEN,))
    title = "Similarity of the layers, token by token"
    return _of_full_model(findings, "similarity-by-token", title, caption, BY_TOKEN)


def _of_full_model(findings: Findings, name: str, title: str, caption: str, measure: str) -> Figure:
    drawing, (ax,) = axes(NARROW, height=4.2)
    _matrix(findings, drawing, ax, FULL, measure)
    draw_borders(ax, findings.spaces_by_token if measure == BY_TOKEN else findings.spaces)
    return Figure(name, title, caption, "Heatmap of cosine similarity, layers by layers.", drawing)


def _routes(findings: Findings, labels: list[str]) -> Figure:
    drawing, drawn = panels(len(labels), 2, 11.0, 4.8)
    for ax, label in zip(drawn, labels, strict=True):
        _matrix(findings, drawing, ax, label, SIMILARITY)
        ax.set_title(label, fontsize=10)
    routes = "; ".join(f"{label}: {findings.facts.routes[label]}" for label in labels)
    caption = (
        f"Similarity of whole windows under skip and middle repeat, at the states of each route. {routes}. "
        f"{_widest(findings, labels, (SIMILARITY,))} Paper: A.4, figure 15."
    )
    alt = f"Heatmaps of cosine similarity, states by states: {'; '.join(labels)}."
    return Figure("figure-15", "Similarity when the middle is skipped or repeated", caption, alt, drawing)


def _variances(findings: Findings) -> Figure:
    drawing, (ax,) = axes()
    ends: list[str] = []
    for i, label in enumerate(findings.labels):
        values = [estimate(findings.variance(label, state)) for state in range(len(findings.names(label)))]
        banded(ax, range(len(values)), values, label, {**style(i), "linewidth": 1.5})
        ends.append(f"{label} {values[-1]:.3g}")
    ax.set_yscale("log")
    ax.set_xlabel("steps run (0: the embedding)")
    ax.locator_params(axis="x", integer=True)
    ax.set_ylabel("variance of the residual stream")
    legend(ax)
    caption = (
        "Variance over all entries of a window's residual stream, mean over windows with 95 % bootstrap intervals, "
        f"on a logarithmic axis. Final values: {', '.join(ends)}. Paper: A.4, figure 15."
    )
    alt = f"Line chart of the variance against the steps run, one line per hook set: {', '.join(findings.labels)}."
    return Figure("figure-15-variance", "Variance of the residual stream", caption, alt, drawing)


def _angles(findings: Findings) -> Figure:
    drawing, (ax,) = axes()
    draws = findings.matrices(FULL, ANGLE)
    states = draws.shape[-1]
    apart = [2**i for i in range(states) if 2**i < states]
    for i, n in enumerate(apart):
        distances = [estimate(each) for each in np.diagonal(draws, n, axis1=1, axis2=2).T]
        banded(ax, range(len(distances)), distances, f"n = {n}", {**style(i), "linewidth": 1.5})
    ax.set_xlabel("first of the n layers in between")
    ax.locator_params(axis="x", integer=True)
    ax.set_ylabel("angular distance")
    ax.set_ylim(0, None)
    legend(ax, columns=6)
    caption = (
        "Angular distance of the residual stream before and after n layers, at the last token of each window, mean "
        "over windows with 95 % bootstrap intervals: the arc cosine of their cosine similarity, divided by π. Lower "
        "means that these layers rotate it less. Paper: “The Unreasonable Ineffectiveness of the Deeper Layers” "
        "(arXiv 2403.17887), §3.2, figure 4."
    )
    alt = f"Line chart of angular distance against the first layer, a line for n = {', '.join(map(str, apart))} layers."
    return Figure("angles", "Angular distance over n layers", caption, alt, drawing)
