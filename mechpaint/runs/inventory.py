"""Which runs there are in a folder, and how far each has come, as their files tell."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal, TypeAlias, cast

from mechpaint.errors import InputError
from mechpaint.runs.sealed import BrokenSeal, check

PLAN = "plan.json"
"""What a run folder says of what it is for: its model, its command and the names of its cells."""

State: TypeAlias = Literal["finished", "unfinished", "damaged", "unknown"]


class NoRuns(InputError):
    """There is no folder that runs could be in, or not the run in it that was named."""


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


@dataclass(frozen=True)
class Said:
    """What a run folder says of what it is for.

    Attributes:
        model: What its model is called; None if it has none.
        command: What it was last run by.
        cells: The names of all its cells, in order.
    """

    model: str | None
    command: str
    cells: tuple[str, ...]


def said(folder: Path) -> Said | None:
    """What `plan.json` says; None if there is none, or another file.

    Args:
        folder: The run folder.
    """
    try:
        found: Any = json.loads((folder / PLAN).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    if not isinstance(found, dict):
        return None
    plan = cast("dict[str, Any]", found)
    model, command, cells = (plan.get(name) for name in ("model", "command", "cells"))
    if not (isinstance(model, str | None) and isinstance(command, str) and isinstance(cells, list)):
        return None
    return Said(model, command, tuple(map(str, cast("list[Any]", cells))))


def find_run(named: str, out: Path) -> Path:
    """A run folder by its path, by that of a folder with no other run in it, or by the beginning of its fingerprint.

    Args:
        named: A path, or such as `ab12` or `painters/ab12`.
        out: The folder of all runs.

    Raises:
        NoRuns: There is no such run, or more than one.
    """
    if named and Path(named).is_dir():
        found = sorted(config.parent for config in Path(named).rglob("config.yaml"))
    else:
        runs = sorted(config.parent for config in out.glob("*/*/config.yaml"))
        known = {run: f"{run.parent.name}/{run.name}" if "/" in named else run.name for run in runs}
        found = [run for run, name in known.items() if named and name.startswith(named)]
    if len(found) == 1:
        return found[0]
    if found:
        listed = ", ".join(f"{run.parent.name}/{run.name}" for run in found)
        raise NoRuns(f"{named!r} may be any of {len(found)} runs: {listed}. Give more of its name")
    raise NoRuns(
        f"there is no run {named!r}: expected a run folder, or the beginning of the name of one in {str(out)!r} "
        "(--out); `mechpaint runs` shows what there is"
    )


def _kept(config: Path) -> KeptRun:
    folder = config.parent
    plan = said(folder)
    names = None if plan is None else plan.cells
    whole: list[str] = []
    damaged: list[str] = []
    for path in sorted((folder / "cells").glob("[!.]*.parquet")):
        if names is None or path.stem in names:
            (whole if _is_whole(path) else damaged).append(path.stem)
    return KeptRun(
        folder,
        plan and plan.model,
        plan and plan.command,
        datetime.fromtimestamp(config.stat().st_mtime).astimezone(),
        names,
        tuple(whole),
        tuple(damaged),
        (folder / "report.html").is_file(),
    )


def _is_whole(path: Path) -> bool:
    try:
        check(path.read_bytes())
    except (OSError, BrokenSeal):
        return False
    return True
