"""How the settings of several runs differ, as their `config.yaml` and `env.json` say."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, cast

import yaml

from mechpaint.comparing.sides import Side
from mechpaint.report import Table

_LONGEST = 60


def unlike_settings(sides: Sequence[Side]) -> list[Table]:
    """A table of the settings and versions that differ; none if all are the same.

    Args:
        sides: The runs.
    """
    told = [_told(side.run.folder) for side in sides]
    names = dict.fromkeys(name for each in told for name in each)
    rows = [
        (name, *(each.get(name, "–") for each in told)) for name in names if len({each.get(name) for each in told}) > 1
    ]
    if not rows:
        return []
    caption = "What was asked for otherwise, and what it was computed with."
    return [Table("settings", "Settings that differ", caption, ("setting", *(side.name for side in sides)), rows)]


def _told(folder: Path) -> dict[str, str]:
    """Every setting by its path, and every version."""
    config: Any = yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8"))
    env: Any = json.loads((folder / "env.json").read_text(encoding="utf-8"))
    return {name: _short(value) for name, value in (*_flat("", config), *_flat("", env))}


def _flat(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    inside: list[tuple[str, Any]] = []
    if isinstance(value, dict):
        inside = [(str(key), each) for key, each in cast("dict[Any, Any]", value).items()]
    elif isinstance(value, list) and any(isinstance(each, dict) for each in cast("list[Any]", value)):
        inside = [(str(place + 1), each) for place, each in enumerate(cast("list[Any]", value))]
    if not inside:
        yield name, value
    for key, each in inside:
        yield from _flat(f"{name} {key}".strip(), each)


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
