"""Atomic writes: files and folders that are either whole or not there."""

from __future__ import annotations

import errno
import os
import tempfile
import uuid
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path

from mechpaint.errors import CannotWrite

_SCRATCH = ".unfinished-"
"""The prefix of temporary names, which are unique across processes."""


@contextmanager
def written(path: Path) -> Generator[Path]:
    """A temporary file that becomes `path` when the block succeeds; on CannotWrite nothing is left."""
    scratch: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with _scratch(path) as scratch:
            yield scratch
            with scratch.open("rb+") as file:
                os.fsync(file.fileno())
            scratch.replace(path)
    except OSError as error:
        raise CannotWrite(f"cannot write {path}: {_reason(error)}. What was done before is kept") from error
    finally:
        if scratch is not None:
            scratch.unlink(missing_ok=True)


@contextmanager
def _scratch(path: Path) -> Generator[Path]:
    """A new file beside `path`, with the mode that the umask gives, locked for as long as this process writes it."""
    while True:
        scratch = path.with_name(f"{_SCRATCH}{uuid.uuid4().hex}{path.suffix}")
        handle = os.open(scratch, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
        try:
            _lock(handle)
            if scratch.exists():  # nobody took it for a leftover before it was locked
                yield scratch
                return
        finally:
            os.close(handle)


def _lock(handle: int, wait: bool = True) -> bool:
    """Lock a file for this process, and tell whether that worked; where there are no such locks it never does."""
    try:
        import fcntl
    except ImportError:  # Windows
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except OSError:  # another process holds it, or the file system has no locks
        return False
    return True


@contextmanager
def written_folder(path: Path) -> Generator[Path]:
    """A temporary folder that becomes `path`, which is free or an empty folder; on CannotWrite nothing is left."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=".") as outer:
            scratch = Path(outer) / "scratch"
            scratch.mkdir()
            mode = scratch.stat().st_mode & 0o666  # some libraries make files that only their owner can read
            yield scratch
            for file in filter(Path.is_file, scratch.rglob("*")):
                with file.open("rb+") as open_file:
                    os.fsync(open_file.fileno())
                file.chmod(mode)
            if path.exists():
                path.rmdir()
            scratch.rename(path)
    except OSError as error:
        raise CannotWrite(f"cannot write {path}: {_reason(error)}. Nothing was left there") from error


def write_text(path: Path, text: str) -> None:
    """Write a text file atomically."""
    with written(path) as scratch:
        scratch.write_text(text, encoding="utf-8")


def is_folder(path: Path) -> bool:
    """Tell whether a folder is there; what is too long for a name, or has a NUL, is none."""
    try:
        return path.is_dir()
    except (OSError, ValueError):
        return False


def is_file(path: Path) -> bool:
    """The same for a file."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def remove_leftovers(folder: Path) -> None:
    """Remove the temporary files that killed processes left in a folder and its subfolders: those nobody has locked."""
    for scratch in folder.rglob(f"{_SCRATCH}*") if is_folder(folder) else ():
        with suppress(OSError):  # removed by another process, or not ours to remove
            handle = os.open(scratch, os.O_RDWR)
            try:
                if _lock(handle, wait=False):
                    scratch.unlink()
            finally:
                os.close(handle)


def _reason(error: OSError) -> str:
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return "no space left; free some, or choose another place with --out"
    return error.strerror or str(error)
