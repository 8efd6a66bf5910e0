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

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, NoReturn, TypeAlias

from mechpaint.errors import InputError
from mechpaint.showing import Showing, Shown

Merge: TypeAlias = Literal["mean", "sum"]


class RouteError(InputError):
    """A route that cannot be: malformed notation, a layer that does not exist, nothing left to run."""


@dataclass(frozen=True, slots=True)
class Step:
    """One layer, or a group of layers that read the same residual stream.

    Args:
        layers: The 0-based layer indices. Stored sorted, so that equal groups are equal steps.
        merge: What becomes of a group's outputs. `"mean"`: their arithmetic mean, as in "Transformer Layers as
            Painters" (arXiv 2407.09298, section 3.5). `"sum"`: the incoming residual plus every member's update,
            x + f(x) + g(x), as in "Layer Parallelism" (arXiv 2502.02790). A single layer is stored as `"mean"`.

    Raises:
        RouteError: No layers, a negative index, a layer named twice, or an unknown merge.
    """

    layers: tuple[int, ...]
    merge: Merge = "mean"

    def __post_init__(self) -> None:
        layers = tuple(sorted(self.layers))
        if not layers:
            raise RouteError("a step needs at least one layer, got none")
        if layers[0] < 0:
            raise RouteError(f"layers count from 0, got {layers[0]}")
        if len(set(layers)) != len(layers):
            twice = next(a for a, b in pairwise(layers) if a == b)
            raise RouteError(f"a group names each layer once, got layer {twice} twice in {layers}")
        if self.merge not in ("mean", "sum"):
            raise RouteError(f'a group is merged by "mean" or "sum", got {self.merge!r}')
        object.__setattr__(self, "layers", layers)
        object.__setattr__(self, "merge", self.merge if len(layers) > 1 else "mean")

    def __str__(self) -> str:
        if len(self.layers) == 1:
            return str(self.layers[0])
        if self.merge == "sum":
            return "(" + "+".join(map(str, self.layers)) + ")"
        return "(" + " ".join(_span(a, b) for a, b in ascending_runs(self.layers)) + ")"


@dataclass(frozen=True, slots=True)
class Route(Showing):
    """The steps that take the embeddings to the final residual stream of a model with `n_layers` layers.

    Immutable and hashable; two routes are equal exactly when they run the same steps.

    Args:
        steps: At least one `Step`.
        n_layers: How many layers the model has.

    Raises:
        RouteError: No steps, or a layer that the model does not have.
    """

    steps: tuple[Step, ...]
    n_layers: int

    def __post_init__(self) -> None:
        object.__setattr__(self, "steps", tuple(self.steps))
        if not self.steps:
            raise RouteError("the route is empty: it needs at least one layer")
        highest = max(step.layers[-1] for step in self.steps)
        if highest >= self.n_layers:
            raise RouteError(_out_of_range(highest, self.n_layers))

    @classmethod
    def identity(cls, n_layers: int) -> Route:
        """The model's own order, 0 to `n_layers - 1`.

        Args:
            n_layers: How many layers the model has, 1 or more.
        """
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
        return cls(_Parser(text, n_layers).parse(), n_layers)

    @property
    def layer_calls(self) -> int:
        """How many times a layer runs."""
        return sum(len(step.layers) for step in self.steps)

    @property
    def is_identity(self) -> bool:
        """Whether this is the model's own order."""
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
        found = slice(inside[0], inside[-1] + 1)
        strangers = sorted({layer for step in self.steps[found] for layer in step.layers} - wanted)
        if strangers:
            raise RouteError(
                f"layers {first} to {last} do not stand together on the route {self}: "
                f"{_listing(strangers)} in between or in the same group"
            )
        return found

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
            raise RouteError(_out_of_range(layer, self.n_layers))

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

    def _shown(self) -> Shown:
        from mechpaint.circuits.routes import MOST_BOXES, route_diagram

        calls = f"{self.layer_calls:,} layer call{'s' * (self.layer_calls > 1)}; the model has {self.n_layers} layers"
        picture = route_diagram(self) if len(self.steps) <= MOST_BOXES else None
        return Shown("Route", [("notation", str(self)), ("cost", calls)], picture=picture)

    def __str__(self) -> str:
        return " ".join(_words(self.steps))

    def __repr__(self) -> str:
        return f'Route("{self}", n_layers={self.n_layers})'


