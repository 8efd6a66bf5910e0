"""The run folder: what an analysis leaves on disk, and takes up again.

    runs/<analysis>/<fingerprint>/
        config.yaml  env.json  routes.json      what was asked, with what, and the route of every hook set, if any
        plan.json                               the model's name, the command, and the names of all cells
        cells/*.parquet                         one a piece of work: items of a task, a hook set, a trial
        results.parquet                         all of them, in the plan's order
        figures/*.{svg,png}  tables/*.csv  report.md  report.html

The fingerprint is of the configuration, the model's weights and the versions that matter. A cell has its name only
when it is complete, and holds the checksum of all its bytes (`mechpaint.sealed`), so running the same thing again
computes what is missing or damaged and nothing else. Several processes may run the same thing at the same time: each
writes to names of its own, and renames what is complete into place.
"""

from __future__ import annotations

import hashlib
import io
import json
import platform
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, cast

import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from mechpaint.analysis import Columns, Record
from mechpaint.damage import CellError, DamagedCell, MissingCell
from mechpaint.files import remove_leftovers, write_text, written
from mechpaint.inventory import PLAN
from mechpaint.sealed import BrokenSeal, sealed, unsealed

if TYPE_CHECKING:
    import pandas as pd

VERSIONS_THAT_MATTER = ("mechpaint", "torch", "transformers", "transformer-lens")

_LABEL = "label"
_NO_PLUGINS: Mapping[str, str] = MappingProxyType({})


class RunFolder:
    """One run on disk. Nothing is written before `begin`.

    Args:
        out: The folder of all runs.
        analysis: The analysis's name.
        config: Everything that the results depend on, but for versions.
        schema: The pyarrow schema of its records.
        plugins: The versions of the plugins that it is of, by name.
    """

    def __init__(
        self, out: Path, analysis: str, config: dict[str, Any], schema: Any, plugins: Mapping[str, str] = _NO_PLUGINS
    ) -> None:
        self.config = config
        self.versions = versions(plugins)
        self.path = out / analysis / fingerprint(config, plugins)
        self._schema = schema
        self._plugins = plugins

    def begin(self, routes: Mapping[str, str], plan: Mapping[str, Any]) -> None:
        """Make the folder, and write down what it is for. What a killed process left half written goes.

        Args:
            routes: The route of every hook set by its label, if it has any.
            plan: What `mechpaint.inventory` reads: its `"model"`, its `"command"` and the names of its `"cells"`.
        """
        remove_leftovers(self.path)
        write_text(self.path / "config.yaml", yaml.safe_dump(_plain(self.config), sort_keys=False))
        write_text(self.path / "env.json", json.dumps(environment(self._plugins), indent=2) + "\n")
        write_text(self.path / PLAN, json.dumps(plan, indent=2) + "\n")
        if routes:
            write_text(self.path / "routes.json", json.dumps(routes, indent=2) + "\n")

    def has(self, cell: str, rows: int | None) -> bool:
        """Whether a cell is there and whole.

        Args:
            cell: Its name.
            rows: How many rows it must have, if that is known.
        """
        try:
            self.read(cell, rows)
        except CellError:
            return False
        return True

    def read(self, cell: str, rows: int | None = None) -> Any:
        """A cell's records, as a pyarrow table.

        Args:
            cell: Its name.
            rows: How many rows it must have, if that is known.

        Raises:
            MissingCell: It is not there.
            DamagedCell: It is not whole, or not of this run.
        """
        path = self._cell(cell)
        try:
            table = unsealed(path.read_bytes())
        except FileNotFoundError as error:
            raise MissingCell(f"there is no cell {path}") from error
        except OSError as error:
            raise DamagedCell(f"the cell {path} cannot be read: {error.strerror}") from error
        except BrokenSeal as error:
            raise DamagedCell(f"the cell {path} is damaged: {error}") from error
        if not table.schema.equals(self._schema):
            expected, got = (", ".join(f"{f.name} {f.type}" for f in schema) for schema in (self._schema, table.schema))
            raise DamagedCell(f"the cell {path} is of another table: expected the columns {expected}; got {got}")
        if rows not in (None, table.num_rows):
            raise DamagedCell(f"the cell {path} has {table.num_rows} rows, expected {rows}")
        return table

    def write(self, cell: str, records: Iterable[Record]) -> None:
        """Put a finished cell in its place.

        Raises:
            ValueError: A record that has not the run's columns, or a value that is not of its column's type.
        """
        data = sealed(_table(list(records), self._schema))
        with written(self._cell(cell)) as scratch:
            scratch.write_bytes(data)

    def collect(self, cells: Sequence[str]) -> pd.DataFrame:
        """All cells in one table, also written to `results.parquet`.

        Raises:
            CellError: One of them was removed or damaged in the meantime.
        """
        table = cast(Any, pa).concat_tables([self._schema.empty_table(), *map(self.read, cells)])
        out = io.BytesIO()
        cast(Any, pq).write_table(table, out, compression="zstd", write_page_checksum=True)
        with written(self.path / "results.parquet") as scratch:
            scratch.write_bytes(out.getvalue())
        return table.to_pandas()

    def _cell(self, cell: str) -> Path:
        return self.path / "cells" / f"{cell}.parquet"


