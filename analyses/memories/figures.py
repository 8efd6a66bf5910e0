"""The figures of `memories`: lines are means over seeds, bands reach from the lowest seed to the highest."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from mechpaint.analyses.memories.constructing import CONSTRUCTED, MENDED
from mechpaint.analyses.memories.findings import (
    HEADS,
    NAMES,
    STAGES,
    Found,
    Values,
    extent,
    percent,
    places,
    spread,
    width,
)
from mechpaint.analyses.memories.measuring import CHANGED
from mechpaint.analyses.memories.records import Setting
from mechpaint.analyses.memories.sources import SOURCES, VOCABULARY, Source
from mechpaint.analyses.memories.stepping import ALONE, SHARPENED
from mechpaint.display.figures import axes, legend, shared_legend, style
from mechpaint.report import Figure
from mechpaint.toy.gradients import TOP_DOWN

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_BAND = "Lines are means over seeds, bands reach from the lowest to the highest."
_DASHES = {CONSTRUCTED: "--", MENDED: "-"}
_SHOWN = {CONSTRUCTED: "as in the paper", MENDED: "mended"}


def figures(found: Found) -> list[Figure]:
    """Constructed heads: accuracy, what is wrong, sharpness; then the first step, three steps, what they leave."""
    return [
        _accuracy(found),
        _errors(found),
        _sharpness(found),
        _first_step(found),
        _three_steps(found),
        _heads(found),
    ]


def _line(
    ax: Axes, xs: Sequence[Any], values: Sequence[Values], label: str, i: int, linestyle: str = "-", band: bool = True
) -> None:
    look: dict[str, Any] = {**style(i), "linestyle": linestyle}
    ax.plot(xs, [own.mean() for own in values], label=label, linewidth=1.5, **look)
    low, high = [own.min() for own in values], [own.max() for own in values]
    if band:
        ax.fill_between(xs, low, high, color=look["color"], alpha=0.12, linewidth=0)


def _widths(ax: Axes, dims: Sequence[int], name: str) -> None:
    ax.set_xscale("log", base=2)
    ax.set_xticks(dims, [str(dim) for dim in dims])
    ax.minorticks_off()
    ax.set_xlabel(name)


def _accuracy(found: Found) -> Figure:
    drawing, panels = axes(10.0, columns=2)
    for ax, source in zip(panels, HEADS, strict=True):
        for i, length in enumerate(found.lengths):
            for stage in STAGES:
                values = [found.head(source, dim, length, stage) for dim in found.dims]
                _line(ax, found.dims, values, f"length {length}, {_SHOWN[stage]}", i, _DASHES[stage], band=False)
        _widths(ax, found.dims, f"dimension d, {source.triggers} triggers")
        ax.set_ylim(top=1.01)
    panels[0].set_ylabel("in-context accuracy")
    shared_legend(drawing, panels[0], len(found.lengths))
    told = "; ".join(
        f"{source.triggers} triggers " + ", ".join(f"{_over(found, source, dim)} at d = {dim}" for dim in found.ends)
        for source in HEADS
    )
    caption = (
        "Heads written down without training; dashed as in the paper, solid with the first position mended. Over "
        f"lengths, as in the paper → mended: {told}. Means over seeds; the table above has how much they differ. "
        "Paper: §4.2."
    )
    alt = "Two line charts of in-context accuracy against the dimension, a line a length, before and after mending."
    return Figure("construction", "The induction head written down", caption, alt, drawing)


def _over(found: Found, source: Source, dim: int) -> str:
    """The extent of means over lengths, before and after."""
    means = [np.array([found.head(source, dim, n, stage).mean() for n in found.lengths]) for stage in STAGES]
    return " → ".join(extent(values) for values in means)


def _errors(found: Found) -> Figure:
    drawing, panels = axes(10.0, columns=2)
    for ax, source in zip(panels, HEADS, strict=True):
        for i, name in enumerate(("opening", "elsewhere")):
            for stage in STAGES:
                rates = [found.error_rates(source, dim, stage)[i] for dim in found.dims]
                _line(ax, found.dims, rates, f"{name}, {_SHOWN[stage]}", i, _DASHES[stage], band=stage == CONSTRUCTED)
        _widths(ax, found.dims, f"dimension d, {source.triggers} triggers")
        ax.set_ylim(bottom=-0.01)
    panels[0].set_ylabel("share of wrong answers")
    shared_legend(drawing, panels[0])
    last = found.dims[-1]
    told = "; ".join(_told_errors(found, source, last) for source in HEADS)
    caption = (
        "Where constructed heads are wrong: at triggers that are also the first token of their sequence (“opening”), "
        f"and at all others (“elsewhere”), averaged over lengths. At d = {last}, {told}. {_BAND}"
    )
    alt = "Two line charts of error rates against the dimension: at triggers that open the sequence, and at others."
    return Figure("errors", "What remains wrong, at the first position and elsewhere", caption, alt, drawing)


def _told_errors(found: Found, source: Source, dim: int) -> str:
    before, after = (found.error_rates(source, dim, stage) for stage in STAGES)
    return (
        f"with {source.triggers} triggers, {percent(before[0])} of the former are wrong and {percent(before[1])} of "
        f"the latter; mended, {percent(after[0])} and {percent(after[1])}"
    )


def _sharpness(found: Found) -> Figure:
    drawing, (ax,) = axes()
    for i, source in enumerate(HEADS):
        for stage in STAGES:
            values = [found.scan(source, sharpness, stage) for sharpness in found.sharpnesses]
            _line(ax, found.sharpnesses, values, f"{source.triggers} triggers, {_SHOWN[stage]}", i, _DASHES[stage])
    ax.set_xscale("log")
    ax.set_xticks(found.sharpnesses, [f"{value:g}" for value in found.sharpnesses])
    ax.minorticks_off()
    ax.set_xlabel("sharpness β")
    ax.set_ylabel("in-context accuracy")
    legend(ax, 2)
    means = {
        value: np.array([found.scan(source, value, CONSTRUCTED).mean() for source in HEADS])
        for value in found.sharpnesses
    }
    told = ", ".join(f"{extent(own)} at β = {value:g}" for value, own in means.items())
    caption = (
        f"Heads at d = {found.scanned_dim} and length {found.scanned_length} by the sharpness β, by which right "
        f"answers score above others. As in the paper: {told}. {_BAND}"
    )
    alt = "Line chart of in-context accuracy against the sharpness of the memories, for fixed and random triggers."
    return Figure("sharpness", "How sharp the memories must be", caption, alt, drawing)


def _first_step(found: Found) -> Figure:
    drawing, (ax,) = axes()
    for i, source in enumerate(SOURCES):
        _line(ax, found.dims, [found.first_step(source, dim) for dim in found.dims], source.described, i)
    limits = sorted({float(found.first_step(source, Setting.LIMIT)[0]) for source in SOURCES})
    for value in limits:
        ax.axhline(value, color="#000000", linewidth=1.2, linestyle="--", label="infinitely many dimensions")
    ax.axhline(1 / VOCABULARY, color="#555555", linewidth=0.8, linestyle=":", label="chance")
    _widths(ax, found.dims, "dimension d")
    ax.set_ylim(-0.02, 1.03)
    ax.set_ylabel("recall of W_O²")
    legend(ax, 2)
    told = "; ".join(
        f"{source.described} " + ", ".join(f"{spread(found.first_step(source, d))} at d = {d}" for d in found.ends)
        for source in SOURCES
    )
    caption = (
        "The recall of W_O² after its first gradient step from the idealised start, in which all learned matrices are "
        "zero and the residual stream itself says nothing. In infinitely many dimensions it is "
        f"{extent(np.array(limits))}; {told}. What the data say is the same in every dimension: all that is "
        f"lacking is lost in cross-talk. {_BAND} Paper: §6."
    )
    alt = "Line chart of the recall of the output memory against the dimension, a line a kind of data, and the limit."
    return Figure("first-step", "One gradient step on W_O²", caption, alt, drawing)


def _three_steps(found: Found) -> Figure:
    drawing, panels = axes(11.0, columns=3, height=3.8)
    xs = range(len(found.step_dims))
    for ax, source in zip(panels, SOURCES, strict=True):
        for i, matrix in enumerate(TOP_DOWN):
            values = [found.own_recall(source, dim, matrix) for dim in found.step_dims]
            _line(ax, xs, values, NAMES[matrix], i)
        ax.axhline(1 / VOCABULARY, color="#555555", linewidth=0.8, linestyle=":", label="chance")
        ax.set_xticks(xs, [width(dim) for dim in found.step_dims])
        ax.set_xlabel(f"dimension d\n{source.described}")
        ax.set_ylim(-0.02, 1.03)
    panels[0].set_ylabel("recall after the memory's own step")
    shared_legend(drawing, panels[0])
    told = "; ".join(
        f"{source.described} {', '.join(spread(found.own_recall(source, Setting.LIMIT, m), 2) for m in TOP_DOWN)}"
        for source in SOURCES
    )
    finite = found.step_dims[-2]
    below = extent(np.array([found.own_recall(source, finite, "W_K^1").mean() for source in SOURCES]), 2)
    caption = (
        "One small gradient step on each matrix, from top to bottom, from where all are zero. In infinitely many "
        f"dimensions (∞: a model whose vectors are exactly orthogonal) W_O², W_K² and W_K¹ recall: {told}. At "
        f"d = {finite}, W_K¹ recalls {below}. Later steps do not change what earlier ones wrote. {_BAND} Paper: §6."
    )
    alt = "Three line charts, one a kind of data, of what three memories recall after their step, by dimension."
    return Figure("three-steps", "Three gradient steps, from top to bottom", caption, alt, drawing)


def _heads(found: Found) -> Figure:
    drawing, panels = axes(10.0, columns=2)
    stages = (*TOP_DOWN, SHARPENED, ALONE)
    for ax, dim in zip(panels, found.step_dims[-2:], strict=True):
        for i, source in enumerate(SOURCES):
            values = [found.steps(source, dim, stage, CHANGED) for stage in stages]
            _line(ax, range(len(stages)), values, source.described, i)
        ax.set_xticks(range(len(stages)), [*NAMES.values(), "all\nsharp", "wanted\nalone"])
        ax.set_xlabel(f"after the step on …, {places(dim)}")
        ax.set_ylim(-0.02, 1.03)
    panels[0].set_ylabel("in-context accuracy where y ≠ x")
    shared_legend(drawing, panels[0])
    told = "; ".join(
        f"{source.described} {spread(found.steps(source, Setting.LIMIT, SHARPENED, CHANGED))} and "
        f"{spread(found.steps(source, Setting.LIMIT, ALONE, CHANGED))}"
        for source in SOURCES
    )
    caption = (
        "In-context accuracy where the output y is not the trigger x itself: after each step; with all memories made "
        "as sharp as constructed ones (“all sharp”); and with everything taken out of them but the associations that "
        f"an induction head needs (“wanted alone”). In infinitely many dimensions the last two are: {told}. {_BAND}"
    )
    alt = "Two line charts of in-context accuracy after each of three steps and two changes, by kind of data."
    return Figure("heads", "Whether three steps make a head", caption, alt, drawing)
