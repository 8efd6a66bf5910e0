"""Attention patterns: interactive if small enough to draw quickly, heatmaps otherwise."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

import torch
from jaxtyping import Float, Int
from torch import Tensor

from mechpaint.circuits.heads import head_name
from mechpaint.display.figures import literal, panels, svg_of
from mechpaint.display.svg import Diagram
from mechpaint.display.views import View, Views
from mechpaint.engine.arguments import Routing, as_hook_set
from mechpaint.engine.attach import attach
from mechpaint.errors import DrawingError
from mechpaint.models.token_text import one_row, token_texts
from mechpaint.routes.hookset import ATTENTION, Patterns
from mechpaint.routes.steps import Visit

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge

MOST_TOKENS = 64
MOST_HEADS = 8
MOST_SQUARES = 100_000
MOST_PANELS = 48
_DECIMALS = 4


def attention(
    model: TransformerBridge,
    text: str | Int[Tensor, "position"] | Int[Tensor, "1 position"],
    hook_set: Routing | None = None,
    layers: Sequence[int] | None = None,
    heads: Sequence[int] | None = None,
) -> Views | Diagram:
    """Run a model on a text and show the attention of its heads, on every visit of the chosen layers.

    Args:
        model: The bridge.
        text: A text, or its token ids.
        hook_set: A hook set or route, or the text of either, to run the model under; None for neither.
        layers: The layers to show; None for all on the route.
        heads: The heads to show of each layer; None for all.

    Returns:
        Interactive views, one per eight heads, for up to 64 tokens and 100,000 cells in total; otherwise heatmaps.

    Raises:
        DrawingError: Unknown layers or heads, nothing to show, or too many heatmaps.
        HookSetError: As for `attach`.
    """
    tokens = one_row(model, text)
    with torch.no_grad(), attach(model, as_hook_set(hook_set or "") + Patterns()) as session:
        model(tokens, return_type=None)
    chosen = _chosen(session[ATTENTION], layers, heads)
    texts = token_texts(model, tokens[0])
    if len(texts) > MOST_TOKENS or len(chosen) * len(texts) ** 2 > MOST_SQUARES:
        return attention_heatmap(chosen)
    made: list[View] = []
    every = list(chosen)
    for names in (every[i : i + MOST_HEADS] for i in range(0, len(every), MOST_HEADS)):
        stacked = torch.stack([chosen[name] for name in names])
        span = names[0] if len(names) == 1 else f"{names[0]} to {names[-1]}"
        alt = f"Attention patterns of {', '.join(names)} on {len(texts)} tokens, one heatmap a head."
        made.append(attention_view(f"heads-{len(made)}", span, "", alt, texts, stacked, names))
    return Views(tuple(made))


def _chosen(
    read: Mapping[Visit, Float[Tensor, "1 head query key"]], layers: Sequence[int] | None, heads: Sequence[int] | None
) -> dict[str, Float[Tensor, "query key"]]:
    """Select patterns by head name, with the step where a layer is visited more than once."""
    visited = [visit.layer for visit in read]
    for layer in layers or ():
        if layer not in visited:
            raise DrawingError(f"layer {layer} is not on the route: expected some of {sorted(set(visited))}")
    chosen: dict[str, Float[Tensor, "query key"]] = {}
    for visit, patterns in read.items():
        if layers is not None and visit.layer not in layers:
            continue
        again = f" at step {visit.step}" if visited.count(visit.layer) > 1 else ""
        for head in range(patterns.shape[1]) if heads is None else heads:
            if not 0 <= head < patterns.shape[1]:
                raise DrawingError(f"there is no head {head}: expected 0 to {patterns.shape[1] - 1}")
            chosen[f"{head_name(visit.layer, head)}{again}"] = patterns[0, head]
    if not chosen:
        raise DrawingError("there is nothing to show: expected at least one layer and one head")
    return chosen


def attention_view(
    name: str,
    title: str,
    caption: str,
    alt: str,
    tokens: Sequence[str],
    patterns: Float[Tensor, "head query key"],
    head_names: Sequence[str],
) -> View:
    """Make an interactive view of attention patterns; hovering over a head enlarges it, with tokens and values.

    Args:
        name: Anchor in the page: letters, digits and hyphens.
        title: Heading.
        caption: The finding, shown below the view.
        alt: Text alternative for readers who do not see it.
        tokens: The token at each position, at most `MOST_TOKENS`.
        patterns: `[head, query, key]`: attention of each query to each key, both at the tokens' positions.
        head_names: Names of the heads, at most `MOST_HEADS`.

    Returns:
        The view.

    Raises:
        DrawingError: Numbers of tokens or names that do not match the patterns, too many to draw, or attention that is
            NaN.
    """
    heads, queries, keys = patterns.shape
    if not (queries == keys == len(tokens) and heads == len(head_names)):
        raise DrawingError(
            f"the view {name!r} got {len(tokens)} tokens and {len(head_names)} head names for patterns of "
            f"{heads} heads, {queries} queries and {keys} keys; expected a name per head and a token per query and key"
        )
    if not (0 < len(tokens) <= MOST_TOKENS and 0 < heads <= MOST_HEADS):
        raise DrawingError(
            f"the view {name!r} got {heads} heads of {len(tokens)} tokens; expected 1 to {MOST_HEADS} heads and 1 to "
            f"{MOST_TOKENS} tokens: more would freeze the page. Choose fewer, or draw a heatmap"
        )
    if not patterns.isfinite().all():
        raise DrawingError(f"the view {name!r} got attention that is not a number, which would be drawn as 0")
    # rounded float32 would be written with all its digits
    rounded = patterns.detach().cpu().double().round(decimals=_DECIMALS)
    props = {
        "tokens": list(tokens),
        "attention": cast(Any, rounded).tolist(),
        "attentionHeadNames": list(head_names),
        "maskUpperTri": not bool(rounded.triu(1).any()),
    }
    columns = ("token", *(f"{head} attends to" for head in head_names))
    return View(name, title, caption, alt, "AttentionHeads", props, columns, _strongest(rounded, tokens))


def _strongest(patterns: Float[Tensor, "head query key"], tokens: Sequence[str]) -> list[tuple[str, ...]]:
    """Tabulate the token that each head attends to most, and how much."""
    named = [f"{i}: {token}" for i, token in enumerate(tokens)]
    values, keys = (cast("list[list[float]]", most.T.tolist()) for most in patterns.max(dim=-1))
    return [
        (name, *(f"{named[int(key)]} ({value:.2f})" for key, value in zip(keys[query], values[query], strict=True)))
        for query, name in enumerate(named)
    ]


def attention_heatmap(patterns: Mapping[str, Float[Tensor, "query key"]]) -> Diagram:
    """Draw attention patterns of any length as static heatmaps, white for 0 and dark for 1.

    Args:
        patterns: Patterns, `[query, key]`, by head name; at most 48.

    Returns:
        The diagram, one panel per head.

    Raises:
        DrawingError: No pattern, too many patterns, or attention that is NaN.
    """
    if not 0 < len(patterns) <= MOST_PANELS:
        raise DrawingError(f"got {len(patterns)} heads to draw: expected 1 to {MOST_PANELS}; choose layers or heads")
    if not all(pattern.isfinite().all() for pattern in patterns.values()):
        raise DrawingError("got attention that is not a number, which would be drawn as 0")
    columns = min(4, len(patterns))
    drawing, drawn = panels(len(patterns), columns, 9.0, 9.0 / columns)
    image: Any = None
    for ax, (name, pattern) in zip(drawn, patterns.items(), strict=True):
        ax.grid(False)
        image = ax.imshow(pattern.detach().cpu().float().numpy(), vmin=0, vmax=1, cmap="Blues", interpolation="none")
        ax.set_title(literal(name), fontsize=9)
    for ax in drawn[::columns]:
        ax.set_ylabel("query", fontsize=8)
    drawing.colorbar(image, ax=drawn, shrink=0.6)
    svg = svg_of(drawing, "attention").decode()
    sizes = sorted({"x".join(map(str, pattern.shape)) for pattern in patterns.values()})
    return Diagram(
        svg[svg.index("<svg") :], f"Attention heatmaps, queries by keys, of {', '.join(patterns)} ({', '.join(sizes)})."
    )
