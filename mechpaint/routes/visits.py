"""Which visits of a route: by layer, by the how-manieth time that it runs there, by step."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias, cast

from mechpaint.display.sanitize import short
from mechpaint.errors import HookSetError
from mechpaint.routes.notation import caret
from mechpaint.routes.route import Route
from mechpaint.routes.steps import Visit

_ITEM = re.compile(r"(?P<first>\d+)(?:-(?P<last>\d+))?(?:#(?P<nth>-?\d+)|@(?P<at>\d+))?|@(?P<step>\d+)|(?P<all>\*)")
_EXPECTED = (
    "layers and visits, such as 5, 4-7, 5#2 (layer 5, second time), 5#-1 (its last time), @7 (step 7), 5@7, "
    "or * (every visit)"
)
_MOST = 10**6


@dataclass(frozen=True, slots=True)
class Item:
    """Some visits of one stretch of layers.

    Args:
        first: The lowest layer; None for every layer.
        last: The highest layer, itself included.
        nth: Which of a layer's visits, from 1; negative from its last, -1; None for all of them.
        step: At which step, from 0; None for all.
    """

    first: int | None = None
    last: int | None = None
    nth: int | None = None
    step: int | None = None

    def __str__(self) -> str:
        layers = "" if self.first is None else f"{self.first}" + f"-{self.last}" * (self.first != self.last)
        if self.nth is not None:
            return f"{layers}#{self.nth}"
        return layers + f"@{self.step}" if self.step is not None else layers or "*"

    def of(self, visits: Sequence[Visit]) -> list[Visit]:
        """Those of a route's visits."""
        times: dict[int, list[Visit]] = defaultdict(list)
        for visit in visits:
            if self.first is None or self.first <= visit.layer <= cast(int, self.last):
                times[visit.layer].append(visit)
        if self.nth is not None:
            place = self.nth - 1 if self.nth > 0 else self.nth
            times = {layer: own[place:][:1] for layer, own in times.items() if -len(own) <= place < len(own)}
        return [visit for own in times.values() for visit in own if self.step in (None, visit.step)]


@dataclass(frozen=True, slots=True)
class Visits:
    """Some of a route's visits: what `Selection` is read as.

    Args:
        items: The visits are those of any item. No items: every visit.
        where: A filter that they have to pass as well.
        optional: True if a route need not make any of them.
    """

    items: tuple[Item, ...] = ()
    where: Callable[[Visit], bool] | None = None
    optional: bool = False

    @classmethod
    def read(cls, given: Selection) -> Visits:
        """Read a selection.

        Args:
            given: Layers, texts, visits, several of them, a filter on visits, or None for every visit.

        Raises:
            HookSetError: It is none of these, or a text that cannot be read.
        """
        if isinstance(given, Visits):
            return given
        if given is None:
            return cls()
        if callable(given):
            return cls(where=given)
        several = isinstance(given, Sequence) and not isinstance(given, str)
        each = list(cast(Sequence[object], given)) if several else [given]
        if not each:
            raise HookSetError(f"no visits were given: expected {_EXPECTED}; None for every visit")
        return cls(tuple(item for one in each for item in _items(one)))

    @property
    def is_every(self) -> bool:
        """True if it leaves out no visit of any route."""
        return not self.items and self.where is None

    def __str__(self) -> str:
        shown = ", ".join(map(str, self.items)) or "*"
        return shown if self.where is None else f"{shown} that pass {getattr(self.where, '__name__', 'a filter')}"

    def of(self, route: Route) -> tuple[Visit, ...]:
        """These visits of a route, in its order.

        Args:
            route: The route that the model will run.

        Raises:
            HookSetError: The route has no such visit: it would silently not be read or changed.
        """
        visits = tuple(route.visits())
        chosen: set[Visit] = set() if self.items else set(visits)
        for item in self.items:
            found = item.of(visits)
            _check_found(item, found, route, visits, self.optional)
            chosen.update(found)
        passed = tuple(v for v in visits if v in chosen and (self.where is None or self.where(v)))
        if not passed and not self.optional:
            raise HookSetError(f"the filter lets no visit of the route {route} pass")
        return passed


