"""Attention patterns: interactive where a page can draw them in a moment, heatmaps beyond."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

import torch
from jaxtyping import Float, Int
from torch import Tensor

from mechpaint.circuits.heads import head_name
from mechpaint.display.figures import axes, literal, svg_of
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
    """Run a model on a text and show what its heads attend to, on every visit of the chosen layers.

    Args:
        model: The bridge.
        text: What it reads, or its token ids.
        hook_set: A hook set, a route or a text of either to run it under; by default nothing.
        layers: Which layers; by default all on the route.
        heads: Which heads of each; by default all.

    Returns:
        Interactive views, one for every eight heads, up to 64 tokens and 100,000 squares in all. Beyond that heatmaps.

    Raises:
        DrawingError: Layers or heads that are not there, nothing to show, or more heatmaps than can be told apart.
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
    """Patterns by the heads' names; where a layer is visited more than once, with the step."""
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
    """Attention patterns as heatmaps, one a head; pointing at one shows it large, with its tokens and values.

    Args:
        name: Its place in the page: letters, digits and hyphens.
        title: A heading.
        caption: What was found; shown under it.
        alt: What it shows, for those who do not see it.
        tokens: What stands at each position, at most `MOST_TOKENS`.
        patterns: The attention that each query pays to each key, both at the tokens' positions.
        head_names: What each head is called, at most `MOST_HEADS`.

    Raises:
        DrawingError: Tokens or names that are not as many as the patterns have, more than can be drawn in a moment, or
            attention that is not a number.
    """
    heads, queries, keys = patterns.shape
    if not (queries == keys == len(tokens) and heads == len(head_names)):
        raise DrawingError(
            f"the view {name!r} got {len(tokens)} tokens and {len(head_names)} head names for patterns of "
            f"{heads} heads, {queries} queries and {keys} keys; expected a name a head and a token a query and key"
        )
    if not (0 < len(tokens) <= MOST_TOKENS and 0 < heads <= MOST_HEADS):
        raise DrawingError(
            f"the view {name!r} got {heads} heads of {len(tokens)} tokens; expected 1 to {MOST_HEADS} heads and 1 to "
            f"{MOST_TOKENS} tokens: beyond that a page stands still while it draws. Choose some, or draw a heatmap"
        )
    if not patterns.isfinite().all():
        raise DrawingError(f"the view {name!r} got attention that is not a number, which would be drawn as 0")
    # float64: what is rounded as float32 is written with all its digits again
    rounded = patterns.detach().cpu().double().round(decimals=_DECIMALS)
    props = {
        "tokens": list(tokens),
        "attention": cast(Any, rounded).tolist(),
        "attentionHeadNames": list(head_names),
        "maskUpperTri": not bool(rounded.triu(1).any()),
    }
    rows = _strongest(rounded, tokens)
    return View(
        name,
        title,
        caption,
        alt,
        "AttentionHeads",
        props,
        ("token", *(f"{head} looks at" for head in head_names)),
        rows,
    )


def _strongest(patterns: Float[Tensor, "head query key"], tokens: Sequence[str]) -> list[tuple[str, ...]]:
    """For each token, what each head attends to most, and how much."""
    named = [f"{i}: {token}" for i, token in enumerate(tokens)]
    values, keys = (cast("list[list[float]]", most.T.tolist()) for most in patterns.max(dim=-1))
    return [
        (name, *(f"{named[int(key)]} ({value:.2f})" for key, value in zip(keys[query], values[query], strict=True)))
        for query, name in enumerate(named)
    ]


def attention_heatmap(patterns: Mapping[str, Float[Tensor, "query key"]]) -> Diagram:
    """Attention patterns as still pictures, of any length: a panel a head, white for 0 and dark for 1.

    Args:
        patterns: By the name of the head, at most 48.

    Raises:
        DrawingError: No pattern, too many to tell apart, or attention that is not a number.
    """
    if not 0 < len(patterns) <= MOST_PANELS:
        raise DrawingError(f"got {len(patterns)} heads to draw: expected 1 to {MOST_PANELS}; choose layers or heads")
    if not all(pattern.isfinite().all() for pattern in patterns.values()):
        raise DrawingError("got attention that is not a number, which would be drawn as 0")
    columns = min(4, len(patterns))
    drawing, panels = axes(9.0, columns, -(-len(patterns) // columns), 9.0 / columns)
    for ax in panels[len(patterns) :]:
        ax.set_axis_off()
    image: Any = None
    for ax, (name, pattern) in zip(panels, patterns.items(), strict=False):
        ax.grid(False)
        image = ax.imshow(pattern.detach().cpu().float().numpy(), vmin=0, vmax=1, cmap="Blues", interpolation="none")
        ax.set_title(literal(name), fontsize=9)
    for ax in panels[::columns]:
        ax.set_ylabel("query", fontsize=8)
    drawing.colorbar(image, ax=panels, shrink=0.6)
    svg = svg_of(drawing, "attention").decode()
    sizes = sorted({"x".join(map(str, pattern.shape)) for pattern in patterns.values()})
    return Diagram(
        svg[svg.index("<svg") :], f"Attention heatmaps, queries by keys, of {', '.join(patterns)} ({', '.join(sizes)})."
    )
