"""Edits as hooks: where they apply on a route, checked before anything runs; only where a hook point has an effect."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from transformer_lens.hook_points import HookPoint

from mechpaint.engine.layer_inputs import LayerInputs
from mechpaint.engine.route_runner import RouteRunner
from mechpaint.errors import HookSetError
from mechpaint.routes.edits import Edit, Given, Moment
from mechpaint.routes.readings import HookFunction, NamedHook
from mechpaint.routes.route import Route
from mechpaint.routes.steps import Visit

_EFFECTIVE: WeakKeyDictionary[nn.Module, dict[tuple[int, str], bool]] = WeakKeyDictionary()
"""Whether what a hook returns at a point of a layer changes the layer's output: seen once, on a few tokens."""


class Editing:
    """The edits of one hook set on one route of one model.

    Args:
        runner: Runs the model.
        route: The route that it will run.
        edits: What is changed, and at which visits.

    Raises:
        HookSetError: A visit that the route does not make, or a hook point that a layer does not have or does not use.
    """

    def __init__(self, runner: RouteRunner, route: Route, edits: Iterable[Edit]) -> None:
        self._runner = runner
        self._route = route
        self.visits: Mapping[Edit, tuple[Visit, ...]] = {edit: edit.visits.of(route) for edit in edits}
        for edit, visits in self.visits.items():
            check_effective(runner, edit.point, {visit.layer for visit in visits})
        self._given: Given | None = None
        self._incoming: Tensor | None = None

    def check(self, layer_inputs: LayerInputs) -> None:
        """Refuse edits that do not fit the forward pass that is about to run."""
        if not self.visits:
            return
        self._given = given = self._runner.given(self._route, layer_inputs)
        for edit, visits in self.visits.items():
            edit.change.check(edit.point, visits, given)

    def hooks(self, edit: Edit) -> list[NamedHook]:
        """The hooks of one edit."""
        visits = frozenset(self.visits[edit])
        call = self._hook(edit, visits)
        return [(f"blocks.{layer}.{edit.point}", call) for layer in sorted({visit.layer for visit in visits})]

    def last_hooks(self) -> list[NamedHook]:
        """Hooks to install after all others: they note what a layer reads, for edits that need it."""
        needing = [visits for edit, visits in self.visits.items() if edit.change.needs_incoming]

        def note(tensor: Tensor, hook: HookPoint) -> None:
            if self._runner.in_its_thread():
                self._incoming = tensor

        return [(f"blocks.{layer}.hook_in", note) for layer in sorted({v.layer for own in needing for v in own})]

    def _hook(self, edit: Edit, visits: frozenset[Visit]) -> HookFunction:
        def change(tensor: Tensor, hook: HookPoint) -> Tensor | None:
            visit = self._runner.visit
            if visit not in visits or self._given is None or not self._runner.in_its_thread():
                return None
            return edit.change.apply(tensor, Moment(edit.point, visit, self._given, self._incoming))

        return change


def check_effective(runner: RouteRunner, point: str, layers: Iterable[int]) -> None:
    """Refuse a hook point whose changes would be lost.

    Raises:
        HookSetError: A layer does not have it, or runs without using what passes it.
    """
    known = _EFFECTIVE.setdefault(runner.model.original_model, {})
    for layer in sorted(layers):
        name = f"blocks.{layer}.{point}"
        if name not in runner.model.hook_dict:
            raise HookSetError(unknown_name(runner, name))
        if (layer, point) not in known:
            known[layer, point] = _is_effective(runner, layer, name)
        if not known[layer, point]:
            raise HookSetError(
                f"a change at {name!r} would be lost: in this {type(runner.model.original_model).__name__} that point "
                "shows an activation, and the layer does not use what a hook returns. Change another point, such as "
                f"'blocks.{layer}.hook_out'"
            )


def unknown_name(runner: RouteRunner, name: str) -> str:
    """An error message for a hook name that the model does not have, with the names nearest to it."""
    import difflib

    near = difflib.get_close_matches(name, list(runner.model.hook_dict), n=3, cutoff=0.4)
    return f"this model has no hook point {name!r}; the nearest are {', '.join(near) or 'none'}"


@torch.no_grad()
def _is_effective(runner: RouteRunner, layer: int, name: str) -> bool:
    """Run a layer on a few tokens with and without noise at a hook point."""
    tokens = torch.arange(6, device=runner.model.cfg.device).reshape(2, 3) % int(runner.model.cfg.d_vocab)
    layer_inputs = runner.record(tokens)

    def noise(tensor: Tensor, hook: HookPoint) -> Tensor:
        drawn = torch.randn(tensor.shape, generator=torch.Generator().manual_seed(0))
        return tensor + drawn.to(tensor)

    def output() -> Tensor:
        return runner.call(layer, layer_inputs.embeddings, layer_inputs.layers[layer])

    plain = output()
    with runner.model.hooks(fwd_hooks=[(name, noise)]):
        return not torch.equal(plain, output())
