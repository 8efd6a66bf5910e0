"""The figures of `induction`: every head's scores, where the best attend, and what each layer is needed for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Float

from mechpaint.analyses.induction.labels import FULL, TWICE, WITHOUT
from mechpaint.analyses.induction.measures import SCORES
from mechpaint.circuits import attention_view, induction_diagram
from mechpaint.display.figures import axes, heatmap, literal, shared_legend, style
from mechpaint.display.views import View
from mechpaint.models.token_text import visible_token
from mechpaint.report import Figure

if TYPE_CHECKING:
    from mechpaint.analyses.induction.findings import Findings

_MOST_LAYERS_IN_WORDS = 30
_MOST_CHARACTERS = 12
_DASHED = "Dashed: the whole model. Bars and the band: 95 % bootstrap intervals over sequences."


def heads_figure(found: Findings) -> Figure:
    """The scores of all heads: a row a layer, a column a head."""
    drawing, panels = axes(11.0, columns=4, height=1.4 + 0.28 * found.n_layers)
    for ax, name in zip(panels, SCORES, strict=True):
        values = found.head_grid(name)
        layers, heads = ([str(i) for i in range(n)] for n in values.shape)
        heatmap(drawing, ax, values, layers, heads, -1.0 if name == "copying" else 0.0, 1.0)
        ax.set_title(name.replace("_", " "), fontsize=10)
        ax.set_xlabel("head")
    panels[0].set_ylabel("layer")
    caption = (
        f"{found.best('prefix_matching')} attends most to what came after the same token before (prefix matching), "
        f"{found.best('previous_token')} most to the token before. Copying is a property of the weights: 1 if "
        "attending to a token always raises its logit. On random tokens that repeat once."
    )
    alt = "Four heatmaps, layers by heads: previous-token, prefix-matching, duplicate-token and copying scores."
    return Figure("heads", "What every head does", caption, alt, drawing)


def circuit_figure(found: Findings) -> Figure:
    """The two heads that copy from context, and how strongly."""
    diagram = induction_diagram(found.scores())
    caption = (
        "How a token is copied from context. The previous-token head leaves at b that a stood before it; the induction "
        "head, where a comes again, finds that and attends to b. Lines are as thick as the attention is strong, on "
        "random tokens that repeat. Paper: figure 1 of “Birth of a Transformer” (arXiv 2306.00802)."
    )
    return Figure("circuit", "The induction head", caption, diagram.alt, diagram)


def patterns_figure(found: Findings) -> Figure:
    """Figure 2: attention maps on one sequence."""
    patterns = found.patterns()
    columns = min(2, len(patterns))
    rows = -(-len(patterns) // columns)
    drawing, panels = axes(5.6 * columns, columns=columns, rows=rows, height=5.2)
    for ax in panels[len(patterns) :]:
        ax.set_axis_off()
    for ax, (name, pattern) in zip(panels, patterns.items(), strict=False):
        _pattern(ax, pattern, found.tokens)
        ax.set_title(name, fontsize=10)
    caption = (
        f"Rows attend to columns; darker is more. {found.looking()} Paper: figure 2 of “Birth of a Transformer” "
        "(arXiv 2306.00802)."
    )
    alt = f"Attention heatmaps of {', '.join(patterns)} on one sequence of {len(found.tokens)} tokens."
    return Figure("figure-2", "Figure 2: attention on one sequence", caption, alt, drawing)


def _pattern(ax: Any, pattern: Float[np.ndarray, "query key"], tokens: list[str]) -> None:
    ax.grid(False)
    ax.imshow(pattern, vmin=0, vmax=1, cmap="Blues")
    shown = [literal(visible_token(token)[:_MOST_CHARACTERS]) for token in tokens]
    ax.set_xticks(range(len(shown)), shown, fontsize=6, rotation=90, family="DejaVu Sans")
    ax.set_yticks(range(len(shown)), shown, fontsize=6, family="DejaVu Sans")


def patterns_view(found: Findings) -> View:
    """The same, to be explored."""
    patterns = found.patterns()
    stacked = torch.from_numpy(np.stack(list(patterns.values())))
    return attention_view(
        "attention",
        "Attention, to be explored",
        f"{found.best('prefix_matching')} is the strongest induction head, {found.best('previous_token')} the "
        "strongest previous-token head. Choose one by pointing at it or clicking; point at a square to see which token "
        "attends to which.",
        f"Attention patterns of {', '.join(patterns)} on one sequence, one heatmap a head.",
        found.tokens,
        stacked,
        list(patterns),
    )


def layers_figure(found: Findings) -> Figure:
    """The score without each layer and with each twice."""
    drawing, panels = axes(1.6 + 4.0 * len(found.measures), columns=len(found.measures))
    layers = list(range(found.n_layers))
    for ax, name in zip(panels, found.measures, strict=True):
        full = found.accuracy(FULL, name)
        ax.axhspan(full.low, full.high, color="#555555", alpha=0.12, linewidth=0)
        ax.axhline(full.value, color="#555555", linewidth=0.9, linestyle="--", label=FULL)
        for i, (kind, label) in enumerate(((WITHOUT, "without it"), (TWICE, "with it twice"))):
            scores, look = found.by_layer(kind, name), style(i)
            ax.plot(list(scores), [s.value for s in scores.values()], linestyle="", label=label, **look)
            low, high = [s.low for s in scores.values()], [s.high for s in scores.values()]
            ax.vlines(list(scores), low, high, color=look["color"], linewidth=1.5)
        ax.set_xticks(layers[:: 1 + len(layers) // _MOST_LAYERS_IN_WORDS])
        ax.set_xlabel("layer")
        ax.set_ylabel(f"accuracy, {name}")
        ax.set_ylim(-0.03, 1.03)
    shared_legend(drawing, panels[0], 3)
    alt = "Accuracy without each layer and with each layer run twice, against the full model's."
    return Figure("layers", "Which layers it needs", f"{found.needing()} {_DASHED}", alt, drawing)
