"""The figures of `induction`: head scores, attention patterns, and the effect of each layer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Float

from mechpaint.analyses.induction.labels import FULL, TWICE, WITHOUT, measured
from mechpaint.analyses.induction.measures import SCORES
from mechpaint.circuits import attention_view, induction_diagram
from mechpaint.display.figures import NARROW, axes, heatmap, literal, panels, shared_legend, style
from mechpaint.display.views import View
from mechpaint.models.token_text import visible_token
from mechpaint.report import Figure

if TYPE_CHECKING:
    from mechpaint.analyses.induction.findings import Findings

ANSWER = "layers"
"""The figure that answers the question."""
_LAYERS = "Accuracy without each layer and with each layer run twice, compared with the full model."
_MOST_LAYERS_IN_WORDS = 20
_MOST_CHARACTERS = 12
_MOST_TOKENS = 32
"""More names of tokens on an axis could not be read."""
_DASHED = "Dashed line: the full model. Bars and band: 95 % bootstrap intervals over sequences."


def heads_figure(findings: Findings) -> Figure:
    """Draw the scores of all heads, layers by heads."""
    drawing, drawn = axes(11.0, columns=4, height=1.4 + 0.28 * findings.n_layers)
    for ax, name in zip(drawn, SCORES, strict=True):
        values = findings.head_grid(name)
        layers, heads = ([str(i) for i in range(n)] for n in values.shape)
        heatmap(drawing, ax, values, layers, heads, -1.0 if name == "copying" else 0.0, 1.0)
        ax.set_title(name.replace("_", " "), fontsize=10)
        ax.set_xlabel("head")
    drawn[0].set_ylabel("layer")
    caption = (
        "Previous token and prefix matching: the attention to the token before, and to the token that followed an "
        "earlier occurrence, on random tokens that repeat once. Copying is a property of the weights: 1 if attending "
        "to a token always raises its logit."
    )
    alt = "Four heatmaps, layers by heads: previous-token, prefix-matching, duplicate-token and copying scores."
    return Figure("heads", "Scores of every head", caption, alt, drawing)


def circuit_figure(findings: Findings) -> Figure:
    """Draw the two heads that copy from context."""
    diagram = induction_diagram(findings.scores())
    caption = (
        "Copying a token from context. At b, the previous-token head writes that a came before; when a recurs, the "
        "induction head matches that and attends to b. Line width shows attention on repeated random tokens. Paper: "
        "figure 1 of “Birth of a Transformer” (arXiv 2306.00802)."
    )
    return Figure("circuit", "The induction head", caption, diagram.alt, diagram)


def patterns_figure(findings: Findings) -> Figure:
    """Draw figure 2: attention on one sequence."""
    patterns, tokens = findings.patterns(), findings.tokens[:_MOST_TOKENS]
    drawing, drawn = panels(len(patterns), 2, 5.6 * min(2, len(patterns)), 5.4)
    for ax, (name, pattern) in zip(drawn, patterns.items(), strict=True):
        _pattern(ax, pattern[: len(tokens), : len(tokens)], tokens)
        ax.set_title(name, fontsize=10)
    first = (
        f" Shown are the first {len(tokens)} of {len(findings.tokens)} tokens."
        if findings.tokens[_MOST_TOKENS:]
        else ""
    )
    caption = (
        f"Rows attend to columns; the deeper the blue, the stronger. {findings.looking()}{first} Paper: figure 2 of "
        "“Birth of a Transformer” (arXiv 2306.00802)."
    )
    alt = f"Attention heatmaps of {', '.join(patterns)} on one sequence of {len(findings.tokens)} tokens."
    return Figure("figure-2", "Attention on one sequence", caption, alt, drawing)


def _pattern(ax: Any, pattern: Float[np.ndarray, "query key"], tokens: list[str]) -> None:
    ax.grid(False)
    ax.imshow(pattern, vmin=0, vmax=1, cmap="Blues")
    shown = [literal(visible_token(token)[:_MOST_CHARACTERS]) for token in tokens]
    ax.set_xticks(range(len(shown)), shown, fontsize=8, rotation=90, family="DejaVu Sans")
    ax.set_yticks(range(len(shown)), shown, fontsize=8, family="DejaVu Sans")


def patterns_view(findings: Findings) -> View:
    """Draw the same as an interactive view."""
    patterns = findings.patterns()
    stacked = torch.from_numpy(np.stack(list(patterns.values())))
    return attention_view(
        "attention",
        "Attention, interactive",
        "Hover over a head or click it to select it; hover over a square to see which token attends to which.",
        f"Attention patterns of {', '.join(patterns)} on one sequence, one heatmap per head.",
        findings.tokens,
        stacked,
        list(patterns),
    )


def layers_figures(findings: Findings) -> list[Figure]:
    """Draw the accuracy without each layer and with each layer run twice: on the last measure, then on the others."""
    *others, last = findings.measures
    caption = f"Accuracy on {measured(last)}, with each layer ablated (without it) or run twice. {_DASHED}"
    answer = Figure(ANSWER, "Layers that copying needs", caption, _LAYERS, _layers(findings, [last]))
    if not others:
        return [answer]
    caption = f"The same on {' and on '.join(map(measured, others))}. {_DASHED}"
    drawing = _layers(findings, others)
    return [answer, Figure("layers-others", "Layers that copying needs, other tokens", caption, _LAYERS, drawing)]


def _layers(findings: Findings, measures: Sequence[str]) -> Any:
    drawing, drawn = axes(NARROW if len(measures) == 1 else 1.6 + 4.0 * len(measures), columns=len(measures))
    layers = list(range(findings.n_layers))
    for ax, name in zip(drawn, measures, strict=True):
        full = findings.accuracy(FULL, name)
        ax.axhspan(full.low, full.high, color="#555555", alpha=0.12, linewidth=0)
        ax.axhline(full.value, color="#555555", linewidth=0.9, linestyle="--", label=FULL)
        for i, (kind, label) in enumerate(((WITHOUT, "without it"), (TWICE, "with it twice"))):
            scores, look = findings.by_layer(kind, name), style(i)
            ax.plot(list(scores), [s.value for s in scores.values()], linestyle="", label=label, **look)
            low, high = [s.low for s in scores.values()], [s.high for s in scores.values()]
            ax.vlines(list(scores), low, high, color=look["color"], linewidth=1.5)
        ax.set_xticks(layers[:: 1 + len(layers) // _MOST_LAYERS_IN_WORDS])
        ax.set_xlim(-0.5, findings.n_layers - 0.5)
        ax.set_xlabel("layer")
        ax.set_ylabel(f"accuracy, {name.removesuffix(' where y ≠ x')}")
        ax.set_ylim(-0.03, 1.03)
    shared_legend(drawing, drawn[0], 3)
    return drawing
