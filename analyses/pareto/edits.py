"""Edits of routes, for searches: all routes one edit away, or a few random edits (`mutated`)."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence

from mechpaint.routes.route import Route
from mechpaint.routes.steps import Merge, Step

_MERGES: Sequence[Merge] = ("mean", "sum")
_MOST_STEPS = 4


def contiguous_skips(n_layers: int, layer_calls: int) -> list[Route]:
    """All routes that skip one block of neighbouring layers."""
    gone = n_layers - layer_calls
    return [Route.of([*range(first), *range(first + gone, n_layers)], n_layers) for first in range(layer_calls + 1)]


def shorter(route: Route) -> list[Route]:
    """All routes with one visit fewer, also out of groups; none from a single visit."""
    if route.layer_calls == 1:
        return []
    return list(dict.fromkeys(_without(route, visit) for visit in range(route.layer_calls)))


def alike(route: Route) -> list[Route]:
    """All routes with two neighbouring steps swapped, or joined into a group by mean or by sum."""
    routes: list[Route] = []
    for at in range(len(route.steps) - 1):
        routes.append(_swapped(route, at, at + 1))
        routes += [joined for merge in _MERGES if (joined := _joined(route, at, merge)) is not None]
    return [each for each in dict.fromkeys(routes) if each != route]


def mutated(route: Route, rng: random.Random, least: int, most: int) -> Route:
    """A route one to four random edits away, with `least` to `most` visits.

    An edit drops a visit, inserts a layer, does both, swaps or moves steps, joins two into a group, changes a group's
    merge, or splits a group. One edit has probability 1/2, two 1/4, and so on."""
    steps = 1
    while steps < _MOST_STEPS and rng.random() < 0.5:
        steps += 1
    for _ in range(steps):
        route = rng.choice(_MUTATIONS)(route, rng)
    while route.layer_calls > most:
        route = _leave_out(route, rng)
    while route.layer_calls < least:
        route = _put_in(route, rng)
    return route


def _leave_out(route: Route, rng: random.Random) -> Route:
    return route if route.layer_calls == 1 else _without(route, rng.randrange(route.layer_calls))


def _put_in(route: Route, rng: random.Random) -> Route:
    """Insert an absent layer in the model's order, if there is one; sometimes any layer anywhere."""
    absent = sorted(set(range(route.n_layers)) - {visit.layer for visit in route.visits()})
    if absent and rng.random() < 0.75:
        layer = rng.choice(absent)
        before = [place for place, step in enumerate(route.steps) if step.layers[-1] < layer]
        at = before[-1] + 1 if before else 0
    else:
        layer, at = rng.randrange(route.n_layers), rng.randint(0, len(route.steps))
    return route.replace(slice(at, at), [Step((layer,))])


def _exchange(route: Route, rng: random.Random) -> Route:
    return _put_in(_leave_out(route, rng), rng)


def _swap(route: Route, rng: random.Random) -> Route:
    if len(route.steps) == 1:
        return route
    at = rng.randrange(len(route.steps) - 1)
    return _swapped(route, at, at + 1)


def _move(route: Route, rng: random.Random) -> Route:
    steps = list(route.steps)
    step = steps.pop(rng.randrange(len(steps)))
    steps.insert(rng.randint(0, len(steps)), step)
    return Route(tuple(steps), route.n_layers)


def _join(route: Route, rng: random.Random) -> Route:
    if len(route.steps) == 1:
        return route
    joined = _joined(route, rng.randrange(len(route.steps) - 1), rng.choice(_MERGES))
    return route if joined is None else joined


def _change_merge(route: Route, rng: random.Random) -> Route:
    at = _group(route, rng)
    if at is None:
        return route
    step = route.steps[at]
    return route.replace(slice(at, at + 1), [Step(step.layers, "sum" if step.merge == "mean" else "mean")])


def _take_apart(route: Route, rng: random.Random) -> Route:
    at = _group(route, rng)
    if at is None:
        return route
    return route.replace(slice(at, at + 1), [Step((layer,)) for layer in route.steps[at].layers])


_MUTATIONS: Sequence[Callable[[Route, random.Random], Route]] = (
    *(_leave_out, _put_in, _exchange, _exchange, _swap, _move, _join, _change_merge, _take_apart),
)


def _without(route: Route, visit: int) -> Route:
    """The route without its n-th visit."""
    gone = list(route.visits())[visit]
    left = tuple(layer for layer in route.steps[gone.step].layers if layer != gone.layer)
    steps = [Step(left, route.steps[gone.step].merge)] if left else list[Step]()
    return route.replace(slice(gone.step, gone.step + 1), steps)


def _swapped(route: Route, one: int, other: int) -> Route:
    steps = list(route.steps)
    steps[one], steps[other] = steps[other], steps[one]
    return Route(tuple(steps), route.n_layers)


def _joined(route: Route, at: int, merge: Merge) -> Route | None:
    """Join two neighbouring steps into a group; None if a layer would be in it twice."""
    layers = (*route.steps[at].layers, *route.steps[at + 1].layers)
    if len(set(layers)) < len(layers):
        return None
    return route.replace(slice(at, at + 2), [Step(layers, merge)])


def _group(route: Route, rng: random.Random) -> int | None:
    groups = list(_groups(route))
    return rng.choice(groups) if groups else None


def _groups(route: Route) -> Iterator[int]:
    return (place for place, step in enumerate(route.steps) if len(step.layers) > 1)
