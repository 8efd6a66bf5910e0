"""Routes: in which order a transformer's layers paint on the residual stream.

A `Route` is a tuple of `Step`s. A step is one layer, or a group of layers that all read the same residual stream
and whose outputs are merged. Nothing here knows about models or tensors.

    >>> route = Route.parse("0-3 (4-13)x3 14-17", n_layers=18)
    >>> route.layer_calls
    38
    >>> str(route)
    '0-3 (4-13)x3 14-17'
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, cast

from mechpaint.display.sanitize import short
from mechpaint.display.summary import Summarized, Summary
from mechpaint.errors import RouteError
from mechpaint.routes.notation import notation, parse
from mechpaint.routes.steps import Step, Visit, check_length, out_of_range


@dataclass(frozen=True, slots=True)
class Route(Summarized):
    """The steps that take the embeddings to the final residual stream of a model with `n_layers` layers.

    Immutable and hashable; two routes are equal exactly when they run the same steps.

    Args:
        steps: At least one `Step`.
        n_layers: How many layers the model has.

    Raises:
        RouteError: No steps, or more than 100,000; something else than steps; a layer that the model does not have.
    """

    steps: tuple[Step, ...]
    n_layers: int

    def __post_init__(self) -> None:
        object.__setattr__(self, "steps", _checked_steps(self.steps))
        object.__setattr__(self, "n_layers", _checked_number(self.n_layers))
        check_length(len(self.steps))
        if not self.steps:
            raise RouteError("the route is empty: it needs at least one layer")
        highest = max(step.layers[-1] for step in self.steps)
        if highest >= self.n_layers:
            raise RouteError(out_of_range(highest, self.n_layers))

    @classmethod
    def identity(cls, n_layers: int) -> Route:
        """The model's own order, 0 to `n_layers - 1`.

        Args:
            n_layers: How many layers the model has, 1 or more.
        """
        check_length(_checked_number(n_layers))
        return cls.of(range(n_layers), n_layers)

    @classmethod
    def of(cls, steps: Iterable[int | Sequence[int] | Step], n_layers: int) -> Route:
        """A route from plain Python: an integer is one layer, a sequence an averaged group.

        Args:
            steps: What runs, in order: 0-based layers, sequences of layers, or `Step`s.
            n_layers: How many layers the model has.

        Raises:
            RouteError: No steps, or a layer that the model does not have.

        >>> str(Route.of([0, (1, 2), 3], n_layers=4))
        '0 (1-2) 3'
        """
        return cls(tuple(_as_step(step) for step in steps), n_layers)

    @classmethod
    def parse(cls, text: str, n_layers: int) -> Route:
        """Read the notation that `str(route)` writes.

        | text | meaning |
        |---|---|
        | `0-17` | layers 0 to 17 in order, both included |
        | `0-3 13-4 14-17` | 4 to 13 reversed |
        | `0-3 9x10 14-17` | layer 9 ten times |
        | `0-3 (4-13)x3 14-17` | 4 to 13 in parallel, averaged, three times |
        | `0-3 (4+5) (6+7) 8-17` | pairs in parallel, their updates added |
        | `0-3 [4 5]x2 6-17` | the sequence 4, 5 twice |

        Args:
            text: The notation, steps separated by spaces.
            n_layers: How many layers the model has.

        Raises:
            RouteError: With the offending character marked and what was expected there.
        """
        if not isinstance(cast(object, text), str):
            raise RouteError(f"the notation of a route is a text, got {short(text)}")
        return cls(parse(text, _checked_number(n_layers)), n_layers)

    @property
    def layer_calls(self) -> int:
        """The number of times that a layer runs."""
        return sum(len(step.layers) for step in self.steps)

    @property
    def is_identity(self) -> bool:
        """True if this is the model's own order."""
        return self == Route.identity(self.n_layers)

    def visits(self) -> Iterator[Visit]:
        """Every visit of a layer, in the order in which they run."""
        return (Visit(i, layer) for i, step in enumerate(self.steps) for layer in step.layers)

    def span(self, first: int, last: int) -> slice:
        """Where the layers `first` to `last` stand on this route: the slice of `steps` that runs them.

        Args:
            first: The lowest of the layers.
            last: The highest, itself included.

        Raises:
            RouteError: The range is not one of the model's, none of its layers is on the route, or other layers
                run in between.
        """
        wanted = set(self._range(first, last))
        inside = [i for i, step in enumerate(self.steps) if wanted.intersection(step.layers)]
        if not inside:
            raise RouteError(f"none of the layers {first} to {last} is on the route {self}")
        span = slice(inside[0], inside[-1] + 1)
        strangers = sorted({layer for step in self.steps[span] for layer in step.layers} - wanted)
        if strangers:
            raise RouteError(
                f"layers {first} to {last} do not stand together on the route {self}: "
                f"{_listing(strangers)} in between or in the same group"
            )
        return span

    def replace(self, where: slice, steps: Iterable[Step]) -> Route:
        """The same route with the steps at `where` replaced.

        Args:
            where: Which steps, as `span` gives it.
            steps: What runs there instead, any number of steps.

        Raises:
            RouteError: Nothing is left, or a layer does not exist.
        """
        return Route((*self.steps[: where.start], *steps, *self.steps[where.stop :]), self.n_layers)

    def relabel(self, layer_for: Callable[[int], int]) -> Route:
        """The same route with `layer_for(layer)` run wherever `layer` was.

        Args:
            layer_for: From a layer to the one that runs in its place.

        Raises:
            RouteError: A layer that does not exist, or a group in which one layer would be twice.
        """
        return Route(tuple(Step(tuple(map(layer_for, step.layers)), step.merge) for step in self.steps), self.n_layers)

    def without(self, first: int, last: int) -> Route:
        """The same route with every visit of the layers `first` to `last` left out, in groups too.

        Args:
            first: The lowest of the layers.
            last: The highest, itself included.

        Raises:
            RouteError: The range is not one of the model's, or nothing is left.
        """
        gone = set(self._range(first, last))
        kept = [(tuple(x for x in step.layers if x not in gone), step) for step in self.steps]
        return Route(tuple(Step(layers, step.merge) for layers, step in kept if layers), self.n_layers)

    def check_layer(self, layer: int) -> None:
        """Make sure that the model has a layer.

        Args:
            layer: Its 0-based index.

        Raises:
            RouteError: It has not.
        """
        if not 0 <= layer < self.n_layers:
            raise RouteError(out_of_range(layer, self.n_layers))

    def check_model(self, n_layers: int) -> None:
        """Make sure that the route is one of a model with so many layers.

        Args:
            n_layers: How many layers the model has.

        Raises:
            RouteError: It was made for another number.
        """
        if self.n_layers != n_layers:
            raise RouteError(f"the route {self} was made for {self.n_layers} layers, the model has {n_layers}")

    def _range(self, first: int, last: int) -> range:
        self.check_layer(first)
        self.check_layer(last)
        if first > last:
            raise RouteError(f"a range goes from its first to its last layer, got {first} to {last}")
        return range(first, last + 1)

    def _summary(self) -> Summary:
        from mechpaint.routes.diagram import MOST_BOXES, route_diagram

        calls = f"{self.layer_calls:,} layer call{'s' * (self.layer_calls > 1)}; the model has {self.n_layers} layers"
        picture = route_diagram(self) if len(self.steps) <= MOST_BOXES else None
        return Summary("Route", [("notation", str(self)), ("cost", calls)], picture=picture)

    def __str__(self) -> str:
        return notation(self.steps)

    def __repr__(self) -> str:
        return f'Route("{self}", n_layers={self.n_layers})'


def _checked_steps(steps: object) -> tuple[Step, ...]:
    given = tuple(cast(Iterable[object], steps)) if isinstance(steps, Iterable) else (steps,)
    if not all(isinstance(step, Step) for step in given):
        raise RouteError(f"a route is made of Steps, got {short(given)}: Route.of takes integers, Route.parse a text")
    return cast(tuple[Step, ...], given)


def _checked_number(n_layers: object) -> int:
    try:
        return operator.index(cast(Any, n_layers))
    except TypeError:
        raise RouteError(f"n_layers is how many layers the model has, got {short(n_layers)}") from None


def _as_step(step: int | Sequence[int] | Step) -> Step:
    if isinstance(step, Step):
        return step
    return Step(tuple(step) if isinstance(step, Sequence) else (step,))


def _listing(layers: Sequence[int]) -> str:
    if len(layers) == 1:
        return f"layer {layers[0]} runs"
    return f"layers {', '.join(map(str, layers))} run"
