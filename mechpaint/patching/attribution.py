"""Attribution patching: activation patching to first order, from two forward passes and one backward."""

from __future__ import annotations

from typing import TYPE_CHECKING, get_args

import torch
from torch import Tensor
from transformer_lens.hook_points import HookPoint

from mechpaint.display.sanitize import short
from mechpaint.engine.arguments import Routing, Text
from mechpaint.engine.attach import attach
from mechpaint.errors import InputError
from mechpaint.hooks import Hooks
from mechpaint.models.token_text import token_texts
from mechpaint.patching.activation import STREAM, Over
from mechpaint.patching.metrics import Metric
from mechpaint.patching.patched import Patched
from mechpaint.patching.runs import Pair, clean_run, patchable
from mechpaint.routes.edits import BY_HEAD
from mechpaint.routes.hookset import HookSet
from mechpaint.routes.readings import VisitHook
from mechpaint.routes.steps import Visit
from mechpaint.routes.visits import Selection, Visits

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge


def attribution_patching(
    model: TransformerBridge,
    clean: Text,
    corrupted: Text,
    metric: Metric,
    hook_set: Routing = "",
    *,
    over: Over = "head and position",
    point: str | None = None,
    visits: Selection = None,
) -> Patched:
    """Estimate activation patching: clean less corrupted activation, times the gradient of the corrupted run.

    Nanda 2023, "Attribution Patching"; Syed et al. 2023, arXiv 2310.10348. Exact where the metric is linear in the
    activation; it can be far off elsewhere, above all for the residual stream of early layers.

    Args:
        model: The bridge.
        clean: A prompt, several of one length, or token ids `[batch, position]`.
        corrupted: As many, of the same length.
        metric: From the logits at the last position, `[batch, vocab]`, to a number.
        hook_set: What both runs go under: a route, or hook sets that reroute and change activations.
        over: As for `activation_patching`: the estimates are summed over positions or not.
        point: The hook point inside blocks: by default `"hook_in"`, or for heads `"attn.hook_z"`.
        visits: Which visits; None for all on the route.

    Returns:
        The estimated metric for each place.

    Raises:
        InputError: Prompts of different length, or `over` is not known.
        HookSetError: A hook set that reads or hooks, or visits that do not exist.
        CannotReroute: This model's layers cannot be rerouted.
    """
    if over not in get_args(Over):
        raise InputError(f"expected over one of {', '.join(map(repr, get_args(Over)))}, got {short(over)}")
    pair, base = Pair.of(model, clean, corrupted), patchable(hook_set)
    where = BY_HEAD if over.startswith("head") else point or STREAM
    source, cleanly = clean_run(model, pair.clean, metric, base, [where])
    activations, gradients, broken = gradients_at(model, pair.corrupted, metric, base, [where])
    route = base.route(len(model.blocks))
    chosen = Visits.read(visits).of(route)
    each = [(source[where, v] - activations[where, v]) * gradients[where, v] for v in chosen]
    effects = torch.stack([one.sum((0, -1)).cpu() for one in each])  # [visit, position] or [visit, position, head]
    names, labels = ["visit"], list[tuple[str, ...]]()
    if over.startswith("head"):
        effects = effects.transpose(1, 2)
        names.append("head")
        labels.append(tuple(map(str, range(effects.shape[1]))))
    if "position" in over:
        names.append("position")
        labels.append(tuple(f"{i} {text}" for i, text in enumerate(token_texts(model, pair.corrupted[0]))))
    else:
        effects = effects.sum(-1)
    what = f"{where} by {over}, to first order"
    return Patched(broken + effects, route, chosen, tuple(names), tuple(labels), cleanly, broken, what)


Read = dict[tuple[str, Visit], Tensor]


def gradients_at(
    model: TransformerBridge, tokens: Tensor, metric: Metric, hook_set: HookSet, points: list[str]
) -> tuple[Read, Read, float]:
    """Activations at some hook points of every visit, the metric's gradients with respect to them, and the metric."""
    activations: Read = {}

    def keep(point: str) -> VisitHook:
        def hook(tensor: Tensor, at: HookPoint, visit: Visit) -> Tensor:
            branch = tensor.clone()  # of its own: its gradient is that of what reads this hook point alone
            if not branch.requires_grad:
                branch.requires_grad_()
            activations[point, visit] = branch
            return branch

        return hook

    layers = sorted({visit.layer for visit in hook_set.route(len(model.blocks)).visits()})
    hooks = Hooks([(f"blocks.{layer}.{point}", keep(point)) for point in points for layer in layers])
    with torch.enable_grad(), attach(model, hook_set + hooks):
        value = metric(model(tokens)[:, -1])
        gradients = torch.autograd.grad(value, [*activations.values()], allow_unused=True, materialize_grads=True)
    read = {key: activation.detach() for key, activation in activations.items()}
    return read, dict(zip(activations, gradients, strict=True)), float(value.detach())
