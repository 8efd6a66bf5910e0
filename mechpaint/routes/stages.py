"""Stages: the steps of a route with what is changed at their visits. What two routes do alike is equal stages."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from mechpaint.routes.edits import Edit
from mechpaint.routes.hookset import HookSet
from mechpaint.routes.route import Route
from mechpaint.routes.steps import Step, Visit


@dataclass(frozen=True, slots=True)
class Call:
    """A layer that reads a residual stream, and what is changed while it runs.

    Args:
        layer: The layer.
        edits: What is changed, in order.
        visit: Which visit it is; None if nothing is changed, since it makes no difference then.
    """

    layer: int
    edits: tuple[Edit, ...] = ()
    visit: Visit | None = None


@dataclass(frozen=True, slots=True)
class Stage:
    """A step, and what is changed at its visits.

    Args:
        step: The step.
        calls: Its layers, in its order.
    """

    step: Step
    calls: tuple[Call, ...]


@dataclass(frozen=True, slots=True)
class EditedRoute(Route):
    """A route along which activations are changed, as a sweep runs it.

    Args:
        steps: The route's.
        n_layers: The model's.
        edits: What is changed, in order, with the visits at which it is.
        hook_set: The hook set that said so; it does not matter to equality.
    """

    edits: tuple[tuple[Edit, tuple[Visit, ...]], ...] = ()
    hook_set: HookSet = field(default_factory=HookSet, compare=False)

    def __str__(self) -> str:
        return str(Route(self.steps, self.n_layers))  # the notation, which is read again

    def __repr__(self) -> str:
        changes = " + ".join(str(part) for part in self.hook_set.parts() if part.edits())
        return f'EditedRoute("{self}", under {changes})'


def edited(hook_set: HookSet, n_layers: int) -> Route:
    """The route of a hook set, with what it changes along it.

    Args:
        hook_set: A hook set that reroutes and changes activations, and does nothing else.
        n_layers: How many layers the model has.

    Raises:
        RouteError: It leaves no route, or names layers that the model does not have.
        HookSetError: It changes an activation at a visit that the route does not make.
    """
    route = hook_set.route(n_layers)
    edits = tuple((edit, edit.visits.of(route)) for edit in hook_set.edits())
    edits = tuple((edit, visits) for edit, visits in edits if visits)
    return EditedRoute(route.steps, route.n_layers, edits, hook_set) if edits else route


def beginning(route: Route, steps: int) -> Route:
    """The first steps of a route, with what is changed at them.

    Args:
        route: The route.
        steps: How many of its steps, 1 or more.
    """
    if not isinstance(route, EditedRoute):
        return Route(route.steps[:steps], route.n_layers)
    edits = ((edit, tuple(visit for visit in visits if visit.step < steps)) for edit, visits in route.edits)
    kept = tuple((edit, visits) for edit, visits in edits if visits)
    if not kept:
        return Route(route.steps[:steps], route.n_layers)
    return EditedRoute(route.steps[:steps], route.n_layers, kept, route.hook_set)


def stages(route: Route) -> Iterator[Stage]:
    """The stages of a route, first to last."""
    by_visit: dict[Visit, list[Edit]] = {}
    for edit, visits in route.edits if isinstance(route, EditedRoute) else ():
        for visit in visits:
            by_visit.setdefault(visit, []).append(edit)
    for i, step in enumerate(route.steps):
        yield Stage(step, tuple(_call(Visit(i, layer), by_visit) for layer in step.layers))


def _call(visit: Visit, by_visit: dict[Visit, list[Edit]]) -> Call:
    edits = by_visit.get(visit)
    return Call(visit.layer, tuple(edits), visit) if edits else Call(visit.layer)
