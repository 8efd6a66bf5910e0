"""Readings and hooks: what a hook set keeps, or changes, at TransformerLens hook points along a route."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from mechpaint.errors import HookSetError
from mechpaint.routes.route import Route
from mechpaint.routes.steps import Visit

if TYPE_CHECKING:
    from torch import Tensor
    from transformer_lens.hook_points import HookPoint

HookFunction: TypeAlias = Callable[["Tensor", "HookPoint"], "Tensor | None"]
"""A TransformerLens hook: gets the activation and its hook point; what it returns, if anything, replaces it."""
NamedHook: TypeAlias = tuple[str | Callable[[str], bool], HookFunction]
"""A hook name, or a filter on names, and the hook, as TransformerLens takes them."""
Store: TypeAlias = "dict[str, dict[Visit, Tensor]]"
"""The activations read: `store[key][visit]`."""


@dataclass(frozen=True, slots=True)
class Hook:
    """Anyone's own TransformerLens hook.

    Args:
        where: A hook name, `"blocks.5.attn.hook_z"`, or a filter on names.
        call: What to call there on every visit.
    """

    where: str | Callable[[str], bool]
    call: HookFunction


@dataclass(frozen=True, slots=True)
class Reading:
    """An activation to keep at every visit of some layers.

    Args:
        key: What to file it under: `session[key][visit]`.
        point: The hook point inside a block, `"attn.hook_pattern"`.
        layers: Which layers; None for every layer on the route.
    """

    key: str
    point: str
    layers: tuple[int, ...] | None = None

    @property
    def where(self) -> str:
        """The layers in words."""
        if self.layers is None:
            return "every layer"
        return f"layer{'s' * (len(self.layers) > 1)} {', '.join(map(str, self.layers))}"

    def visits(self, route: Route) -> tuple[Visit, ...]:
        """The visits that are read on a route.

        Args:
            route: The route that the model will run.

        Raises:
            HookSetError: A layer that the route never runs, which would silently read nothing.
        """
        for layer in self.layers or ():
            route.check_layer(layer)
        visits = tuple(v for v in route.visits() if self.layers is None or v.layer in self.layers)
        missing = sorted(set(self.layers or ()) - {v.layer for v in visits})
        if missing:
            raise HookSetError(
                f"{self.key!r} is to be read at layer {missing[0]}, which never runs on the route {route}"
            )
        return visits
