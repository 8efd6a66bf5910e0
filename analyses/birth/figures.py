"""The figures of `birth`: lines are means over seeds, bands span all seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from mechpaint.analyses.birth.conditions import DATA, DEPTH, FREEZING, HELD_OUT, LENGTH, UNIFORM
from mechpaint.analyses.birth.curves import Curve, Curves, shown, spread
from mechpaint.analyses.seeds import BAND, draw_line
from mechpaint.display.figures import NARROW, axes, legend, shared_legend, style
from mechpaint.report import Figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes


ANSWER = "figure-3"
"""The figure that answers the question."""


def figures(curves: Curves, until: int) -> list[Figure]:
    """Draw figure 3, figure 4 (left, right, middle), positions, and one layer against two."""
    return [
        *_freezing(curves, until),
        _global_against_context(curves),
        _slower(curves),
        _outputs(curves),
        _positions(curves),
        _depth(curves),
    ]


def _line(ax: Axes, curve: Curve, label: str, i: int, linestyle: str = "-") -> None:
    look = {**style(i), "markevery": max(1, len(curve.steps) // 8), "markersize": 5.5, "linestyle": linestyle}
    draw_line(ax, curve.steps.tolist(), list(curve.values.T), label, look)


def _finish(panels: Sequence[Axes], names: Sequence[str]) -> None:
    for ax, name in zip(panels, names, strict=True):
        ax.set_ylabel(name)
        ax.set_xlabel("training step")
        ax.set_xlim(0, None)


def _freezing(curves: Curves, until: int) -> list[Figure]:
    """Draw the accuracy with matrices frozen, then the recall of each matrix."""
    accuracy = {"accuracy_in_context": "in-context accuracy"}
    recalls = {
        "recall_output": "recall of W_O²",
        "recall_triggers": "recall of W_K²",
        "recall_positions": "recall of W_K¹",
    }
    frozen = f"Simplified models with matrices frozen until step {until} (dotted line). {BAND} Paper: figure 3."
    return [
        Figure(
            ANSWER, "Learning while matrices are frozen", frozen,
            "Line chart of in-context accuracy over training, one line per frozen matrix.",
            _frozen(curves, until, accuracy, NARROW),
        ),
        Figure(
            "figure-3-recall", "The matrices while others are frozen", f"The same models, recall of each. {BAND}",
            "Three line charts over training: the recall of three matrices, one line per frozen matrix.",
            _frozen(curves, until, recalls, 11.0),
        ),
    ]  # fmt: skip


def _frozen(curves: Curves, until: int, probes: Mapping[str, str], width: float) -> Any:
    """Draw some probes, one line per frozen matrix."""
    drawing, panels = axes(width, columns=len(probes), height=3.8)
    for ax, probe in zip(panels, probes, strict=True):
        for i, condition in enumerate(curves.conditions(FREEZING)):
            label = "nothing frozen" if condition == "nothing" else f"{shown(condition)} frozen"
            _line(ax, curves.curve(FREEZING, condition, probe), label, i)
        ax.axvline(until, color="#555555", linewidth=0.9, linestyle=":")
        ax.set_ylim(-0.02, 1.02)
    _finish(panels, list(probes.values()))
    shared_legend(drawing, panels[0], 5) if len(panels) > 1 else legend(panels[0], 3)
    return drawing


def _global_against_context(curves: Curves) -> Figure:
    drawing, panels = axes(10.0, columns=2)
    usual = curves.conditions(DATA)[0]
    for i, (probe, label) in enumerate((("kl_global", "from global bigrams"), ("kl_in_context", "from in-context"))):
        _line(panels[0], curves.curve(DATA, usual, probe), label, i)
    panels[0].set_yscale("log")
    for i, (probe, label) in enumerate((("loss_bigram", "global tokens"), ("loss_in_context", "after triggers"))):
        _line(panels[1], curves.curve(DATA, usual, probe), label, i)
    _finish(panels, ["KL divergence, nats", "loss, nats"])
    legend(panels[0])
    legend(panels[1])
    known = curves.curve(DATA, usual, "kl_global")
    accuracy = curves.curve(DATA, usual, "accuracy_in_context")
    caption = (
        f"Trained on all tokens with {usual}. KL from the global bigrams covers half its way by step "
        f"{known.halfway().mean():.0f}, in-context accuracy by step {accuracy.halfway().mean():.0f} (means over "
        f"seeds). {BAND} Paper: figure 4, left."
    )
    alt = "Two line charts over training: divergences from global and in-context bigrams, and the two losses."
    return Figure("figure-4-left", "Global against in-context learning", caption, alt, drawing)


def _slower(curves: Curves) -> Figure:
    drawing, (ax,) = axes()
    shown = curves.conditions(DATA)[:4]
    for i, condition in enumerate(shown):
        _line(ax, curves.curve(DATA, condition, "accuracy_in_context"), condition, i)
    _finish([ax], ["in-context accuracy"])
    legend(ax, 2)
    ends = ", ".join(f"{c} {spread(curves.curve(DATA, c, 'accuracy_in_context').last)}" for c in shown)
    caption = f"In-context accuracy by kind of trigger. Final values: {ends}. {BAND} Paper: figure 4, left and right."
    alt = "Line chart of in-context accuracy over training, one line per kind of trigger."
    return Figure("figure-4-right", "What slows in-context learning", caption, alt, drawing)


def _outputs(curves: Curves) -> Figure:
    drawing, (ax,) = axes()
    shown = {"bigram outputs": "bigram", "uniform outputs, some held out": "uniform"}
    for i, (condition, name) in enumerate(shown.items()):
        tests = (("accuracy_in_context", "own", "-"), (UNIFORM, "uniform", "--"), (HELD_OUT, "held out", ":"))
        for probe, test, line in tests:
            _line(ax, curves.curve(DATA, condition, probe), f"trained on {name}, tested on {test}", i, line)
    _finish([ax], ["in-context accuracy"])
    legend(ax, 2)
    gap = [spread(curves.curve(DATA, c, UNIFORM).last) for c in shown]
    caption = (
        "Models trained on bigram outputs or on uniform ones, with a fifth of the tokens held out, tested on their own "
        f"kind, on uniform outputs (final accuracy {gap[0]} and {gap[1]}) and on held-out tokens alone. {BAND} Paper: "
        "figure 4, middle."
    )
    alt = "Line chart of in-context accuracy over training, for two kinds of training outputs and three tests."
    return Figure("figure-4-middle", "Training on other outputs", caption, alt, drawing)


def _positions(curves: Curves) -> Figure:
    drawing, (ax,) = axes()
    (condition,) = curves.conditions(LENGTH)
    for i, (probe, label) in enumerate((("recall_early", "positions 1 to 63"), ("recall_positions", "all 127"))):
        _line(ax, curves.curve(LENGTH, condition, probe), label, i)
    _line(ax, curves.curve(LENGTH, condition, "accuracy_in_context"), "in-context accuracy", 2, "--")
    _finish([ax], ["recall of W_K¹, accuracy"])
    legend(ax, 3)
    early, everywhere = (curves.curve(LENGTH, condition, p).last for p in ("recall_early", "recall_positions"))
    caption = (
        f"Sequences of 128 tokens: after training, W_K¹ recalls {spread(early)} of the first 63 positions and "
        f"{spread(everywhere)} of all. {BAND} Paper: figure 3, right."
    )
    alt = "Line chart over training: the share of positions that W_K¹ recalls, early ones and all."
    return Figure("figure-3-positions", "Early and late positions", caption, alt, drawing)


def _depth(curves: Curves) -> Figure:
    drawing, (ax,) = axes()
    for i, condition in enumerate(curves.conditions(DEPTH)):
        _line(ax, curves.curve(DEPTH, condition, "accuracy_in_context"), condition, i)
        _line(ax, curves.curve(DEPTH, condition, "accuracy_changed"), f"{condition}, where y differs from x", i, "--")
    _finish([ax], ["in-context accuracy"])
    legend(ax, 2)
    ends = [float(np.mean(curves.curve(DEPTH, c, "accuracy_in_context").last)) for c in curves.conditions(DEPTH)]
    caption = (
        f"Full transformers (layer norm, 2 heads, an MLP): one layer ends at {ends[0]:.3f}, two at {ends[1]:.3f}. Some "
        "outputs equal the trigger, which one layer can repeat; dashed lines exclude them. "
        f"{BAND} Paper: appendix."
    )
    alt = "Line chart of in-context accuracy over training, for one layer and for two."
    return Figure("layers", "One layer against two", caption, alt, drawing)
