"""The figures of `memories`: lines are means over seeds, bands span all seeds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from mechpaint.analyses.memories.constructing import CONSTRUCTED, MENDED
from mechpaint.analyses.memories.findings import (
    HEADS,
    NAMES,
    STAGES,
    Findings,
    extent,
    percent,
    places,
    width,
)
from mechpaint.analyses.memories.measuring import CHANGED
from mechpaint.analyses.memories.records import Setting
from mechpaint.analyses.memories.sources import SOURCES, VOCABULARY, Source
from mechpaint.analyses.memories.stepping import ALONE, SHARPENED
from mechpaint.analyses.seeds import BAND, Values, draw_line, spread
from mechpaint.display.figures import axes, legend, shared_legend, style
from mechpaint.report import Figure
from mechpaint.toy.gradients import TOP_DOWN

if TYPE_CHECKING:
    from matplotlib.axes import Axes

ANSWER = "construction"
"""The figure that answers the question."""
_DASHES = {CONSTRUCTED: "--", MENDED: "-"}
_SHOWN = {CONSTRUCTED: "as in the paper", MENDED: "mended"}


def figures(findings: Findings) -> list[Figure]:
    """Draw accuracy, errors and sharpness of constructed heads; then the first step, three steps and their heads."""
    return [
        _accuracy(findings),
        _errors(findings),
        _sharpness(findings),
        _first_step(findings),
        _three_steps(findings),
        _heads(findings),
    ]


def _line(
    ax: Axes, xs: Sequence[Any], values: Sequence[Values], label: str, i: int, linestyle: str = "-", band: bool = True
) -> None:
    draw_line(ax, xs, values, label, {**style(i), "linestyle": linestyle}, band)


def _widths(ax: Axes, dims: Sequence[int], name: str) -> None:
    ax.set_xscale("log", base=2)
    ax.set_xticks(dims, [str(dim) for dim in dims])
    ax.minorticks_off()
    ax.set_xlabel(name)


def _accuracy(findings: Findings) -> Figure:
    drawing, panels = axes(10.0, columns=2)
    for ax, source in zip(panels, HEADS, strict=True):
        for i, length in enumerate(findings.lengths):
            for stage in STAGES:
                values = [findings.head(source, dim, length, stage) for dim in findings.dims]
                _line(ax, findings.dims, values, f"length {length}, {_SHOWN[stage]}", i, _DASHES[stage], band=False)
        _widths(ax, findings.dims, f"dimension d, {source.triggers} triggers")
        ax.set_ylim(top=1.01)
    panels[0].set_ylabel("in-context accuracy")
    shared_legend(drawing, panels[0], len(findings.lengths))
    listed = "; ".join(
        f"{source.triggers} triggers "
        + ", ".join(f"{_over(findings, source, dim)} at d = {dim}" for dim in findings.ends)
        for source in HEADS
    )
    caption = (
        "Heads constructed without training: dashed as in the paper, solid with the first position mended. Range over "
        f"lengths, as in the paper → mended: {listed}. Means over seeds; the table below shows how they vary. "
        "Paper: §4.2."
    )
    alt = "Two line charts of in-context accuracy against the dimension, one line per length, before and after mending."
    return Figure(ANSWER, "The constructed induction head", caption, alt, drawing)


def _over(findings: Findings, source: Source, dim: int) -> str:
    """The range of means over lengths, before and after mending."""
    means = [np.array([findings.head(source, dim, n, stage).mean() for n in findings.lengths]) for stage in STAGES]
    return " → ".join(extent(values) for values in means)


def _errors(findings: Findings) -> Figure:
    drawing, panels = axes(10.0, columns=2)
    for ax, source in zip(panels, HEADS, strict=True):
        for i, name in enumerate(("opening", "elsewhere")):
            for stage in STAGES:
                rates = [findings.error_rates(source, dim, stage)[i] for dim in findings.dims]
                _line(
                    ax, findings.dims, rates, f"{name}, {_SHOWN[stage]}", i, _DASHES[stage], band=stage == CONSTRUCTED
                )
        _widths(ax, findings.dims, f"dimension d, {source.triggers} triggers")
        ax.set_ylim(bottom=-0.01)
    panels[0].set_ylabel("share of wrong answers")
    shared_legend(drawing, panels[0])
    last = findings.dims[-1]
    listed = "; ".join(_errors_in_words(findings, source, last) for source in HEADS)
    caption = (
        "Error rates of constructed heads at triggers that open their sequence (“opening”) and at all others "
        f"(“elsewhere”), averaged over lengths. At d = {last}, {listed}. {BAND}"
    )
    alt = "Two line charts of error rates against the dimension: at triggers that open the sequence, and at others."
    return Figure("errors", "Remaining errors, at the first position and elsewhere", caption, alt, drawing)


def _errors_in_words(findings: Findings, source: Source, dim: int) -> str:
    before, after = (findings.error_rates(source, dim, stage) for stage in STAGES)
    return (
        f"with {source.triggers} triggers, {percent(before[0])} of the former and {percent(before[1])} of the "
        f"latter are wrong; after mending, {percent(after[0])} and {percent(after[1])}"
    )


def _sharpness(findings: Findings) -> Figure:
    drawing, (ax,) = axes()
    for i, source in enumerate(HEADS):
        for stage in STAGES:
            values = [findings.scan(source, sharpness, stage) for sharpness in findings.sharpnesses]
            _line(ax, findings.sharpnesses, values, f"{source.triggers} triggers, {_SHOWN[stage]}", i, _DASHES[stage])
    ax.set_xscale("log")
    ax.set_xticks(findings.sharpnesses, [f"{value:g}" for value in findings.sharpnesses])
    ax.minorticks_off()
    ax.set_xlabel("sharpness β")
    ax.set_ylabel("in-context accuracy")
    legend(ax, 2)
    means = {
        value: np.array([findings.scan(source, value, CONSTRUCTED).mean() for source in HEADS])
        for value in findings.sharpnesses
    }
    listed = ", ".join(f"{extent(own)} at β = {value:g}" for value, own in means.items())
    caption = (
        f"Heads at d = {findings.scanned_dim} and length {findings.scanned_length} by sharpness β, the margin of "
        f"right answers over others. As in the paper: {listed}. {BAND}"
    )
    alt = "Line chart of in-context accuracy against the sharpness of the memories, for fixed and random triggers."
    return Figure("sharpness", "The sharpness that memories need", caption, alt, drawing)


def _first_step(findings: Findings) -> Figure:
    drawing, (ax,) = axes()
    for i, source in enumerate(SOURCES):
        _line(ax, findings.dims, [findings.first_step(source, dim) for dim in findings.dims], source.described, i)
    limits = sorted({float(findings.first_step(source, Setting.LIMIT)[0]) for source in SOURCES})
    for value in limits:
        ax.axhline(value, color="#000000", linewidth=1.2, linestyle="--", label="infinitely many dimensions")
    ax.axhline(1 / VOCABULARY, color="#555555", linewidth=0.8, linestyle=":", label="chance")
    _widths(ax, findings.dims, "dimension d")
    ax.set_ylim(-0.02, 1.03)
    ax.set_ylabel("recall of W_O²")
    legend(ax, 2)
    listed = "; ".join(
        f"{source.described} "
        + ", ".join(f"{spread(findings.first_step(source, d))} at d = {d}" for d in findings.ends)
        for source in SOURCES
    )
    caption = (
        "The recall of W_O² after its first gradient step from the idealised start, where all learned matrices are "
        "zero and the residual stream has no direct effect. In infinitely many dimensions it is "
        f"{extent(np.array(limits))}; {listed}. The data contribute the same in every dimension; the rest is lost to "
        f"cross-talk. {BAND} Paper: §6."
    )
    alt = (
        "Line chart of the recall of the output memory against the dimension, one line per kind of data, and the limit."
    )
    return Figure("first-step", "One gradient step on W_O²", caption, alt, drawing)


def _three_steps(findings: Findings) -> Figure:
    drawing, panels = axes(11.0, columns=3, height=3.8)
    xs = range(len(findings.step_dims))
    for ax, source in zip(panels, SOURCES, strict=True):
        for i, matrix in enumerate(TOP_DOWN):
            values = [findings.own_recall(source, dim, matrix) for dim in findings.step_dims]
            _line(ax, xs, values, NAMES[matrix], i)
        ax.axhline(1 / VOCABULARY, color="#555555", linewidth=0.8, linestyle=":", label="chance")
        ax.set_xticks(xs, [width(dim) for dim in findings.step_dims])
        ax.set_xlabel(f"dimension d\n{source.described}")
        ax.set_ylim(-0.02, 1.03)
    panels[0].set_ylabel("recall after the memory's own step")
    shared_legend(drawing, panels[0])
    listed = "; ".join(
        f"{source.described} {', '.join(spread(findings.own_recall(source, Setting.LIMIT, m), 2) for m in TOP_DOWN)}"
        for source in SOURCES
    )
    finite = findings.step_dims[-2]
    below = extent(np.array([findings.own_recall(source, finite, "W_K^1").mean() for source in SOURCES]), 2)
    caption = (
        "One small gradient step on each matrix, top-down, starting from zero. Recall of W_O², W_K² and W_K¹ in "
        f"infinitely many dimensions (∞: a model with exactly orthogonal vectors): {listed}. At d = {finite}, W_K¹ "
        f"recalls {below}. Later steps leave earlier memories unchanged. {BAND} Paper: §6."
    )
    alt = "Three line charts, one per kind of data: the recall of three memories after their own step, by dimension."
    return Figure("three-steps", "Three gradient steps, top-down", caption, alt, drawing)


def _heads(findings: Findings) -> Figure:
    drawing, panels = axes(10.0, columns=2)
    stages = (*TOP_DOWN, SHARPENED, ALONE)
    for ax, dim in zip(panels, findings.step_dims[-2:], strict=True):
        for i, source in enumerate(SOURCES):
            values = [findings.steps(source, dim, stage, CHANGED) for stage in stages]
            _line(ax, range(len(stages)), values, source.described, i)
        ax.set_xticks(range(len(stages)), [*NAMES.values(), "all\nsharp", "wanted\nalone"])
        ax.set_xlabel(f"after the step on …, {places(dim)}")
        ax.set_ylim(-0.02, 1.03)
    panels[0].set_ylabel("in-context accuracy where y ≠ x")
    shared_legend(drawing, panels[0])
    listed = "; ".join(
        f"{source.described} {spread(findings.steps(source, Setting.LIMIT, SHARPENED, CHANGED))} and "
        f"{spread(findings.steps(source, Setting.LIMIT, ALONE, CHANGED))}"
        for source in SOURCES
    )
    caption = (
        "In-context accuracy where the output y differs from the trigger x: after each step; with all memories as "
        "sharp as constructed ones (“all sharp”); and with only the associations that an induction head needs (“wanted "
        f"alone”). The last two in infinitely many dimensions: {listed}. {BAND}"
    )
    alt = "Two line charts of in-context accuracy after each of three steps and two changes, by kind of data."
    return Figure("heads", "Do three steps make a head?", caption, alt, drawing)
