"""Atomic writes: files and folders that are either whole or not there."""

from __future__ import annotations

import errno
import os
import tempfile
import time
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path

from mechpaint.errors import CannotWrite

_SCRATCH = ".unfinished-"
"""The prefix of temporary names, which are unique across processes."""
_MIN_AGE = 3600  # seconds: a younger file may belong to a process that is writing it


@contextmanager
def written(path: Path) -> Generator[Path]:
    """A temporary file that becomes `path` when the block succeeds; on CannotWrite nothing is left."""
    scratch: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=_SCRATCH, suffix=path.suffix)
        os.close(handle)
        scratch = Path(name)
        yield scratch
        with scratch.open("rb+") as file:
            os.fsync(file.fileno())
        scratch.chmod(0o644)
        scratch.replace(path)
    except OSError as error:
        raise CannotWrite(f"cannot write {path}: {_reason(error)}. What was done before is kept") from error
    finally:
        if scratch is not None:
            scratch.unlink(missing_ok=True)


@contextmanager
def written_folder(path: Path) -> Generator[Path]:
    """A temporary folder that becomes `path`, which is free or an empty folder; on CannotWrite nothing is left."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=".") as outer:
            scratch = Path(outer) / "scratch"
            scratch.mkdir()
            yield scratch
            for file in filter(Path.is_file, scratch.rglob("*")):
                with file.open("rb+") as open_file:
                    os.fsync(open_file.fileno())
                file.chmod(0o644)
            if path.exists():
                path.rmdir()
            scratch.rename(path)
    except OSError as error:
        raise CannotWrite(f"cannot write {path}: {_reason(error)}. Nothing was left there") from error


def write_text(path: Path, text: str) -> None:
    """Write a text file atomically."""
    with written(path) as scratch:
        scratch.write_text(text, encoding="utf-8")


def remove_leftovers(folder: Path) -> None:
    """Remove the temporary files that killed processes left in a folder and its subfolders."""
    for scratch in folder.rglob(f"{_SCRATCH}*"):
        with suppress(OSError):  # removed by another process, or not ours to remove
            if scratch.is_file() and time.time() - scratch.stat().st_mtime > _MIN_AGE:
                scratch.unlink()


def _reason(error: OSError) -> str:
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return "no space left; free some, or choose another place with --out"
    return error.strerror or str(error)
