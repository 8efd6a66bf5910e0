"""A run's report drawn anew from its cells: without its model, its tasks' data or the network."""

from __future__ import annotations

import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mechpaint.analysis import Analysis
from mechpaint.plugins import Registry
from mechpaint.report import write_report
from mechpaint.runs.account import ACCOUNT, Account, AccountError, schema_of
from mechpaint.runs.cells import Cells
from mechpaint.runs.damage import CellError, DamagedCell, IncompleteRun, MissingCell
from mechpaint.runs.finished import Finished
from mechpaint.runs.inventory import said

if TYPE_CHECKING:
    import pandas as pd

_NAMED = 5


@dataclass(frozen=True)
class Kept:
    """A run as it is on disk, whole.

    Attributes:
        folder: The run folder.
        command: How to run it again.
        account: What it says of itself.
        cells: The names of its cells, in order.
    """

    folder: Path
    command: str
    account: Account
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
        cells = Cells(self.folder, schema_of(self.account.analysis))
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
        AccountError: It is no run folder, one of an earlier mechpaint, or of an analysis that is not there.
    """
    plan = said(folder)
    if plan is None:
        raise AccountError(f"{folder} is no run folder, or of an earlier mechpaint: it has no plan.json to be read")
    try:
        text = (folder / ACCOUNT).read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise AccountError(
            f"the run {folder} has no {ACCOUNT} that can be read, as of an earlier mechpaint; its command writes one: "
            f"{plan.command}"
        ) from error
    return Kept(folder, plan.command, Account.read(text, analyses), plan.cells)


def rebuild(folder: Path, registry: Registry | None = None) -> Finished:
    """Draw a run's report anew: figures, tables, pages, and `results.parquet`.

    Args:
        folder: The run folder.
        registry: What there is; by default what mechpaint and installed plugins bring.

    Raises:
        AccountError: It is no run folder, one of an earlier mechpaint, or of an analysis that is not there.
        IncompleteRun: Cells are missing or damaged. Nothing was written.
        CannotWrite: The disk is full or cannot be written.
    """
    began = time.monotonic()
    found = kept(folder, known(registry).analyses)
    report = found.account.report(found.collect())
    page = write_report(report, folder, found.account.details, found.command)
    return Finished(folder, page, report, 0, time.monotonic() - began)


def known(registry: Registry | None) -> Registry:
    """A registry, or where none is given what mechpaint and installed plugins bring.

    Args:
        registry: What there is.
    """
    if registry is not None:
        return registry
    from mechpaint import discovery

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
