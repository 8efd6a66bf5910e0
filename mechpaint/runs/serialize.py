"""Dataclasses as JSON, and back: what a report is drawn from, kept without pickle.

Metrics, routes and settings are an open set of classes, plugins' included, so each is kept with its class's name.
"""

from __future__ import annotations

import dataclasses
import importlib
import math
import sys
from collections.abc import Mapping
from typing import Any, cast

from mechpaint.routes.route import Route


class NotSerializable(TypeError):
    """A value that JSON cannot hold so that it can be made again."""


class Unreadable(ValueError):
    """JSON that no value can be made of: in what way."""


def serialize(value: object) -> Any:
    """Turn numbers, texts, routes, dataclasses, and tuples, lists or mappings of these into what `json.dumps` takes."""
    match value:
        case None | bool() | int() | str():
            return value
        case float():
            return float(value) if math.isfinite(value) else {"float": str(float(value))}
        case Route():
            return {"route": str(value), "layers": value.n_layers}
        case tuple():
            return [serialize(each) for each in cast("tuple[object, ...]", value)]
        case list():
            return {"list": [serialize(each) for each in cast("list[object]", value)]}
        case Mapping():
            return {"mapping": _mapping(cast("Mapping[object, object]", value))}
        case _ if dataclasses.is_dataclass(value) and not isinstance(value, type):
            kind = type(value)
            return {"class": f"{kind.__module__}:{kind.__qualname__}", "fields": fields_of(value)}
        case _:
            raise NotSerializable(
                f"cannot keep {value!r} with a run: expected numbers, texts, routes, frozen dataclasses, and tuples, "
                "lists or mappings of these"
            )


def fields_of(value: Any) -> dict[str, Any]:
    """The fields of a dataclass by name, serialized."""
    return {field.name: serialize(getattr(value, field.name)) for field in dataclasses.fields(value) if field.init}


def deserialize(data: Any) -> Any:
    """Make the value again that was serialized."""
    if data is None or isinstance(data, bool | int | float | str):
        return data
    if isinstance(data, list):
        return tuple(deserialize(each) for each in cast("list[Any]", data))
    match cast("dict[str, Any]", data):
        case {"float": str(text)}:
            return float(text)
        case {"route": str(text), "layers": int(layers)}:
            return Route.parse(text, layers)
        case {"list": values}:
            return list(map(deserialize, values))
        case {"mapping": values}:
            return {key: deserialize(each) for key, each in values.items()}
        case {"class": str(name), "fields": fields}:
            return from_fields(_class(name), fields)
        case _:
            raise Unreadable(f"expected a serialized value, got {data!r}")


def from_fields(kind: type[Any], fields: Mapping[str, Any]) -> Any:
    """Make a dataclass of its serialized fields."""
    expected = [field.name for field in dataclasses.fields(kind) if field.init]
    if set(expected) != set(fields):
        raise Unreadable(
            f"{kind.__name__} has the fields {', '.join(expected) or 'none'} here, and was kept with "
            f"{', '.join(fields) or 'none'}: use the version that computed the run"
        )
    return kind(**{name: deserialize(value) for name, value in fields.items()})


def _mapping(value: Mapping[object, object]) -> dict[str, Any]:
    for key in value:
        if not isinstance(key, str):
            raise NotSerializable(f"cannot keep a mapping with the key {key!r} with a run: expected texts as keys")
    return {str(key): serialize(each) for key, each in value.items()}


def _class(name: str) -> type[Any]:
    """A dataclass by its module and name. Only mechpaint's own modules are imported for it."""
    module, _, qualified = name.partition(":")
    if module.partition(".")[0] == "mechpaint" and module not in sys.modules:
        try:
            importlib.import_module(module)
        except ImportError:
            raise Unreadable(f"there is no {name}: use the version of mechpaint that computed the run") from None
    kind: Any = sys.modules.get(module)
    for part in qualified.split("."):
        kind = getattr(kind, part, None)
    if not (isinstance(kind, type) and dataclasses.is_dataclass(kind)):
        raise Unreadable(
            f"there is no dataclass {name}: load the plugin that it is from (--plugin FILE.py), and use the versions "
            "that computed the run"
        )
    return kind
