"""Plans: what a run will do, made before anything is computed or written.

Each kind of analysis has a plan in a file of its own (`scored`, `searched`, `measured`, `experiment`). A plan cuts the
work into cells, and says all that `mechpaint.runs.execute` needs to compute, keep and show them.
"""

from __future__ import annotations

import os
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from mechpaint.analysis import Analysis
from mechpaint.errors import RunError
from mechpaint.runs.cells import Cells
from mechpaint.runs.fingerprint import fingerprint, plugin_versions
from mechpaint.runs.report_inputs import ReportInputs
from mechpaint.runs.schemas import schema_of
from mechpaint.statistics.results import Advance, Record

if TYPE_CHECKING:
    import pandas as pd

    from mechpaint.report import Report
    from mechpaint.routes.route import Route


@dataclass(frozen=True)
class Cell:
    """A piece of work whose records are kept in a file of their own.

    Args:
        name: The file's name without an ending.
        label: What it is, for the progress bar.
        ticks: How much work it is, in the ticks that it advances by.
        basis: A digest of all that its records depend on. Cells of other runs with the same one hold the same.
        compute: Gives its records, the same at every call, and advances as it goes.
        rows: How many records these are; None if that is not known before.
        tick_cost: About how much a tick costs, in a unit that all cells of the run share.
    """

    name: str
    label: str
    ticks: int
    basis: str
    compute: Callable[[Advance], Iterable[Record]]
    rows: int | None = None
    tick_cost: float = 1.0


@dataclass(frozen=True, kw_only=True)
class ItemsCell(Cell):
    """A cell with a record for each of some items under each of some routes, which no other item or route changes.

    Args:
        items: From the items' names to digests of what is in them.
        routes: The routes.
        complete: Gives all its records, in the order of items and then of routes, out of those that are known, and
            advances as it goes. Which items and routes these have is all that it looks at.
    """

    items: Mapping[str, str]
    routes: Sequence[str]
    complete: Callable[[Advance, Sequence[Record]], Iterable[Record]]


@dataclass(frozen=True, kw_only=True)
class DependentCell(Cell):
    """A cell whose inputs are earlier cells' results.

    Args:
        after: The names of those cells, which come before it in the plan.
        follow: Gives its records, out of those of the cells before it, in one table, and of those that other runs hold
            of it, and advances as it goes.
    """

    after: tuple[str, ...]
    follow: Callable[[Advance, pd.DataFrame, Sequence[Record]], Iterable[Record]]
    compute: Callable[[Advance], Iterable[Record]] = field(init=False, default_factory=lambda: _by_itself)


def _by_itself(advance: Advance) -> Iterable[Record]:
    raise TypeError("a cell that follows others cannot be computed by itself; expected `follow` to be called")


Left: TypeAlias = Mapping[str, Sequence[Record]]
"""The names of the cells that are to be computed, and the records of each that are known. Without it, all are."""


@dataclass(frozen=True)
class Plan(ABC):
    """The work of a run, cut into cells.

    Attributes:
        analysis: What is run.
    """

    analysis: Analysis

    @abstractmethod
    def config(self) -> dict[str, Any]:
        """Everything that the results depend on, but for versions: what the run is known by."""

    def schema(self) -> Any:
        """The pyarrow schema of the records."""
        return schema_of(self.analysis)

    @abstractmethod
    def cells(self) -> Sequence[Cell]:
        """The pieces in which it is computed and kept, in the order of the results."""

    def stored_cells(self, out: Path) -> Cells:
        """The cells on disk, in the run folder that the plan has in `out`. Nothing is written."""
        name = fingerprint(self.config(), plugin_versions(self.made_of()))
        return Cells(out / self.analysis.name / name, self.schema())

    @abstractmethod
    def forecast(self, left: Left | None = None) -> dict[str, Any]:
        """Work and cost of what is left to compute, for `--dry-run`: numbers, or numbers and texts by name."""

    def made_of(self) -> Sequence[object]:
        """The analysis, and the tasks and hook sets that it is run with: the results depend on their code."""
        return (self.analysis,)

    @abstractmethod
    def report_inputs(self) -> ReportInputs:
        """The inputs of the report, besides the records."""

    def report(self, table: pd.DataFrame) -> Report:
        """Draw the report of all records."""
        return self.report_inputs().report(table)

    def routes(self) -> Mapping[str, Route]:
        """The route of every hook set by its label, if it has any."""
        model = self.report_inputs().model
        return {} if model is None else model.routes

    def concurrency(self) -> int | None:
        """The number of cells computed at the same time, in threads with one thread of torch each.

        None: one after the other, each with as many threads as torch has.
        """
        return None


def cell_name(place: int, label: str) -> str:
    """A file name for the cell at a place in the list: any label, in characters that every file system takes."""
    slug = re.sub(r"[^a-z0-9]+", "-", label.lower()).strip("-")[:40].rstrip("-")
    return f"{place:02d}-{slug}" if slug else f"{place:02d}"


def settings_details(analysis: Analysis) -> list[tuple[str, str]]:
    """An analysis's settings as details."""
    return [(name.replace("_", " "), str(value)) for name, value in analysis.settings().items() if name != "analysis"]


_T = TypeVar("_T")


@dataclass(frozen=True)
class Shard:
    """One of `n` shares of a run's cells, which have no cell in common and are all cells together.

    A cell's place in the list of all cells decides whose it is, so processes need to agree on nothing. Neighbours are
    of different shares, so that each has some of every task.

    Args:
        i: Which share, from 1.
        n: How many there are.

    Raises:
        RunError: There is no such share.
    """

    i: int
    n: int

    def __post_init__(self) -> None:
        if not 1 <= self.i <= self.n:
            raise RunError(f"there is no shard {self}; expected I/N with I from 1 to N, such as 1/8 or 8/8")

    @classmethod
    def parse(cls, text: str) -> Shard:
        """The shard that `str` gave."""
        match = re.fullmatch(r"\s*([0-9]+)\s*/\s*([0-9]+)\s*", text)
        if match is None:
            raise RunError(f"cannot read the shard {text!r}; expected I/N, such as 2/8 for the second of eight")
        return cls(int(match[1]), int(match[2]))

    def of(self, cells: Sequence[_T]) -> list[_T]:
        """Its share."""
        return list(cells[self.i - 1 :: self.n])

    def __str__(self) -> str:
        return f"{self.i}/{self.n}"


def processors() -> int:
    """The number of processors that this process may use."""
    # not on every system
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1
