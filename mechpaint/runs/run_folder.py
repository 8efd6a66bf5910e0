"""The run folder: what an analysis leaves on disk, and takes up again.

    runs/<analysis>/<fingerprint>/
        config.yaml  env.json  routes.json      what was asked, with what, and the route of every hook set, if any
        plan.json                               the model's name, the command, and the names of all cells
        account.json                            what its report needs to know besides the records
        contents.json                           what each cell holds, by digests: what other runs may take over
        cells/*.parquet                         one a piece of work: items of a task, a round, a hook set, a trial
        results.parquet                         all of them, in the plan's order
        figures/*.{svg,png}  tables/*.csv  report.md  report.html

The fingerprint is of the configuration, the model's weights and the versions that matter. A cell has its name only
when it is complete, and holds the checksum of all its bytes (`mechpaint.runs.cells`), so running the same thing again
computes what is missing or damaged and nothing else. Several processes may run the same thing at the same time: each
writes to names of its own, and renames what is complete into place.
"""

from __future__ import annotations

import json
import platform
import shlex
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, cast

import yaml

from mechpaint.analysis import Analysis
from mechpaint.display.summary import Summarized, Summary
from mechpaint.errors import CellError, DamagedCell, IncompleteRun, MissingCell, RunError
from mechpaint.files import remove_leftovers, write_text
from mechpaint.plugins import Registry
from mechpaint.report import Report, Table, write_report
from mechpaint.runs.cells import BadChecksum, Cells, check
from mechpaint.runs.fingerprint import NO_PLUGINS, VERSIONS_THAT_MATTER, fingerprint, plain, plugin_versions, versions
from mechpaint.runs.manifest import MANIFEST, Manifest
from mechpaint.runs.plans.plan import Cell, Plan, Shard
from mechpaint.runs.reuse import CONTENTS, contents
from mechpaint.runs.schemas import schema_of

if TYPE_CHECKING:
    import pandas as pd


class RunFolder(Cells):
    """One run on disk. Nothing is written before `begin`.

    Args:
        out: The folder of all runs.
        analysis: The analysis's name.
        config: Everything that the results depend on, but for versions.
        schema: The pyarrow schema of its records.
        plugins: The versions of the plugins that it is of, by name.
    """

    def __init__(
        self, out: Path, analysis: str, config: dict[str, Any], schema: Any, plugins: Mapping[str, str] = NO_PLUGINS
    ) -> None:
        self.config = config
        self.versions = versions(plugins)
        super().__init__(out / analysis / fingerprint(config, plugins), schema)
        self._plugins = plugins

    @classmethod
    def of(cls, plan: Plan, out: Path) -> RunFolder:
        """The folder of a plan.

        Args:
            plan: What is run.
            out: The folder of all runs.
        """
        return cls(out, plan.analysis.name, plan.config(), plan.schema(), plugin_versions(plan.made_of()))

    def begin(self, manifest: Manifest, command: str, cells: Sequence[Cell]) -> None:
        """Make the folder, and write down what it is for. What a killed process left half written goes.

        Args:
            manifest: What its report needs besides the records.
            command: How to run it again.
            cells: All its cells, in order.

        Raises:
            NotJsonable: What a report needs is nothing that can be kept. Nothing was written.
        """
        model, told = manifest.model, manifest.text()
        plan: dict[str, Any] = {
            "model": None if model is None else model.name,
            "command": command,
            "cells": [cell.name for cell in cells],
        }
        remove_leftovers(self.path)
        write_text(self.path / "config.yaml", yaml.safe_dump(plain(self.config), sort_keys=False))
        write_text(self.path / "env.json", json.dumps(environment(self._plugins), indent=2) + "\n")
        write_text(self.path / PLAN, json.dumps(plan, indent=2) + "\n")
        write_text(self.path / MANIFEST, told)
        write_text(self.path / CONTENTS, contents(cells))
        if model is not None:
            routes = {label: str(route) for label, route in model.routes.items()}
            write_text(self.path / "routes.json", json.dumps(routes, indent=2) + "\n")


