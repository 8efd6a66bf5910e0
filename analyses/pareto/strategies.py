"""Search strategies: each proposes routes to score next from the scores so far."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from mechpaint.analyses.pareto.archive import Archive
from mechpaint.analyses.pareto.edits import alike, mutated, shorter
from mechpaint.routes.route import Route

_TRIES = 100
"""The most mutants to draw for each new one."""


@runtime_checkable
class Strategy(Protocol):
    """A search for routes that cost `limit` layer calls or slightly more."""

    def sizes(self, n_layers: int, limit: int) -> Sequence[int]:
        """The approximate number of routes that each round proposes."""
        ...

    def propose(self, place: int, archive: Archive, limit: int, rng: random.Random) -> Sequence[Route]:
        """Propose the routes of one round."""
        ...


@dataclass(frozen=True)
class Greedy:
    """From the full model down to the budget, one layer call at a time, trying all single edits.

    A shortening round tries to drop each visit and keeps the best route. A mending round follows: it tries to swap or
    join each pair of neighbouring steps, and keeps the best if that improves the score.
    """

    def sizes(self, n_layers: int, limit: int) -> Sequence[int]:
        """Two rounds per layer call."""
        return [size for calls in range(n_layers, limit, -1) for size in (calls, 3 * (calls - 2))]

    def propose(self, place: int, archive: Archive, limit: int, rng: random.Random) -> Sequence[Route]:
        """Propose all edits of the current route, replayed from the rounds before."""
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
    """A (mu + lambda) evolution strategy on score and layer calls; mu = lambda = `population`.

    Parents win tournaments of two among the best routes by non-dominated sorting, the cheaper of equals first. Half of
    the mutants may cost as much as the full model. The others are bred for the budget: their parents cost at most one
    layer call more, and they stay within it.
    """

    generations: int
    population: int

    def sizes(self, n_layers: int, limit: int) -> Sequence[int]:
        """The population, in every round."""
        return [self.population] * self.generations

    def propose(self, place: int, archive: Archive, limit: int, rng: random.Random) -> Sequence[Route]:
        """Propose unscored mutants: fewer, or none, once they run out."""
        (n_layers,) = {route.n_layers for route in archive.scores}
        costs = (limit, n_layers)
        best = {most: archive.ranked(limit, min(most + 1, n_layers))[: self.population] for most in costs}
        children: dict[Route, None] = {}
        for _ in range(_TRIES * self.population):
            most = rng.choice(costs)
            parents = best[most] or best[n_layers]
            parent = parents[min(rng.randrange(len(parents)), rng.randrange(len(parents)))]
            child = mutated(parent, rng, limit, most)
            if child not in archive.scores:
                children[child] = None
            if len(children) == self.population:
                break
        return list(children)


def strategies(generations: int, population: int) -> Mapping[str, Strategy]:
    """All strategies, by name."""
    return {"greedy": Greedy(), "evolution": Evolution(generations, population)}
