"""Where plugins come from: entry points of installed packages, and files. Finding them imports nothing of theirs."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn

import mechpaint
from mechpaint.errors import InputError

GROUP = "mechpaint.plugins"
"""The entry points that name plugins."""

DIGEST = "__mechpaint_sha256__"
"""What a module that was made of a file has the SHA-256 of that file under, as it was then."""

_UNKNOWN = "unknown"


class PluginError(InputError):
    """A plugin that was asked for and cannot be had: no such file, or something is wrong in it."""


@dataclass(frozen=True)
class Package:
    """An installed distribution.

    Args:
        name: Its name.
        version: Its version.
        requires: What it depends on, as its metadata says: `mechpaint<0.2,>=0.1`.
    """

    name: str
    version: str
    requires: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.name} {self.version}"

    def mismatch(self) -> str:
        """What it requires of mechpaint, if this is not that; otherwise nothing.

        Raises:
            InvalidRequirement: Its metadata is malformed.
        """
        from packaging.requirements import Requirement
        from packaging.utils import canonicalize_name

        for text in self.requires:
            wanted = Requirement(text)
            applies = wanted.marker is None or wanted.marker.evaluate({"extra": ""})
            meant = canonicalize_name(wanted.name) == "mechpaint" and applies
            if meant and not wanted.specifier.contains(mechpaint.__version__, prereleases=True):
                return f"it requires mechpaint{wanted.specifier}, and this is mechpaint {mechpaint.__version__}"
        return ""


@dataclass(frozen=True)
class Source:
    """Where a plugin comes from.

    Args:
        name: The entry point's name, or the file's.
        place: What the entry point names, `module` or `module:object`; or the file's path as it was given.
        module: The top-level module or package that it is.
        package: What brings the entry point; None for a file.
        load: Imports it, and gives what has the function `register`. It raises whatever the plugin does.
    """

    name: str
    place: str
    module: str
    package: Package | None
    load: Callable[[], Any]

    def __str__(self) -> str:
        return f"{self.place} of {self.package}" if self.package else self.place


def installed() -> list[Source]:
    """The plugins of installed packages, ordered by name and package, however they were installed."""
    found = [source for distribution in _distributions() for source in _entry_points(distribution)]
    return sorted(found, key=lambda source: (source.name, source.package.name if source.package else ""))


def from_file(path: str | Path) -> Source:
    """The plugin in a file. However its path is written, it is the same module."""
    real = Path(os.path.realpath(path))
    digest = hashlib.sha256(os.fsencode(real)).hexdigest()[:8]
    module = f"mechpaint_plugin_{re.sub(r'[^0-9A-Za-z_]', '_', real.stem)}_{digest}"
    return Source(Path(path).name, str(path), module, None, partial(_import, Path(path), module))


def _distributions() -> Iterator[metadata.Distribution]:
    """Those that may have plugins. Of two with the same name the one that Python would import."""
    from packaging.utils import canonicalize_name

    seen: set[str] = set()
    for distribution in filter(_mentions_plugins, metadata.distributions()):
        name = canonicalize_name(_field(distribution, "Name"))
        if name == _UNKNOWN:
            yield distribution
        elif name not in seen:
            yield next(iter(metadata.distributions(name=name)), distribution)
        seen.add(name)


def _mentions_plugins(distribution: metadata.Distribution) -> bool:
    try:
        return GROUP in (distribution.read_text("entry_points.txt") or "")
    except (OSError, ValueError):  # not a plugin's matter: pip says more of it
        return False


def _field(distribution: metadata.Distribution, name: str) -> str:
    """A field of its metadata, which may be damaged."""
    try:
        return str(distribution.metadata[name] or _UNKNOWN)
    except Exception:  # what importlib.metadata makes of that differs by version
        return _UNKNOWN


def _entry_points(distribution: metadata.Distribution) -> list[Source]:
    name, version = _field(distribution, "Name"), _field(distribution, "Version")
    try:
        package = Package(name, version, tuple(distribution.requires or ()))
        points = [point for point in distribution.entry_points if point.group == GROUP]
    except Exception as error:  # as above
        return [Source(name, "entry_points.txt", "", Package(name, version, ()), partial(_unreadable, error))]
    return [Source(p.name, p.value, re.split(r"[.:\s]", p.value)[0], package, p.load) for p in points]


def _unreadable(error: Exception) -> NoReturn:
    raise PluginError(f"its metadata cannot be read ({error}); install it again") from error


def _import(path: Path, name: str) -> ModuleType:
    if not path.is_file() or path.suffix != ".py":
        there = "no Python file (.py)" if path.exists() else "not there"
        raise PluginError(f"{str(path)!r} is {there}; expected a Python file with a function register(registry)")
    spec = importlib.util.spec_from_file_location(name, path.resolve())
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    setattr(module, DIGEST, hashlib.sha256(path.read_bytes()).hexdigest())
    sys.modules[name] = module  # where dataclasses look annotations up
    try:
        spec.loader.exec_module(module)
    except BaseException:
        sys.modules.pop(name, None)
        raise
    return module