@dataclass(frozen=True, slots=True, order=True)
class Visit:
    """One layer at one step of a route: what is read along a route is keyed by it.

    Args:
        step: The 0-based position on the route. A group is one step.
        layer: The 0-based layer that runs there.
    """

    step: int
    layer: int


def _as_step(step: int | Sequence[int] | Step) -> Step:
    if isinstance(step, Step):
        return step
    return Step((step,) if isinstance(step, int) else tuple(step))


def _out_of_range(layer: int, n_layers: int) -> str:
    return f"layer {layer} does not exist: this model has layers 0 to {n_layers - 1}"


def _listing(layers: Sequence[int]) -> str:
    if len(layers) == 1:
        return f"layer {layers[0]} runs"
    return f"layers {', '.join(map(str, layers))} run"


# ---- printing ------------------------------------------------------------------------------------------------------


def _span(first: int, last: int) -> str:
    return str(first) if first == last else f"{first}-{last}"


def ascending_runs(layers: Sequence[int]) -> Iterator[tuple[int, int]]:
    """The longest stretches in which each layer follows the one before it, as first and last layer.

    >>> list(ascending_runs([0, 1, 2, 2, 5, 4]))
    [(0, 2), (2, 2), (5, 5), (4, 4)]
    """
    start = 0
    for i in range(1, len(layers) + 1):
        if i == len(layers) or layers[i] != layers[i - 1] + 1:
            yield layers[start], layers[i - 1]
            start = i


def _words(steps: Sequence[Step]) -> Iterator[str]:
    """The route's words, each as long as it can be: a repeat, a range up or down, or one step."""
    i = 0
    while i < len(steps):
        repeats = _run_length(steps, i, lambda a, b: a == b)
        longest = max(repeats, steps_in_order(steps, i))
        if longest == 1:
            yield str(steps[i])
        elif longest == repeats:
            yield f"{steps[i]}x{repeats}"
        else:
            yield f"{steps[i]}-{steps[i + longest - 1]}"
        i += longest


def steps_in_order(steps: Sequence[Step], start: int) -> int:
    """How many steps from `start` on are single layers that follow each other, upwards or downwards.

    Args:
        steps: Steps of a route.
        start: Where to begin; that step counts.
    """
    up = _run_length(steps, start, lambda a, b: _follows(a, b, 1))
    down = _run_length(steps, start, lambda a, b: _follows(a, b, -1))
    return max(up, down)


def _run_length(steps: Sequence[Step], start: int, continues: Callable[[Step, Step], bool]) -> int:
    end = start + 1
    while end < len(steps) and continues(steps[end - 1], steps[end]):
        end += 1
    return end - start


def _follows(a: Step, b: Step, by: int) -> bool:
    return len(a.layers) == len(b.layers) == 1 and b.layers[0] == a.layers[0] + by


# ---- parsing -------------------------------------------------------------------------------------------------------

_SPACE = re.compile(r"\s*")
_INTEGER = re.compile(r"[0-9]+")
_MOST_STEPS = 100_000