def labelled(label: str, records: Iterable[Record]) -> list[Record]:
    """Records with the column `label` before the others."""
    return [{_LABEL: label, **record} for record in records]


def labelled_schema(columns: Columns) -> Any:
    """The schema of records with these columns and `label` before them.

    Raises:
        ValueError: One of them is called `label` already, or is of a type that a table does not have.
    """
    types: dict[type, Any] = {str: pa.string(), int: pa.int64(), float: pa.float64(), bool: pa.bool_()}
    wrong = [name for name, kind in columns.items() if name == _LABEL or kind not in types]
    if wrong:
        raise ValueError(
            f"the column {wrong[0]!r} cannot be in the table: expected columns of str, int, float or bool, and none "
            f"called {_LABEL!r}, which each table has"
        )
    return cast(Any, pa).schema([(_LABEL, pa.string()), *((name, types[kind]) for name, kind in columns.items())])


def _table(records: list[Record], schema: Any) -> Any:
    for record in records:
        if set(record) != set(schema.names):
            raise ValueError(f"expected records with the columns {', '.join(schema.names)}, got {dict(record)}")
    arrays = [_column(field, [record[field.name] for record in records]) for field in schema]
    return cast(Any, pa).Table.from_arrays(arrays, schema=schema)


def _column(field: Any, values: list[Any]) -> Any:
    try:
        column = cast(Any, pa).array(values, field.type)
    except (TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"the column {field.name!r} is of {field.type}: {error}") from error
    if column.null_count:
        raise ValueError(f"the column {field.name!r} has None in it; expected a value in each record, or nan")
    # pyarrow cuts fractions off
    if cast(Any, pa).types.is_integer(field.type) and column.to_pylist() != values:
        raise ValueError(f"the column {field.name!r} is of {field.type}, and has numbers in it that are not whole")
    return column


def fingerprint(config: dict[str, Any], plugins: Mapping[str, str] = _NO_PLUGINS) -> str:
    """Sixteen hexadecimal digits of a SHA-256."""
    text = json.dumps([_plain(config), versions(plugins)], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def versions(plugins: Mapping[str, str] = _NO_PLUGINS) -> dict[str, str]:
    """What the results depend on besides the configuration."""
    return {**{name: version(name) for name in VERSIONS_THAT_MATTER}, **plugins}


def environment(plugins: Mapping[str, str] = _NO_PLUGINS) -> dict[str, Any]:
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


def _plain(value: Any) -> Any:
    """Tuples as lists: the way YAML and JSON give them back."""
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in cast(dict[Any, Any], value).items()}
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in cast(list[Any], value)]
    return value
