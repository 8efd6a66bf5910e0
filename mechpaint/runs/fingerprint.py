"""Versions that results depend on, and digests of them with what was asked for."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Iterable, Mapping
from importlib.metadata import version
from pathlib import Path
from types import MappingProxyType
from typing import Any, cast

from mechpaint.plugins import DIGEST, installed

VERSIONS_THAT_MATTER = ("mechpaint", "torch", "transformers", "transformer-lens")
NO_PLUGINS: Mapping[str, str] = MappingProxyType({})


def fingerprint(config: dict[str, Any], plugins: Mapping[str, str] = NO_PLUGINS) -> str:
    """Sixteen hexadecimal digits of a SHA-256 of a configuration and the versions that matter."""
    return digest(config, versions(plugins))


def digest(config: dict[str, Any], computed_with: Mapping[str, str]) -> str:
    """The same where the versions are known already: finding them takes longer than the rest."""
    text = json.dumps([plain(config), computed_with], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def versions(plugins: Mapping[str, str] = NO_PLUGINS) -> dict[str, str]:
    """The versions that results depend on."""
    return {**{name: version(name) for name in VERSIONS_THAT_MATTER}, **plugins}


def plain(value: Any) -> Any:
    """Tuples as lists: the way YAML and JSON give them back."""
    if isinstance(value, dict):
        return {str(k): plain(v) for k, v in cast(dict[Any, Any], value).items()}
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in cast(list[Any], value)]
    return value


def plugin_versions(things: Iterable[object]) -> dict[str, str]:
    """The plugins that define these analyses, tasks and hook sets: a package's version, a file's SHA-256."""
    modules = sorted({type(thing).__module__ for thing in things} - {"builtins"})
    others = [module for module in modules if module.partition(".")[0] not in ("mechpaint", "__main__")]
    plugins = {plugin.module: plugin for plugin in installed()} if others else {}
    named: dict[str, str] = {}
    for module in others:
        plugin = plugins.get(module.partition(".")[0])
        if plugin is not None:
            named[str(plugin.package)] = str(plugin.version)
        elif (digest := getattr(sys.modules.get(module), DIGEST, None)) is not None:
            name = Path(str(sys.modules[module].__file__)).name
            before = f"{named[name]}, " if name in named else ""  # two files of one name
            named[name] = f"{before}SHA-256 {digest[:16]}"
    return named