class _Parser:
    """Recursive descent over the notation. `at` is the next character to read."""

    def __init__(self, text: str, n_layers: int) -> None:
        self.text = text
        self.n_layers = n_layers
        self.at = 0

    def parse(self) -> tuple[Step, ...]:
        steps = self.sequence(end="")
        if not steps:
            self.fail("the route is empty", "a layer such as 0, a range such as 0-3, '(' or '['")
        return steps

    def sequence(self, end: str) -> tuple[Step, ...]:
        """Items up to the closing character, or to the end of the text."""
        steps: list[Step] = []
        while self.peek() != end:
            start = self.at
            steps += self.item()
            if len(steps) > _MOST_STEPS:
                self.fail("the route is too long", f"at most {_MOST_STEPS:,} steps", start)
            if self.at < len(self.text) and self.text[self.at] not in " \t\n\r" + (end or " "):
                self.fail("cannot read the route", "a space between steps")
        return tuple(steps)

    def item(self) -> tuple[Step, ...]:
        start = self.at
        opening = self.peek()
        if opening == "(":
            return (self.group(),) * self.times()
        if opening == "[":
            steps = self.bracket()
            return self.repeated(steps, start)
        first = self.layer("a layer number, '(' or '['")
        if not self.take("-"):
            return (Step((first,)),) * self.times()
        last = self.layer("the last layer of the range")
        if self.text[self.at : self.at + 1] == "x":
            word = self.text[start : self.at]
            self.fail("a repeated range is ambiguous", f"[{word}]x… for the sequence, or ({word})x… for the average")
        return tuple(Step((i,)) for i in _through(first, last))

    def repeated(self, steps: tuple[Step, ...], start: int) -> tuple[Step, ...]:
        times = self.times()
        if len(steps) * times > _MOST_STEPS:
            self.fail("the route is too long", f"at most {_MOST_STEPS:,} steps", start)
        return steps * times

    def bracket(self) -> tuple[Step, ...]:
        start = self.at
        self.take("[")
        steps = self.sequence(end="]") if self.has_closing("]", start) else ()
        if not steps:
            self.fail("the sequence is empty", "a layer number, '(' or '['", start + 1)
        self.take("]")
        return steps

    def has_closing(self, closing: str, start: int) -> bool:
        if closing not in self.text[self.at :]:
            self.fail(f"{self.text[start]!r} is never closed", f"a matching {closing!r}", start)
        return True

    def group(self) -> Step:
        start = self.at
        self.take("(")
        self.has_closing(")", start)
        if self.peek() == ")":
            self.fail("the group is empty", "a layer number", self.at)
        layers: list[int] = []
        separator = ""
        while True:
            at = self.at
            members = self.members()
            twice = set(members).intersection(layers)
            if twice:
                self.fail(f"layer {min(twice)} is in the group already", "each layer once", at)
            layers += members
            found = self.peek()
            if found == ")":
                break
            if found == "+" and separator in ("", "+"):
                separator = self.take("+")
                self.peek()
            elif found == "+" or separator == "+":
                self.fail("a group is either averaged or summed", "'+' between all members, or between none")
            else:
                separator = " "
        self.take(")")
        return Step(tuple(layers), "sum" if separator == "+" else "mean")

    def members(self) -> list[int]:
        first = self.layer("a layer number or ')'")
        return list(_through(first, self.layer("the last layer of the range"))) if self.take("-") else [first]

    def times(self) -> int:
        if not self.take("x"):
            return 1
        at = self.at
        times = self.integer("how many times")
        if not 1 <= times <= _MOST_STEPS:
            self.fail(f"cannot repeat {times} times", f"a number from 1 to {_MOST_STEPS:,}", at)
        return times

    def layer(self, expected: str) -> int:
        at = self.at
        layer = self.integer(expected)
        if layer >= self.n_layers:
            self.fail(f"layer {layer} does not exist", f"a layer from 0 to {self.n_layers - 1}", at)
        return layer

    def integer(self, expected: str) -> int:
        found = _INTEGER.match(self.text, self.at)
        if not found:
            self.fail("cannot read the route", expected)
        self.at = found.end()
        return int(found[0]) if len(found[0]) <= 9 else 10**9

    def peek(self) -> str:
        """Skip blanks; the character there, or "" at the end."""
        blanks = _SPACE.match(self.text, self.at)
        self.at = blanks.end() if blanks else self.at
        return self.text[self.at : self.at + 1]

    def take(self, character: str) -> str:
        if not self.text.startswith(character, self.at):
            return ""
        self.at += len(character)
        return character

    def fail(self, problem: str, expected: str, at: int | None = None) -> NoReturn:
        raise RouteError(caret(self.text, self.at if at is None else at, problem, expected))


def caret(text: str, at: int, problem: str, expected: str) -> str:
    """An error message that shows the text with a caret under the character at fault."""
    shown = "".join(" " if c in "\t\n\r" else c for c in text)
    return f"{problem}: expected {expected}\n  {shown}\n  {' ' * at}^"


def _through(first: int, last: int) -> range:
    return range(first, last + 1) if first <= last else range(first, last - 1, -1)
