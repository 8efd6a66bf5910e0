"""How routes are looked for: each strategy says what to score next, out of what was scored so far."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from mechpaint.analyses.pareto.archive import Archive
from mechpaint.analyses.pareto.edits import alike, mutated, shorter
from mechpaint.routes.route import Route

_TRIES = 100
"""How many mutants are drawn, at most, for each that is new."""


@runtime_checkable
class Strategy(Protocol):
    """A way to look for routes of a model with `n_layers` layers that cost `limit` layer calls or little more."""

    def sizes(self, n_layers: int, limit: int) -> Sequence[int]:
        """About how many routes each of its rounds proposes."""
        ...

    def propose(self, place: int, archive: Archive, limit: int, rng: random.Random) -> Sequence[Route]:
        """The routes of one of its rounds."""
        ...


@dataclass(frozen=True)
class Greedy:
    """From the full model down to the budget, one layer call at a time, with all single edits tried.

    A round that shortens tries to leave out each visit, and takes the route that is best then. One that mends follows:
    it tries to swap each two neighbouring steps and to join them in parallel, and takes the best if that is better.
    """

    def sizes(self, n_layers: int, limit: int) -> Sequence[int]:
        """Two rounds for every layer call."""
        return [size for calls in range(n_layers, limit, -1) for size in (calls, 3 * (calls - 2))]

    def propose(self, place: int, archive: Archive, limit: int, rng: random.Random) -> Sequence[Route]:
        """All edits of where the rounds before have led to."""
        (n_layers,) = {route.n_layers for route in archive.scores}
        route = Route.identity(n_layers)
        for step in range(place):
            tried = _tried(step, route)
            kept = [route] if _mends(step) else []  # the first of equals is taken: no edit for its own sake
            route = archive.best([*kept, *tried])
        return _tried(place, route)


def _tried(step: int, route: Route) -> list[Route]:
    return alike(route) if _mends(step) else shorter(route)


def _mends(step: int) -> bool:
    return step % 2 == 1


@dataclass(frozen=True)
class Evolution:
    """The best routes so far, changed at random: a (mu + lambda) evolution strategy on score and layer calls.

    Parents are drawn by tournaments of two from the best routes in the order of non-dominated sorting, where the
    cheaper of equals comes first. Half of the mutants may cost what the full model does. The other half are bred for
    the budget: their parents cost at most one layer call more, and they no more than it.

    Args:
        generations: How many rounds.
        population: How many parents there are, and how many new routes a round proposes.
    """

    generations: int
    population: int

    def sizes(self, n_layers: int, limit: int) -> Sequence[int]:
        """Each as many as there are parents."""
        return [self.population] * self.generations

    def propose(self, place: int, archive: Archive, limit: int, rng: random.Random) -> Sequence[Route]:
        """Mutants that were not scored yet: fewer, or none, where hardly any are left."""
        (n_layers,) = {route.n_layers for route in archive.scores}
        costs = (limit, n_layers)
        best = {most: archive.ranked(limit, min(most + 1, n_layers))[: self.population] for most in costs}
        found: dict[Route, None] = {}
        for _ in range(_TRIES * self.population):
            most = rng.choice(costs)
            parents = best[most] or best[n_layers]
            parent = parents[min(rng.randrange(len(parents)), rng.randrange(len(parents)))]
            child = mutated(parent, rng, limit, most)
            if child not in archive.scores:
                found[child] = None
            if len(found) == self.population:
                break
        return list(found)


def strategies(generations: int, population: int) -> Mapping[str, Strategy]:
    """All that there are, by name."""
    return {"greedy": Greedy(), "evolution": Evolution(generations, population)}
