"""A route by hook points alone: the slow way that every TransformerLens user knows, and a check on the runner.

All layers run in the model's own order. A skipped layer hands its incoming residual on; the members of a group are
each fed the group's input, and the last one hands on the merged output.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, cast

from mechpaint.errors import HookSetError
from mechpaint.routes.edits import Edit
from mechpaint.routes.merge import GroupMerge
from mechpaint.routes.readings import AFTER_STEP, Hook, HookFunction, NamedHook, Reading, Store, takes_visit
from mechpaint.routes.route import Route
from mechpaint.routes.steps import Step, Visit

if TYPE_CHECKING:
    from torch import Tensor
    from transformer_lens.hook_points import HookPoint


def fwd_hooks(route: Route, actions: Iterable[Reading | Hook | Edit], store: Store | None) -> list[NamedHook]:
    """See `HookSet.fwd_hooks`; `actions` are what hook sets read and hook, in the order of their sum."""
    _check_order(route)
    own = [hook for action in actions for hook in _own(action, route, store)]
    # What a layer wrote is read before a group's last member hands on the merged output in its place; what a layer
    # was handed is read after it was fed.
    return [*_among(own, entrances=False), *_reroute(route), *_among(own, entrances=True)]


def _own(action: Reading | Hook | Edit, route: Route, store: Store | None) -> list[NamedHook]:
    if isinstance(action, Reading):
        return _read(action, route, store)
    if isinstance(action, Edit) or takes_visit(action.call):
        raise HookSetError(
            "a plain list of hooks does not know of visits, and this hook set changes activations by visit: use "
            "mechpaint.attach(model, hook_set)"
        )
    return [(action.where, cast(HookFunction, action.call))]


def _is_entrance(name: str) -> bool:
    return name.startswith("blocks.") and name.endswith((".hook_in", ".hook_resid_pre")) and name.count(".") == 2


def _among(hooks: Sequence[NamedHook], entrances: bool) -> Iterator[NamedHook]:
    """The hooks on what enters layers, or those on anything else."""
    for where, call in hooks:
        if not isinstance(where, str):
            yield lambda name, where=where: where(name) and _is_entrance(name) == entrances, call
        elif _is_entrance(where) == entrances:
            yield where, call


def _check_order(route: Route) -> None:
    order = [visit.layer for visit in route.visits()]
    for before, after in pairwise(order):
        if after <= before:
            where = "again" if after in order[: order.index(before) + 1] else "elsewhere"
            raise HookSetError(
                f"on the route {route} layer {after} runs {where} after layer {before}; hook points alone cannot do "
                "that: use mechpaint.attach(model, hook_set)"
            )


def _reroute(route: Route) -> list[NamedHook]:
    visited = {visit.layer for visit in route.visits()}
    skipped = [layer for layer in range(route.n_layers) if layer not in visited]
    groups = [step for step in route.steps if len(step.layers) > 1]
    return [hook for layer in skipped for hook in _skip(layer)] + [h for step in groups for h in _group(step)]


def _skip(layer: int) -> list[NamedHook]:
    incoming: list[Tensor] = []

    def keep(tensor: Tensor, hook: HookPoint) -> None:
        incoming[:] = [tensor]

    def hand_on(tensor: Tensor, hook: HookPoint) -> Tensor:
        return incoming.pop()

    return [(f"blocks.{layer}.hook_in", keep), (f"blocks.{layer}.hook_out", hand_on)]


def _group(step: Step) -> list[NamedHook]:
    mergers: list[GroupMerge] = []

    def feed(tensor: Tensor, hook: HookPoint, first: bool) -> Tensor:
        if first:
            mergers[:] = [GroupMerge(step, tensor)]
        return mergers[0].incoming

    def collect(tensor: Tensor, hook: HookPoint, last: bool) -> Tensor | None:
        mergers[0].add(tensor)
        return mergers.pop().merged() if last else None

    hooks: list[NamedHook] = []
    for layer in step.layers:
        first, last = layer == step.layers[0], layer == step.layers[-1]
        hooks.append((f"blocks.{layer}.hook_in", lambda t, hook, first=first: feed(t, hook, first)))
        hooks.append((f"blocks.{layer}.hook_out", lambda t, hook, last=last: collect(t, hook, last)))
    return hooks


def _read(reading: Reading, route: Route, store: Store | None) -> list[NamedHook]:
    if store is None:
        raise HookSetError("this hook set reads: pass fwd_hooks(model, store={}) to receive what it reads")
    if reading.point == AFTER_STEP:
        raise HookSetError("hook points alone cannot read the residual stream after each step: use mechpaint.attach")
    return [(f"blocks.{visit.layer}.{reading.point}", _keep(store, reading, visit)) for visit in reading.visits(route)]


def _keep(store: Store, reading: Reading, visit: Visit) -> HookFunction:
    def keep(tensor: Tensor, hook: HookPoint) -> None:
        kept = tensor.detach().clone() if reading.of is None else reading.of(tensor.detach())
        store.setdefault(reading.key, {})[visit] = kept

    return keep
