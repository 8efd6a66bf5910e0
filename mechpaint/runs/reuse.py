"""Records of other runs in the same folder, reused so that only new ones are computed.

Each `run.json` says what is in the run's cells: of each cell the *basis*, a digest of all that its records depend on,
and of scored items digests of their content. Cells with the same basis hold the same; cells of items under routes do so
for each item of the same name and content, and each route.

Only whole cells are read, and none is written: another process may be writing more of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import pyarrow as pa
import pyarrow.compute as pc

from mechpaint.errors import CellError, RunError
from mechpaint.files import is_folder
from mechpaint.runs.cells import Cells
from mechpaint.runs.manifest import RUN, Manifest
from mechpaint.runs.plans.plan import Cell, ItemsCell
from mechpaint.statistics.results import Record


def items_of(cells: Sequence[Cell]) -> dict[str, dict[str, str]]:
    """For the basis of cells of scored items, from the items' names to digests of their content."""
    items: dict[str, dict[str, str]] = {}
    for cell in cells:
        if isinstance(cell, ItemsCell):
            items.setdefault(cell.basis, {}).update(cell.items)
    return items


def item_contents(manifest: Manifest) -> list[Mapping[str, str]]:
    """For each task of a run of a `RouteAnalysis`, in order, from its items' names to digests of their content."""
    by_task = {int(cell.partition("-")[0]): manifest.items.get(basis, {}) for cell, basis in manifest.cells.items()}
    return [by_task[place] for place in sorted(by_task)]


@dataclass(frozen=True)
class ReuseStats:
    """Counts of cells reused from other runs, whole and in part, and the names of these runs."""

    cells: int = 0
    in_part: int = 0
    runs: tuple[str, ...] = ()

    @classmethod
    def all_of(cls, parts: Sequence[ReuseStats]) -> ReuseStats:
        """Several together."""
        runs = sorted({run for part in parts for run in part.runs})
        return cls(sum(part.cells for part in parts), sum(part.in_part for part in parts), tuple(runs))


@dataclass(frozen=True)
class CachedRecords:
    """Records of a cell that other runs hold.

    Attributes:
        records: The records.
        whole: Whether these are all of the cell's.
        runs: Which runs they are of, such as `painters/ab12…`.
    """

    records: Sequence[Record] = ()
    whole: bool = False
    runs: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Source:
    """A cell of another run, which need not be there, nor be whole."""

    run: Path
    cell: str
    items: Mapping[str, str]

    @property
    def named(self) -> str:
        return f"{self.run.parent.name}/{self.run.name}"


class OtherRuns:
    """The other runs in a folder.

    Args:
        folder: The run folder that is left out.
        schema: The pyarrow schema of the records. Cells of other columns are none that can be used.
        cells: What is needed.
    """

    def __init__(self, folder: Path, schema: Any, cells: Sequence[Cell]) -> None:
        self._schema = schema
        self._sources: dict[str, list[_Source]] = {cell.basis: [] for cell in cells}
        self._by_item: dict[str, dict[str, list[_Source]]] = {}
        for path in sorted(folder.parents[1].glob(f"*/*/{RUN}")) if is_folder(folder.parents[1]) else ():
            if path.parent != folder:
                for basis, source in _listed(path):
                    if basis in self._sources:
                        self._sources[basis].append(source)

    def cached(self, cell: Cell) -> CachedRecords:
        """Look a cell up."""
        if isinstance(cell, ItemsCell):
            return self._rows(cell)
        for source in self._sources[cell.basis]:
            table = self._read(source)
            if table is not None:
                return CachedRecords(table.to_pylist(), True, (source.named,))
        return CachedRecords()

    def _rows(self, cell: ItemsCell) -> CachedRecords:
        records: dict[tuple[str, str], Record] = {}
        runs: list[str] = []
        for source in self._with_items(cell):
            table = self._read(source)
            if table is None or len(records) == cell.rows:
                continue
            before = len(records)
            same = [name for name, content in cell.items.items() if source.items.get(name) == content]
            for record in _some(table, same, cell.routes):
                records.setdefault((record["item"], record["route"]), record)
            if len(records) > before:
                runs.append(source.named)
        return CachedRecords(list(records.values()), len(records) == cell.rows, tuple(dict.fromkeys(runs)))

    def _with_items(self, cell: ItemsCell) -> list[_Source]:
        """The cells of others that have items of this one."""
        by_item = self._by_item.get(cell.basis)
        if by_item is None:
            by_item = self._by_item[cell.basis] = self._indexed(cell.basis)
        return list({id(source): source for name in cell.items for source in by_item.get(name, ())}.values())

    def _indexed(self, basis: str) -> dict[str, list[_Source]]:
        """The cells of others by the names of their items."""
        by_item: dict[str, list[_Source]] = {}
        for source in self._sources[basis]:
            table = self._read(source)
            for name in () if table is None else table["item"].unique().to_pylist():
                by_item.setdefault(name, []).append(source)
        return by_item

    def _read(self, source: _Source) -> Any | None:
        try:
            return Cells(source.run, self._schema).read(source.cell)
        except CellError:  # not there yet, or damaged: its own run tells of it
            return None


def _some(table: Any, items: Sequence[str], routes: Sequence[str]) -> list[Record]:
    """The rows of some items under some routes."""
    compute = cast(Any, pc)
    wanted = compute.and_(*(_among(table[name], values) for name, values in (("item", items), ("route", routes))))
    return table.filter(wanted).to_pylist()


def _among(column: Any, values: Sequence[str]) -> Any:
    return cast(Any, pc).is_in(column, value_set=cast(Any, pa).array(list(values), pa.string()))


def _listed(path: Path) -> Iterator[tuple[str, _Source]]:
    """The cells that a `run.json` names, by their bases; none where it cannot be read."""
    try:
        manifest = Manifest.read(path.parent)
    except RunError:
        return
    for name, basis in manifest.cells.items():
        yield basis, _Source(path.parent, name, manifest.items.get(basis, {}))
