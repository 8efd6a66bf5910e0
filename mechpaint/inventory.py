"""Which runs there are in a folder, and how far each has come, as their files tell."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal, TypeAlias, cast

from mechpaint.errors import InputError
from mechpaint.sealed import BrokenSeal, check

PLAN = "plan.json"
"""What a run folder says of what it is for: its model, its command and the names of its cells."""

State: TypeAlias = Literal["finished", "unfinished", "damaged", "unknown"]


class NoRuns(InputError):
    """There is no folder that runs could be in."""


@dataclass(frozen=True)
class KeptRun:
    """A run on disk.

    Args:
        folder: Where.
        model: What its model is called; None if it has none, or if that is not known.
        command: What it was last run by; None if that is not known.
        when: When that was: the time of its `config.yaml`.
        cells: The names of all its cells; None if they are not known, as of runs of an earlier mechpaint.
        whole: The names of the cells that are there and whole.
        damaged: The names of the cells that are there and are not.
        reported: Whether there is a report.
    """

    folder: Path
    model: str | None
    command: str | None
    when: datetime
    cells: tuple[str, ...] | None
    whole: tuple[str, ...]
    damaged: tuple[str, ...]
    reported: bool

    @property
    def analysis(self) -> str:
        """The analysis's name."""
        return self.folder.parent.name

    @property
    def state(self) -> State:
        """In a word: damaged cells are computed again by its command, which also goes on with an unfinished run."""
        if self.cells is None:
            return "unknown"
        if self.damaged:
            return "damaged"
        return "finished" if self.reported and len(self.whole) == len(self.cells) else "unfinished"


def kept_runs(out: Path) -> list[KeptRun]:
    """All runs in a folder, by analysis and then by time.

    Args:
        out: The folder of all runs: what `--out` was.

    Raises:
        NoRuns: There is no such folder.
    """
    if not out.is_dir():
        raise NoRuns(f"there is no folder {str(out)!r}; expected the folder of all runs, which analyses take as --out")
    runs = [_kept(config) for config in out.glob("*/*/config.yaml")]
    return sorted(runs, key=lambda run: (run.analysis, run.when, run.folder))


def _kept(config: Path) -> KeptRun:
    folder = config.parent
    said = _said(folder / PLAN)
    names = None if said is None else said.cells
    whole: list[str] = []
    damaged: list[str] = []
    for path in sorted((folder / "cells").glob("[!.]*.parquet")):
        if names is None or path.stem in names:
            (whole if _is_whole(path) else damaged).append(path.stem)
    return KeptRun(
        folder,
        said and said.model,
        said and said.command,
        datetime.fromtimestamp(config.stat().st_mtime).astimezone(),
        names,
        tuple(whole),
        tuple(damaged),
        (folder / "report.html").is_file(),
    )


@dataclass(frozen=True)
class _Said:
    """What `plan.json` says."""

    model: str | None
    command: str
    cells: tuple[str, ...]


def _said(path: Path) -> _Said | None:
    """What the file says; None if there is none, or another one."""
    try:
        found: Any = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    if not isinstance(found, dict):
        return None
    said = cast("dict[str, Any]", found)
    model, command, cells = (said.get(name) for name in ("model", "command", "cells"))
    if not (isinstance(model, str | None) and isinstance(command, str) and isinstance(cells, list)):
        return None
    return _Said(model, command, tuple(map(str, cast("list[Any]", cells))))


def _is_whole(path: Path) -> bool:
    try:
        check(path.read_bytes())
    except (OSError, BrokenSeal):
        return False
    return True
