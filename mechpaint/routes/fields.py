"""The fields of hook sets, checked against their annotations when one is made."""

from __future__ import annotations

import math
import operator
import types
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import fields
from functools import cache
from typing import Any, Literal, Union, cast, get_args, get_origin, get_type_hints

from mechpaint.display.sanitize import short
from mechpaint.errors import HookSetError
from mechpaint.routes.heads import Heads
from mechpaint.routes.route import Route
from mechpaint.routes.visits import Visits

_LARGEST = 2**63
_PLAIN = (str, Route, bool)


def check_fields(hook_set: object, name: str) -> None:
    """Check every field that has a known type, and keep integers and layers as Python's own.

    Args:
        hook_set: A frozen dataclass.
        name: What errors call it.
    """
    for field, check in checks(type(hook_set)).items():
        value = getattr(hook_set, field)
        try:
            object.__setattr__(hook_set, field, check(value))
        except _Unfit as unfit:
            raise HookSetError(f"{field!r} of {name} must be {unfit}, got {short(value)}") from None


@cache
def checks(cls: type[Any]) -> Mapping[str, Callable[[object], object]]:
    """How each field of a class is checked; fields of other types, or of ones that cannot be looked up, are not."""
    try:
        hints = get_type_hints(cls)
    except Exception:  # whatever a class names under TYPE_CHECKING alone
        return {}
    chosen = {field.name: _check(hints[field.name]) for field in fields(cls) if field.name in hints}
    return {field: check for field, check in chosen.items() if check is not None}


def is_layers(cls: type[Any], field: str) -> bool:
    """Tell whether a field holds several layers."""
    return checks(cls).get(field) in (_layers, as_layers)


def _check(hint: Any) -> Callable[[object], object] | None:
    kinds = set(get_args(hint)) if get_origin(hint) in (Union, types.UnionType) else {hint}
    optional = type(None) in kinds
    if Heads in kinds:
        return _optional(Heads.read) if optional else cast("Callable[[object], object]", Heads.read)
    if Visits in kinds:
        return _optional(Visits.read)
    if any(get_origin(kind) in (Sequence, tuple, list) and get_args(kind)[:1] == (int,) for kind in kinds):
        return as_layers if optional else _layers
    if kinds == {int}:
        return _integer
    if kinds == {float}:
        return _number
    if kinds <= set(_PLAIN):
        return _instance(tuple(kinds))
    return None


class _Unfit(Exception):
    """A value that a field cannot have; its text says what is expected."""


def _integer(value: object) -> int:
    if isinstance(value, bool):
        raise _Unfit("an integer")
    try:
        number = operator.index(cast(Any, value))
    except TypeError:
        raise _Unfit("an integer") from None
    if not -_LARGEST <= number < _LARGEST:
        raise _Unfit("an integer of 64 bits")
    return number


def _number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise _Unfit("a number")
    return float(value)


def _optional(read: Callable[[Any], object]) -> Callable[[object], object]:
    """Read what is given; None stays None."""
    return lambda value: None if value is None else read(value)


def _layers(value: object) -> tuple[int, ...]:
    expected = "an integer, or a sequence of integers"
    if isinstance(value, str | bytes | Mapping):
        raise _Unfit(expected)
    each = cast(Iterable[object], value) if isinstance(value, Iterable) else (value,)
    try:
        layers = tuple(_integer(layer) for layer in each)
    except (_Unfit, TypeError):  # a tensor without dimensions is an Iterable that cannot be iterated
        raise _Unfit(expected) from None
    if not layers:
        raise _Unfit(f"{expected} (None for every layer)")
    return layers


def as_layers(value: object) -> tuple[int, ...] | None:
    """Layers as a hook set keeps them; None stays None, every layer."""
    return None if value is None else _layers(value)


def _instance(kinds: tuple[type, ...]) -> Callable[[object], object]:
    names: Mapping[type, Literal["a text", "a route", "True or False"]]
    names = {str: "a text", Route: "a route", bool: "True or False"}

    def check(value: object) -> object:
        if not isinstance(value, kinds):
            raise _Unfit(" or ".join(names[kind] for kind in _PLAIN if kind in kinds))
        return value

    return check
