"""The run folder: what an analysis leaves on disk, and takes up again.

    runs/<analysis>/<fingerprint>/
        config.yaml  env.json  routes.json      what was asked, with what, and the route of every hook set
        cells/*.parquet                         one a task and chunk of items
        results.parquet                         all of them: one row an item and route
        figures/*.{svg,png}  tables/*.csv  report.md  report.html

The fingerprint is of the configuration, the model's weights and the versions that matter. A cell has its name only
when it is complete, so running the same thing again computes what is missing and nothing else.
"""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, cast

import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from mechpaint.files import write_text, written

SCHEMA = cast(Any, pa).schema(
    [
        ("task", pa.string()),
        ("item", pa.string()),
        ("route", pa.string()),
        ("score", pa.float64()),
        ("logprob", pa.float64()),
        ("tokens", pa.int32()),
        ("finite", pa.bool_()),
    ]
)
"""Of `cells/*.parquet` and `results.parquet`."""

VERSIONS_THAT_MATTER = ("mechpaint", "torch", "transformers", "transformer-lens")


@dataclass(frozen=True, slots=True)
class Cell:
    """A chunk of a task's items, and the file of what was measured on them."""

    task: int
    first: int
    last: int
    rows: int

    @property
    def file_name(self) -> str:
        """The task's place in the list, and the items."""
        return f"{self.task:02d}-{self.first:05d}-{self.last:05d}.parquet"


class RunFolder:
    """One run on disk. Nothing is written before `begin`.

    Args:
        out: The folder of all runs.
        analysis: The analysis's name.
        config: Everything that the results depend on, but for versions.
    """

    def __init__(self, out: Path, analysis: str, config: dict[str, Any]) -> None:
        self.config = config
        self.path = out / analysis / fingerprint(config)

    def begin(self, routes: dict[str, str]) -> None:
        """Make the folder, and write down what it is for."""
        write_text(self.path / "config.yaml", yaml.safe_dump(_plain(self.config), sort_keys=False))
        write_text(self.path / "env.json", json.dumps(environment(), indent=2) + "\n")
        write_text(self.path / "routes.json", json.dumps(routes, indent=2) + "\n")

    def has(self, cell: Cell) -> bool:
        """Whether the cell is there and whole. One that is damaged does not count, and is computed again."""
        try:
            found: Any = pq.ParquetFile(self._cell(cell))
        except (OSError, pa.ArrowException):
            return False
        with found:
            return found.schema_arrow.equals(SCHEMA) and found.metadata.num_rows == cell.rows

    def write(self, cell: Cell, records: list[dict[str, Any]]) -> None:
        """Put a finished cell in its place."""
        self._write(self._cell(cell), pa.Table.from_pylist(records, schema=SCHEMA))

    def collect(self, cells: Sequence[Cell]) -> Any:
        """All cells in one table, also written to `results.parquet`."""
        table = cast(Any, pa).concat_tables([pq.read_table(self._cell(cell), schema=SCHEMA) for cell in cells])
        self._write(self.path / "results.parquet", table)
        return table

    def _cell(self, cell: Cell) -> Path:
        return self.path / "cells" / cell.file_name

    def _write(self, path: Path, table: Any) -> None:
        with written(path) as scratch:
            pq.write_table(table, scratch, compression="zstd")


def fingerprint(config: dict[str, Any]) -> str:
    """Sixteen hexadecimal digits of a SHA-256."""
    versions = {name: version(name) for name in VERSIONS_THAT_MATTER}
    text = json.dumps([_plain(config), versions], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def environment() -> dict[str, Any]:
    """What the run is computed with."""
    import torch

    return {
        "versions": {name: version(name) for name in (*VERSIONS_THAT_MATTER, "datasets", "numpy")},
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
