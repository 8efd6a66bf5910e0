"""Readings and hooks: what a hook set keeps, or changes, at TransformerLens hook points along a route."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from mechpaint.routes.route import Route
from mechpaint.routes.steps import Visit
from mechpaint.routes.visits import Selection, Visits

if TYPE_CHECKING:
    from torch import Tensor
    from transformer_lens.hook_points import HookPoint

HookFunction: TypeAlias = "Callable[[Tensor, HookPoint], Tensor | None]"
"""A TransformerLens hook: gets the activation and its hook point; what it returns, if anything, replaces it."""
VisitHook: TypeAlias = "Callable[[Tensor, HookPoint, Visit], Tensor | None]"
"""The same, told the visit that is running."""


def takes_visit(call: Callable[..., object]) -> bool:
    """Tell whether a hook takes a third argument, the visit."""
    try:
        parameters = [*inspect.signature(call).parameters.values()]
    except (TypeError, ValueError):  # a builtin
        return False
    required = [p for p in parameters if p.kind in _BY_PLACE and p.default is p.empty]
    return len(required) == 3


_BY_PLACE = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)

UserHook: TypeAlias = "HookFunction | VisitHook"
"""Either."""
NamedHook: TypeAlias = tuple[str | Callable[[str], bool], HookFunction]
"""A hook name, or a filter on names, and the hook, as TransformerLens takes them."""
Store: TypeAlias = "dict[str, dict[Any, Tensor]]"
"""The activations read: `store[key][visit]`; the residual stream after each step by the number of steps."""


@dataclass(frozen=True, slots=True)
class Hook:
    """Anyone's own TransformerLens hook.

    Args:
        where: A hook name, `"blocks.5.attn.hook_z"`, or a filter on names.
        call: What to call there on every visit. If it takes three arguments, the third is the visit.
    """

    where: str | Callable[[str], bool]
    call: UserHook


@dataclass(frozen=True, slots=True)
class Reading:
    """An activation to keep at some visits.

    Args:
        key: What to file it under: `session[key][visit]`.
        point: The hook point inside a block, `"attn.hook_pattern"`.
        which: At which visits: layers, texts such as `"5#2"`, visits, or a filter; None for every visit.
        of: What to keep of the activation, such as an encoder's features of it; None to keep the activation itself.
        width: How many numbers that takes at each position; None for any.
    """

    key: str
    point: str
    which: Selection = None
    of: Callable[[Tensor], Tensor] | None = None
    width: int | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "which", Visits.read(self.which))

    @property
    def what(self) -> tuple[str, Callable[[Tensor], Tensor] | None]:
        """What is kept at a visit."""
        return self.point, self.of

    @property
    def where(self) -> str:
        """The visits in words."""
        chosen = Visits.read(self.which)
        return "every visit" if chosen.is_every else f"visits {chosen}"

    def visits(self, route: Route) -> tuple[Visit, ...]:
        """The visits that are read on a route.

        Args:
            route: The route that the model will run.

        Raises:
            HookSetError: A visit that the route never makes, which would silently read nothing.
        """
        return Visits.read(self.which).of(route)


STREAM = "stream"
"""The key of the residual stream after each step: `session[STREAM][steps]`."""
AFTER_STEP = "after each step"
"""In place of a hook point: the residual stream after each step, merged where the step is a group."""
