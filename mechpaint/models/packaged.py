"""Models that come as Python packages, without a model hub: found, checked, converted once into the user's cache."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import platformdirs

from mechpaint.errors import WeightsError


def cache_folder() -> Path:
    """Where converted models are kept: `$MECHPAINT_CACHE`, or the user's cache folder."""
    return Path(os.environ.get("MECHPAINT_CACHE") or platformdirs.user_cache_dir("mechpaint"))


def packaged_file(package: str, name: str, sha256: str, install: str) -> Path:
    """A file of an installed package whose code is not run, its content checked."""
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise WeightsError(f"the package {package} is not installed: {install}")
    path = Path(next(iter(spec.submodule_search_locations))) / name
    if not path.is_file():
        raise WeightsError(f"the package {package} that is installed has no file {name}: {install}")
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if digest != sha256:
        raise WeightsError(
            f"the file {name} of the package {package} is damaged or of another version: expected SHA-256 {sha256}, "
            f"got {digest}; reinstall it with {install} --force-reinstall"
        )
    return path


def converted(name: str, convert: Callable[[Path], None]) -> Path:
    """The folder of a converted model in the cache, made on first use, whole or not at all."""
    folder = cache_folder() / name
    if folder.exists():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".") as scratch:
        made = Path(scratch) / "converted"
        made.mkdir()
        convert(made)
        try:
            made.rename(folder)
        except OSError:  # another process was faster
            if not folder.exists():
                raise
    return folder
