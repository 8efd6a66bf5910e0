"""Files and folders that are either whole or not there."""

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
"""How temporary names begin; the rest of each is free when it is taken, by whichever process."""
_SECONDS_LEFT_ALONE = 3600


@contextmanager
def written(path: Path) -> Generator[Path]:
    """A temporary name to write to, which becomes `path` when the block ends without an exception.

    Raises:
        CannotWrite: The disk is full, or the place cannot be written. Nothing is left behind.
    """
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
    """A temporary folder to write to, which becomes `path` when the block ends without an exception.

    Args:
        path: A name that is free, or that of an empty folder.

    Raises:
        CannotWrite: The disk is full, or the place cannot be written. Nothing is left behind.
    """
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
    """Write a text file, whole or not at all."""
    with written(path) as scratch:
        scratch.write_text(text, encoding="utf-8")


def remove_leftovers(folder: Path) -> None:
    """Remove temporary files in a folder, and in those in it, that nobody has written to for an hour.

    A process that is killed leaves one. Younger ones may be another process's that is writing now.

    Args:
        folder: Where; it need not be there.
    """
    for scratch in folder.rglob(f"{_SCRATCH}*"):
        with suppress(OSError):  # another process has removed it, or it is not ours to remove
            if scratch.is_file() and time.time() - scratch.stat().st_mtime > _SECONDS_LEFT_ALONE:
                scratch.unlink()


def _reason(error: OSError) -> str:
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return "no space left; free some, or choose another place with --out"
    return error.strerror or str(error)
