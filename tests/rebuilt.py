"""A run's report drawn anew is the report that it had, byte for byte."""

from __future__ import annotations

import shutil
from pathlib import Path

from mechpaint import plugins
from mechpaint.runs.run import Run

_DRAWN = ("figures", "tables", "report.md", "report.html", "results.parquet")


def check_rebuilt(folder: Path, elsewhere: Path, registry=None) -> None:
    """Draw the report of a run anew in another place, where there is none yet.

    Args:
        folder: The run folder.
        elsewhere: A folder that is not there.
        registry: What there is, if the analysis is not one of mechpaint's.
    """
    shutil.copytree(folder, elsewhere, ignore=shutil.ignore_patterns(*_DRAWN))
    assert not any((elsewhere / name).exists() for name in _DRAWN)
    drawn = Run.open(elsewhere, registry or plugins.built_in()).draw()
    assert (drawn.path, drawn.page, drawn.state) == (elsewhere, elsewhere / "report.html", "finished")
    assert _files(elsewhere) == _files(folder)


def _files(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