Selection: TypeAlias = int | str | Visit | Sequence[int | str | Visit] | Callable[[Visit], bool] | Visits | None
"""Layers, texts such as `"5#2"`, visits, several of them, or a filter on visits; None for every visit."""


def one_of(layers: int | Sequence[int] | None, visits: Selection) -> Visits:
    """The visits that a hook set is given as layers or as visits; every one if it is given neither."""
    if layers is not None and visits is not None:
        raise HookSetError(f"expected layers or visits, not both: got layers={short(layers)}, visits={short(visits)}")
    return Visits.read(layers if visits is None else visits)


def nth(route: Route, visit: Visit) -> int:
    """The how-manieth visit of its layer a visit is, from 1."""
    return [v for v in route.visits() if v.layer == visit.layer].index(visit) + 1


def visit_of(route: Route, layer: int, number: int = 1) -> Visit:
    """The `number`-th visit of a layer, from 1; negative from its last.

    Raises:
        HookSetError: The route has no such visit.
    """
    return Visits((Item(layer, layer, nth=number),)).of(route)[0]


def _check_found(item: Item, found: Sequence[Visit], route: Route, visits: Sequence[Visit], optional: bool) -> None:
    layers = () if item.first is None else range(item.first, cast(int, item.last) + 1)
    for layer in layers:
        route.check_layer(layer)
    if optional:
        return
    whole = item.nth is None and item.step is None
    missing = [layer for layer in layers if layer not in {v.layer for v in found}] if whole else []
    if missing:
        raise HookSetError(f"layer {missing[0]} never runs on the route {route}")
    if found:
        return
    raise HookSetError(f"the route {route} has no visit {item}: {_there_are(item, visits)}")


def _there_are(item: Item, visits: Sequence[Visit]) -> str:
    """The visits that there are instead, in words."""
    if item.first is None:
        return f"its steps are 0 to {visits[-1].step}"
    own = [visit for visit in visits if item.first <= visit.layer <= cast(int, item.last)]
    layers = str(item.first) if item.first == item.last else f"{item.first} to {item.last}"
    if not own:
        return f"layer {layers} never runs there"
    steps = ", ".join(f"{v.layer}@{v.step}" for v in own[:8]) + ", …" * (len(own) > 8)
    return f"of layer {layers} there {'are' if len(own) > 1 else 'is'} {steps}"


def _items(given: object) -> list[Item]:
    if isinstance(given, Visit):
        return [Item(given.layer, given.layer, step=given.step)]
    if isinstance(given, str):
        return read_items(given)
    if isinstance(given, bool) or not hasattr(given, "__index__"):
        raise HookSetError(f"expected {_EXPECTED}, or a filter on visits; got {short(given)}")
    layer = int(cast(int, given))
    if not 0 <= layer < _MOST:
        raise HookSetError(f"layers count from 0, got {short(layer)}")
    return [Item(layer, layer)]


def read_items(text: str) -> list[Item]:
    """Read a text of visits: items with commas between them."""
    items: list[Item] = []
    at = 0
    for part in text.split(","):
        word = part.strip()
        found = _ITEM.fullmatch(word)
        begins = at + len(part) - len(part.lstrip())
        if not found or any(len(digits) > 6 for digits in re.findall(r"\d+", word)):
            raise HookSetError(caret(text, begins, "cannot read the visits", _EXPECTED))
        items.append(_item(found, text, begins))
        at += len(part) + 1
    return items


def _item(found: re.Match[str], text: str, at: int) -> Item:
    first, last, times, *steps = (None if (n := found[name]) is None else int(n) for name in _NUMBERS)
    if last is not None and cast(int, first) > last:
        raise HookSetError(caret(text, at, "cannot read the visits", "layers from the lowest to the highest, as 4-7"))
    if times == 0:
        raise HookSetError(caret(text, at, "cannot read the visits", "visits of a layer from #1, or #-1 for the last"))
    return Item(first, first if last is None else last, times, next((s for s in steps if s is not None), None))


_NUMBERS = ("first", "last", "nth", "at", "step")
