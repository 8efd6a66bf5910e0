"""`drawn.json`: what a run's report was drawn from, so that it is not drawn again where nothing has changed."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import mechpaint
from mechpaint.files import write_text

if TYPE_CHECKING:
    from mechpaint.report import Report
    from mechpaint.runs.report_inputs import ReportInputs

DRAWN = "drawn.json"
_FILES = ("results.parquet", "report.md", "report.html")
_FOLDERS = ("figures", "tables")
_DRAWS = ("jinja2", "matplotlib", "numpy", "pandas", "pyarrow")
"""Packages that have a part in what is drawn, besides mechpaint."""


@dataclass(frozen=True)
class Headline:
    """What the terminal tells of a report."""

    title: str
    highlights: tuple[tuple[str, str], ...]
    summary: tuple[str, ...]

    @classmethod
    def of(cls, report: Report) -> Headline:
        """Of a report that was just drawn."""
        return cls(report.title, tuple((name, value) for name, value in report.highlights), tuple(report.summary))


def write(folder: Path, basis: str, headline: Headline) -> None:
    """Write down what the files in a run folder were drawn from, and which they are."""
    content = {"basis": basis, "files": _files(folder), "headline": asdict(headline)}
    write_text(folder / DRAWN, json.dumps(content, indent=1) + "\n")


def headline(folder: Path, basis: str) -> Headline | None:
    """That of the report in a run folder; None if it would be drawn from something else, or a file was changed."""
    try:
        content: Any = json.loads((folder / DRAWN).read_text(encoding="utf-8"))
        if content["basis"] != basis or content["files"] != _files(folder):
            return None
        told = content["headline"]
        return Headline(told["title"], tuple(map(tuple, told["highlights"])), tuple(told["summary"]))
    except (OSError, ValueError, KeyError, TypeError):  # it was never written, or by someone else
        return None


def basis(folder: Path, cells: Mapping[str, str], inputs: ReportInputs, command: str) -> str | None:
    """A digest of all that a run's report depends on, code included; None if some code is not mechpaint's own."""
    drawing = [inputs.analysis, *(task.metric for task in inputs.tasks)]
    if any(type(part).__module__.partition(".")[0] != mechpaint.__name__ for part in drawing):
        return None
    depends = {
        "cells": {name: _digest(folder / "cells" / f"{name}.parquet") for name in cells},
        "inputs": inputs.serialized(),
        "command": command,
        "code": _code(),
        "packages": {name: version(name) for name in _DRAWS},
    }
    return hashlib.sha256(json.dumps(depends, sort_keys=True).encode()).hexdigest()


def _files(folder: Path) -> dict[str, str]:
    """The digests of the files that were drawn, by their places."""
    paths = [*(folder / name for name in _FILES), *(path for name in _FOLDERS for path in (folder / name).glob("*"))]
    return {path.relative_to(folder).as_posix(): _digest(path) for path in sorted(paths)}


@lru_cache(maxsize=1)
def _code() -> str:
    """A digest of mechpaint's own files, whatever its version says."""
    root = Path(mechpaint.__file__).parent
    digest = hashlib.sha256()
    for path in sorted(_sources(root)):
        digest.update(f"{path.relative_to(root).as_posix()} {_digest(path)}\n".encode())
    return digest.hexdigest()


def _sources(root: Path) -> Iterator[Path]:
    for folder, _, names in os.walk(root, followlinks=True):  # two packages are links in a checkout
        yield from (Path(folder, name) for name in names if not name.endswith((".pyc", ".pyo")))


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
