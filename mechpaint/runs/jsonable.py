"""Frozen dataclasses as JSON and back, by the names of their classes.

What JSON has no word for is an object with one key that says what it is: `{"mapping": …}`, `{"route": …}`,
`{"class": …, "fields": …}`. A list is a tuple. Nothing but dataclasses is ever made of what is read, and only those of
mechpaint itself and of plugins that are loaded.
"""

from __future__ import annotations

import dataclasses
import importlib
import math
import sys
from collections.abc import Mapping
from typing import Any, cast

from mechpaint.route import Route


class NotJsonable(TypeError):
    """A value that cannot be kept as JSON, and made again of it."""


class Unreadable(ValueError):
    """JSON of which no value can be made: in what way."""


def to_json(value: object) -> Any:
    """A value in what `json.dumps` takes, so that `from_json` makes it again.

    Args:
        value: None, a bool, int, float or str, a `Route`, a dataclass, or a tuple, list or mapping (with str keys) of
            these.

    Raises:
        NotJsonable: It is, or has in it, something else.
    """
    match value:
        case None | bool() | int() | str():
            return value
        case float():
            return float(value) if math.isfinite(value) else {"float": str(float(value))}
        case Route():
            return {"route": str(value), "layers": value.n_layers}
        case tuple():
            return [to_json(each) for each in cast("tuple[object, ...]", value)]
        case list():
            return {"list": [to_json(each) for each in cast("list[object]", value)]}
        case Mapping():
            return {"mapping": _mapping(cast("Mapping[object, object]", value))}
        case _ if dataclasses.is_dataclass(value) and not isinstance(value, type):
            kind = type(value)
            return {"class": f"{kind.__module__}:{kind.__qualname__}", "fields": fields_to_json(value)}
        case _:
            raise NotJsonable(
                f"cannot keep {value!r} with a run: expected numbers, texts, routes, frozen dataclasses, and tuples, "
                "lists or mappings of these"
            )


def fields_to_json(value: Any) -> dict[str, Any]:
    """The fields of a dataclass by name, as `to_json` has them.

    Args:
        value: The dataclass.

    Raises:
        NotJsonable: A field is, or has in it, what cannot be kept.
    """
    return {field.name: to_json(getattr(value, field.name)) for field in dataclasses.fields(value) if field.init}


def from_json(data: Any) -> Any:
    """The value that `to_json` was given.

    Args:
        data: What it gave.

    Raises:
        Unreadable: It is no such JSON, or of a class that is not there, or that has other fields by now.
    """
    if data is None or isinstance(data, bool | int | float | str):
        return data
    if isinstance(data, list):
        return tuple(from_json(each) for each in cast("list[Any]", data))
    match cast("dict[str, Any]", data):
        case {"float": str(text)}:
            return float(text)
        case {"route": str(text), "layers": int(layers)}:
            return Route.parse(text, layers)
        case {"list": values}:
            return list(map(from_json, values))
        case {"mapping": values}:
            return {key: from_json(each) for key, each in values.items()}
        case {"class": str(name), "fields": fields}:
            return made(_class(name), fields)
        case _:
            raise Unreadable(f"expected what a run keeps as JSON, got {data!r}")


def made(kind: type[Any], fields: Mapping[str, Any]) -> Any:
    """A dataclass of what `fields_to_json` gave.

    Args:
        kind: The class.
        fields: What it gave.

    Raises:
        Unreadable: The class has other fields.
    """
    expected = [field.name for field in dataclasses.fields(kind) if field.init]
    if set(expected) != set(fields):
        raise Unreadable(
            f"{kind.__name__} has the fields {', '.join(expected) or 'none'} here, and was kept with "
            f"{', '.join(fields) or 'none'}: use the version that computed the run"
        )
    return kind(**{name: from_json(value) for name, value in fields.items()})


def _mapping(value: Mapping[object, object]) -> dict[str, Any]:
    for key in value:
        if not isinstance(key, str):
            raise NotJsonable(f"cannot keep a mapping with the key {key!r} with a run: expected texts as keys")
    return {str(key): to_json(each) for key, each in value.items()}


def _class(name: str) -> type[Any]:
    """A dataclass by the name of its module and its own. Only mechpaint's own modules are imported for it."""
    module, _, qualified = name.partition(":")
    if module.partition(".")[0] == "mechpaint" and module not in sys.modules:
        try:
            importlib.import_module(module)
        except ImportError:
            raise Unreadable(f"there is no {name}: use the version of mechpaint that computed the run") from None
    found: Any = sys.modules.get(module)
    for part in qualified.split("."):
        found = getattr(found, part, None)
    if not (isinstance(found, type) and dataclasses.is_dataclass(found)):
        raise Unreadable(
            f"there is no dataclass {name}: load the plugin that it is from (--plugin FILE.py), and use the versions "
            "that computed the run"
        )
    return found
