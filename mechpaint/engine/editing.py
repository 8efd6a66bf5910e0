"""Edits as hooks: where they apply on a route, checked before anything runs; only where a hook point has an effect."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from transformer_lens.hook_points import HookPoint

from mechpaint.engine.compatibility import silenced
from mechpaint.engine.layer_inputs import LayerInputs
from mechpaint.engine.route_runner import RouteRunner
from mechpaint.errors import HookSetError
from mechpaint.routes.edits import BY_QUERY, Edit, Given, Moment, wrong_width
from mechpaint.routes.readings import HookFunction, NamedHook
from mechpaint.routes.route import Route
from mechpaint.routes.steps import Visit

_EFFECTIVE: WeakKeyDictionary[nn.Module, dict[tuple[int, str], _Seen]] = WeakKeyDictionary()
"""What passes a point of a layer, and whether it has an effect: seen once, on a few tokens."""
_ROWS, _POSITIONS = 2, 7


@dataclass(frozen=True, slots=True)
class _Seen:
    """What was seen at a hook point.

    Args:
        effective: Whether what a hook returns changes the layer's output.
        tail: The shape beyond batch and position; None if it is laid out otherwise.
    """

    effective: bool
    tail: tuple[int, ...] | None


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
    for layer in sorted(layers):
        seen = _look(runner, layer, point)
        runner.tails[layer, point] = seen.tail
        if not seen.effective:
            name = f"blocks.{layer}.{point}"
            raise HookSetError(
                f"a change at {name!r} would be lost: in this {type(runner.model.original_model).__name__} that point "
                "shows an activation, and the layer does not use what a hook returns. Change another point, such as "
                f"'blocks.{layer}.hook_out'"
            )


def check_width(runner: RouteRunner, point: str, layers: Iterable[int], width: int) -> None:
    """Refuse a hook point with another number of values at each position.

    Raises:
        HookSetError: A layer does not have it, or has another number there.
    """
    for layer in sorted(layers):
        tail = _look(runner, layer, point).tail
        if tail is None or math.prod(tail) != width:
            raise HookSetError(wrong_width(width, point, tail or ()))


def _look(runner: RouteRunner, layer: int, point: str) -> _Seen:
    """What passes a hook point of a layer; looked at once."""
    known = _EFFECTIVE.setdefault(runner.model.original_model, {})
    name = f"blocks.{layer}.{point}"
    if name not in runner.model.hook_dict:
        raise HookSetError(unknown_name(runner, name))
    if (layer, point) not in known:
        known[layer, point] = _seen(runner, layer, name)
    return known[layer, point]


def unknown_name(runner: RouteRunner, name: str) -> str:
    """An error message for a hook name that the model does not have, with the names nearest to it."""
    import difflib

    near = difflib.get_close_matches(name, list(runner.model.hook_dict), n=3, cutoff=0.4)
    return f"this model has no hook point {name!r}; the nearest are {', '.join(near) or 'none'}"


@torch.no_grad()
def _seen(runner: RouteRunner, layer: int, name: str) -> _Seen:
    """Run a layer on a few tokens with and without noise at a hook point."""
    device = runner.model.cfg.device
    tokens = torch.arange(_ROWS * _POSITIONS, device=device).reshape(_ROWS, _POSITIONS) % int(runner.model.cfg.d_vocab)
    shapes: list[tuple[int, ...]] = []

    def noise(tensor: Tensor, hook: HookPoint) -> Tensor:
        shapes.append(tuple(tensor.shape))
        drawn = torch.randn(tensor.shape, generator=torch.Generator().manual_seed(0))
        return tensor + drawn.to(tensor)

    with silenced(runner.model), warnings.catch_warnings(action="ignore"), ExitStack() as stack:
        layer_inputs = runner.record(tokens)
        plain = _output(runner, layer, layer_inputs)
        try:
            stack.enter_context(runner.model.hooks(fwd_hooks=[(name, noise)]))
        except ValueError as error:  # TransformerLens's, of hook points that are switched off
            raise HookSetError(f"nothing can be changed at {name!r}: {error}") from None
        noisy = _output(runner, layer, layer_inputs)
    return _Seen(not torch.equal(plain, noisy), _tail(name, shapes[0]) if shapes else None)


def _output(runner: RouteRunner, layer: int, layer_inputs: LayerInputs) -> Tensor:
    """A layer's output; if it drops out at random, the same at every call."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return runner.call(layer, layer_inputs.embeddings, layer_inputs.layers[layer])


def _tail(name: str, shape: tuple[int, ...]) -> tuple[int, ...] | None:
    if name.endswith(BY_QUERY):
        laid_out = len(shape) == 4 and shape[0] == _ROWS and shape[2:] == (_POSITIONS, _POSITIONS)
        return shape[1:2] if laid_out else None
    return shape[2:] if shape[:2] == (_ROWS, _POSITIONS) else None
