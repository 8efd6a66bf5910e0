"""Activation patching: every patch in one sweep, which runs what comes before it once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Literal, TypeAlias, get_args

import torch
from torch import Tensor

from mechpaint.display.progress import ticking
from mechpaint.display.sanitize import short
from mechpaint.engine.arguments import Routing, Text, as_swept
from mechpaint.engine.sweep import Sweep
from mechpaint.errors import InputError
from mechpaint.hooks import Patch
from mechpaint.models.token_text import token_texts
from mechpaint.patching.metrics import Metric
from mechpaint.patching.patched import Patched
from mechpaint.patching.runs import Pair, clean_run, patchable
from mechpaint.routes.edits import BY_HEAD
from mechpaint.routes.hookset import HookSet
from mechpaint.routes.steps import Visit
from mechpaint.routes.visit_cache import VisitCache
from mechpaint.routes.visits import Selection, Visits

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge

Over: TypeAlias = Literal["visit", "position", "head", "head and position"]
"""What is patched one by one: whole visits, each position, each head, or each head at each position."""
STREAM = "hook_in"
"""The residual stream that a layer reads."""


def activation_patching(
    model: TransformerBridge,
    clean: Text,
    corrupted: Text,
    metric: Metric,
    hook_set: Routing = "",
    *,
    over: Over = "position",
    point: str | None = None,
    visits: Selection = None,
    positions: Sequence[int] | None = None,
    advance: Callable[[int], None] | None = None,
) -> Patched:
    """Run the corrupted prompt with one activation of the clean one at a time.

    Causal tracing (Vig et al. 2020, arXiv 2004.12265; Meng et al. 2022, arXiv 2202.05262), on any route. In one sweep:
    layers before a patch run once for all, and patches of a layer are rows of one call.

    Args:
        model: The bridge.
        clean: A prompt, several of one length, or token ids `[batch, position]`.
        corrupted: As many, of the same length.
        metric: From the logits at the last position, `[batch, vocab]`, to a number; see `logit_difference`.
        hook_set: What both runs go under: a route, or hook sets that reroute and change activations.
        over: `"position"`: at each visit and position; `"head"`: what each head has gathered, at all positions;
            `"head and position"`; `"visit"`: at all positions.
        point: The hook point inside blocks: by default `"hook_in"`, the residual stream that a layer reads, or for
            heads `"attn.hook_z"`.
        visits: Which visits; None for all on the route.
        positions: Which positions to patch; negative ones count from the last; None for all.
        advance: Called with how many more layer calls were made; None for a progress bar.

    Returns:
        The metric for each place.

    Raises:
        InputError: Prompts of different length, positions that do not exist, or `over` is not known.
        HookSetError: A hook set that reads or hooks, visits that do not exist, or a hook point without effect.
        CannotReroute: This model's layers cannot be rerouted.
    """
    if over not in get_args(Over):
        raise InputError(f"expected over one of {', '.join(map(repr, get_args(Over)))}, got {short(over)}")
    pair, base = Pair.of(model, clean, corrupted), patchable(hook_set)
    heads = range(int(model.cfg.n_heads)) if over.startswith("head") else None
    where = point or STREAM if heads is None else BY_HEAD
    source, cleanly = clean_run(model, pair.clean, metric, base, [where])
    _, broken = clean_run(model, pair.corrupted, metric, base, [])
    route = base.route(len(model.blocks))
    chosen = Visits.read(visits).of(route)
    places = _positions(positions, pair.clean.shape[1])
    patches = _Patches(base, source, where, places, over)
    each = [patch for visit in chosen for patch in patches.at(visit, heads)]
    values = _swept(model, pair.corrupted, each, metric, advance)
    labels: dict[str, tuple[str, ...]] = {"head": tuple(map(str, heads))} if heads is not None else {}
    if "position" in over:
        texts = token_texts(model, pair.corrupted[0])
        labels["position"] = tuple(f"{p} {texts[p]}" for p in places)
    values = values.reshape(len(chosen), *map(len, labels.values()))
    what, names = f"{where} patched by {over}", tuple(labels.values())
    return Patched(values, route, chosen, ("visit", *labels), names, cleanly, broken, what)


class _Patches:
    """Makes the hook set of each patch."""

    def __init__(self, base: HookSet, source: VisitCache, point: str, places: Sequence[int], over: str) -> None:
        self._base, self._source, self._point = base, source, point
        self._each: list[list[int]] = [[p] for p in places] if "position" in over else [list(places)]

    def at(self, visit: Visit, heads: Sequence[int] | None) -> list[HookSet]:
        """Those of one visit."""
        return [
            self._base
            + (
                Patch(self._source, self._point, visits=visit, positions=positions)
                if head is None
                else Patch(self._source, heads=[(visit, head)], positions=positions)
            )
            for head in (heads if heads is not None else [None])
            for positions in self._each
        ]


def _positions(given: Sequence[int] | None, length: int) -> list[int]:
    places = list(range(length)) if given is None else [p + length if p < 0 else p for p in given]
    if not places or not all(0 <= p < length for p in places):
        raise InputError(f"positions {short(given)} do not all exist: the prompts have positions 0 to {length - 1}")
    return places


def _swept(
    model: TransformerBridge,
    tokens: Tensor,
    hook_sets: Sequence[HookSet],
    metric: Metric,
    advance: Callable[[int], None] | None,
) -> Tensor:
    """The metric under each hook set."""
    routes = [as_swept(hook_set, len(model.blocks)) for hook_set in hook_sets]
    sweep = Sweep(model, tokens, routes, positions="last")
    found: dict[object, Tensor] = {}
    with ticking("patching", sweep.layer_calls, advance) as tick, torch.no_grad():
        sweep.watch = tick
        for route, logits in sweep:
            found[route] = metric(logits).detach().cpu().float()
    return torch.stack([found[route] for route in routes])
