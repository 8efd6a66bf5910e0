"""Path patching to first order: what one component writes, as another one reads it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor

from mechpaint.engine.arguments import Routing, Text
from mechpaint.errors import InputError
from mechpaint.patching.attribution import Read, gradients_at
from mechpaint.patching.metrics import Metric
from mechpaint.patching.patched import PatchedPaths
from mechpaint.patching.runs import Pair, clean_run, patchable
from mechpaint.routes.steps import Visit

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge

WRITES = ("attn.hook_out", "mlp.hook_out")
READS = {"attention": "ln1.hook_in", "MLP": "ln2.hook_in"}


def path_patching(
    model: TransformerBridge, clean: Text, corrupted: Text, metric: Metric, hook_set: Routing = ""
) -> PatchedPaths:
    """Estimate what each direct path from an attention or MLP output to a later input carries, to first order.

    Edge attribution patching (Syed et al. 2023, arXiv 2310.10348; path patching: Wang et al. 2022, arXiv 2211.00593;
    Goldowsky-Dill et al. 2023, arXiv 2304.05969): the difference in what the sender writes, times the gradient with
    respect to what the receiver's norm reads, which leaves out every other reader. For models that write attention and
    MLP outputs to the residual stream as they are, each after a norm of its own input.

    Args:
        model: The bridge.
        clean: A prompt, several of one length, or token ids `[batch, position]`.
        corrupted: As many, of the same length.
        metric: From the logits at the last position, `[batch, vocab]`, to a number.
        hook_set: What both runs go under: a route of single layers, or hook sets that reroute and change activations.

    Returns:
        The estimated change of the metric for each path.

    Raises:
        InputError: Prompts of different length, a route with groups, or a model whose components do not write to the
            residual stream as they are.
        HookSetError: A hook set that reads or hooks.
    """
    pair, base = Pair.of(model, clean, corrupted), patchable(hook_set)
    route = base.route(len(model.blocks))
    if any(len(step.layers) > 1 for step in route.steps):
        raise InputError(f"the route {route} has groups, whose members do not write to one residual stream")
    _check_writes(model, pair.corrupted)
    source, cleanly = clean_run(model, pair.clean, metric, base, WRITES)
    points = [*WRITES, *READS.values()]
    activations, gradients, broken = gradients_at(model, pair.corrupted, metric, base, points)
    visits = tuple(route.visits())
    senders = [(visit, point) for visit in visits for point in WRITES]
    receivers = [(visit, point) for visit in visits for point in READS.values()]
    written = torch.stack([source[point, visit] - activations[point, visit] for visit, point in senders])
    values = torch.einsum("sbpd,rbpd->sr", written, torch.stack([gradients[p, v] for v, p in receivers]))
    total = torch.stack([(written[i] * gradients[p, v]).sum() for i, (v, p) in enumerate(senders)])
    values = torch.where(_comes_after(senders, receivers), values, torch.nan)
    directly = total - values.nan_to_num().sum(1)  # what no later component reads goes to the logits
    return PatchedPaths(
        torch.cat([values, directly[:, None]], dim=1).cpu(),
        route,
        tuple(f"{v.layer}@{v.step} {'attention' if p == WRITES[0] else 'MLP'}" for v, p in senders),
        (*(f"{v.layer}@{v.step} {_reader(p)}" for v, p in receivers), "logits"),
        cleanly,
        broken,
    )


def _reader(point: str) -> str:
    return next(name for name, reads in READS.items() if reads == point)


def _comes_after(senders: list[tuple[Visit, str]], receivers: list[tuple[Visit, str]]) -> Tensor:
    """Whether each receiver reads what each sender has written; attention writes before its own block's MLP reads."""
    before = [(v.step, WRITES.index(p)) for v, p in senders]
    after = [(v.step, [*READS.values()].index(p)) for v, p in receivers]
    return torch.tensor([[(s[0], s[1] + 1) <= (r[0], r[1]) for r in after] for s in before])


@torch.no_grad()
def _check_writes(model: TransformerBridge, tokens: Tensor) -> None:
    """Refuse a model in which attention and MLP outputs do not add up to what a layer adds, one after the other."""
    names = ["blocks.0.hook_in", "blocks.0.hook_out", *(f"blocks.0.{point}" for point in (*WRITES, *READS.values()))]
    if any(name not in model.hook_dict for name in names):
        raise InputError(f"{type(model.original_model).__name__} has no {names[-1]}: paths cannot be told apart")
    _, cache = model.run_with_cache(tokens, names_filter=names)
    read: Read = {(name, Visit(0, 0)): cache[name] for name in names}
    at = {name.removeprefix("blocks.0."): value for (name, _), value in read.items()}
    middle = at["hook_in"] + at[WRITES[0]]
    if not (_close(at["ln2.hook_in"], middle) and _close(at["hook_out"], middle + at[WRITES[1]])):
        raise InputError(
            f"in {type(model.original_model).__name__} attention and MLP do not write to the residual stream as they "
            "are, one after the other (parallel, or normed once more): paths to first order are not exact there"
        )


def _close(found: Float[Tensor, "*shape"], expected: Float[Tensor, "*shape"]) -> bool:
    return bool(torch.allclose(found, expected, rtol=1e-3, atol=1e-4 * float(expected.abs().max())))
