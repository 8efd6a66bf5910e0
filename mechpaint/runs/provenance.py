"""Which plugins a run depends on, and which versions of them."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path

from mechpaint.sources import DIGEST, installed


def plugin_versions(things: Iterable[object]) -> dict[str, str]:
    """The plugins that the classes of these analyses, tasks and hook sets are from; nothing for mechpaint's own.

    Returns:
        From each distribution's name to its version, and from each plugin file's name to the beginning of its
        SHA-256: a file that was edited is another version.
    """
    modules = sorted({type(thing).__module__ for thing in things} - {"builtins"})
    others = [module for module in modules if module.partition(".")[0] not in ("mechpaint", "__main__")]
    if not others:
        return {}
    packages = {source.module: source.package for source in installed()}
    found: dict[str, str] = {}
    for module in others:
        package = packages.get(module.partition(".")[0])
        if package is not None:
            found[package.name] = package.version
        elif (digest := getattr(sys.modules.get(module), DIGEST, None)) is not None:
            name = Path(str(sys.modules[module].__file__)).name
            others_of_name = [found[name]] if name in found else []
            found[name] = ", ".join([*others_of_name, f"SHA-256 {digest[:16]}"])
    return found