def environment(plugins: Mapping[str, str] = NO_PLUGINS) -> dict[str, Any]:
    """What the run is computed with."""
    import torch

    return {
        "versions": {name: version(name) for name in (*VERSIONS_THAT_MATTER, "datasets", "numpy")},
        "plugins": dict(plugins),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "threads": torch.get_num_threads(),
        "accelerator": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
    }


PLAN = "plan.json"
"""What a run folder says of what it is for: its model, its command and the names of its cells."""
State: TypeAlias = Literal["finished", "unfinished", "damaged", "unknown"]


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
        RunError: There is no such folder.
    """
    if not out.is_dir():
        raise RunError(f"there is no folder {str(out)!r}; expected the folder of all runs, given to analyses as --out")
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
        RunError: There is no such run, or more than one.
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
        raise RunError(f"{named!r} may be any of {len(found)} runs: {listed}. Give more of its name")
    raise RunError(
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
    except (OSError, BadChecksum):
        return False
    return True


_NAMED = 5


@dataclass(frozen=True)
class Kept:
    """A run as it is on disk, whole.

    Attributes:
        folder: The run folder.
        command: How to run it again.
        manifest: What it says of itself.
        cells: The names of its cells, in order.
    """

    folder: Path
    command: str
    manifest: Manifest
    cells: tuple[str, ...]

    def table(self) -> pd.DataFrame:
        """All records.

        Raises:
            IncompleteRun: Cells are missing or damaged.
        """
        with self._whole() as cells:
            return cells.joined(self.cells).to_pandas()

    def collect(self) -> pd.DataFrame:
        """All records, also written to `results.parquet`.

        Raises:
            IncompleteRun: Cells are missing or damaged. Nothing was written.
        """
        with self._whole() as cells:
            return cells.collect(self.cells)

    @contextmanager
    def _whole(self) -> Generator[Cells]:
        cells = Cells(self.folder, schema_of(self.manifest.analysis))
        try:
            yield cells
        except CellError as error:
            raise IncompleteRun(_lacking(self, cells)) from error


def kept(folder: Path, analyses: Mapping[str, type[Analysis]]) -> Kept:
    """What a run folder has.

    Args:
        folder: The run folder.
        analyses: The analyses there are, by name.

    Raises:
        RunError: It is no run folder, one of an earlier mechpaint, or of an analysis that is not there.
    """
    plan = said(folder)
    if plan is None:
        raise RunError(f"{folder} is no run folder, or of an earlier mechpaint: it has no plan.json to be read")
    try:
        text = (folder / MANIFEST).read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise RunError(
            f"the run {folder} has no {MANIFEST} that can be read, as of an earlier mechpaint; its command writes one: "
            f"{plan.command}"
        ) from error
    return Kept(folder, plan.command, Manifest.read(text, analyses), plan.cells)


def rebuild(folder: Path, registry: Registry | None = None) -> Finished:
    """Draw a run's report anew: figures, tables, pages, and `results.parquet`.

    Args:
        folder: The run folder.
        registry: What there is; by default what mechpaint and installed plugins bring.

    Raises:
        RunError: It is no run folder, one of an earlier mechpaint, or of an analysis that is not there.
        IncompleteRun: Cells are missing or damaged. Nothing was written.
        CannotWrite: The disk is full or cannot be written.
    """
    began = time.monotonic()
    found = kept(folder, known(registry).analyses)
    report = found.manifest.report(found.collect())
    page = write_report(report, folder, found.manifest.details, found.command)
    return Finished(folder, page, report, 0, time.monotonic() - began)


def known(registry: Registry | None) -> Registry:
    """A registry, or where none is given what mechpaint and installed plugins bring.

    Args:
        registry: What there is.
    """
    if registry is not None:
        return registry
    from mechpaint import plugins as discovery

    return discovery.registry()


def _lacking(run: Kept, cells: Cells) -> str:
    """What is missing or damaged, and what to do."""
    found: dict[str, list[str]] = {"missing": [], "damaged": []}
    for name in run.cells:
        try:
            cells.read(name)
        except MissingCell:
            found["missing"].append(name)
        except DamagedCell:
            found["damaged"].append(name)
    parts = [f"{len(names)} {how} ({_listed(names)})" for how, names in found.items() if names]
    return (
        f"the run {run.folder} is not complete: of its {len(run.cells)} cells {' and '.join(parts)}. This computes "
        f"them: {run.command}"
    )


def _listed(names: list[str]) -> str:
    return ", ".join(names[:_NAMED]) + (", …" if len(names) > _NAMED else "")


@dataclass(frozen=True)
class ReuseStats:
    """What was taken over from other runs.

    Attributes:
        cells: How many cells were taken over whole.
        in_part: Of how many more a part was.
        runs: From which runs, such as `painters/ab12…`.
    """

    cells: int = 0
    in_part: int = 0
    runs: tuple[str, ...] = ()

    @classmethod
    def all_of(cls, parts: Sequence[ReuseStats]) -> ReuseStats:
        """What was taken over in several parts.

        Args:
            parts: The parts, such as one a cell.
        """
        runs = sorted({run for part in parts for run in part.runs})
        return cls(sum(part.cells for part in parts), sum(part.in_part for part in parts), tuple(runs))


@dataclass(frozen=True)
class Finished(Summarized):
    """A run that is done.

    Attributes:
        folder: The run folder.
        page: The page in it.
        report: What the page says.
        computed: How many cells were computed now, whole or in part; the others were there, were taken over, or another
            process was faster.
        seconds: How long that took.
        taken: What was taken over.
    """

    folder: Path
    page: Path
    report: Report
    computed: int
    seconds: float
    taken: ReuseStats = ReuseStats()

    @property
    def done(self) -> str:
        """In words, what was computed now, and what was taken over."""
        return _done(self.computed, self.seconds, self.taken)

    def _summary(self) -> Summary:
        table = next((section for section in self.report.sections if isinstance(section, Table)), None)
        facts = [
            *(("", paragraph) for paragraph in self.report.summary),
            ("done", self.done),
            ("report", str(self.page)),
        ]
        return Summary(self.report.title, facts, table.columns if table else (), table.rows if table else ())


@dataclass(frozen=True)
class Unfinished(Summarized):
    """A run of which a share was computed, and other cells are still missing. It has no report yet.

    Attributes:
        folder: The run folder.
        shard: Which share was computed.
        cells: How many cells the whole run has.
        missing: How many of them are missing or damaged.
        computed: How many cells were computed now, whole or in part.
        seconds: How long that took.
        taken: What was taken over.
    """

    folder: Path
    shard: Shard
    cells: int
    missing: int
    computed: int
    seconds: float
    taken: ReuseStats = ReuseStats()

    @property
    def done(self) -> str:
        """In words, what was computed now, and what was taken over."""
        return _done(self.computed, self.seconds, self.taken)

    @property
    def left(self) -> str:
        """In words, what is still missing, and what draws the report when it is there."""
        return (
            f"of the run's {self.cells} cells {self.missing} are still missing: other shards, or the command without "
            f"--shard, compute them. When all are there: mechpaint report {shlex.quote(str(self.folder))}"
        )

    def _summary(self) -> Summary:
        return Summary(f"Shard {self.shard}", [("done", self.done), ("left", self.left)], (), ())


def _done(computed: int, seconds: float, taken: ReuseStats) -> str:
    runs = ", ".join(taken.runs)
    told = f"{computed} cells computed in {seconds:.0f} s"
    if taken.in_part:
        told += f", of {taken.in_part} only what is new"
    if not computed:
        return f"{taken.cells} cells taken over from {runs}" if taken.cells else "all was computed before"
    if not runs:
        return told
    return f"{told}; {f'{taken.cells} ' if taken.cells else ''}taken over from {runs}"
