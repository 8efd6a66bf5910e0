"""The cells of a run: tables in files of their own, each whole or not there."""

from __future__ import annotations

import hashlib
import io
import math
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pyarrow as pa
import pyarrow.parquet as pq

from mechpaint.errors import CellError, DamagedCell, MissingCell
from mechpaint.files import written
from mechpaint.statistics.results import Columns, Record

if TYPE_CHECKING:
    pass

_LABEL = "label"


class Cells:
    """The cells of one run folder.

    Args:
        path: The run folder.
        schema: The pyarrow schema of their records.
    """

    def __init__(self, path: Path, schema: Any) -> None:
        self.path = path
        self._schema = schema

    def has(self, cell: str, rows: int | None) -> bool:
        """True if a cell is there and whole."""
        try:
            self.read(cell, rows)
        except CellError:
            return False
        return True

    def read(self, cell: str, rows: int | None = None) -> Any:
        """A cell's records, as a pyarrow table."""
        path = self._cell(cell)
        try:
            table = read_checked(path.read_bytes())
        except FileNotFoundError as error:
            raise MissingCell(f"there is no cell {path}") from error
        except OSError as error:
            raise DamagedCell(f"the cell {path} cannot be read: {error.strerror}") from error
        except BadChecksum as error:
            raise DamagedCell(f"the cell {path} is damaged: {error}") from error
        if not table.schema.equals(self._schema):
            expected, got = (", ".join(f"{f.name} {f.type}" for f in schema) for schema in (self._schema, table.schema))
            raise DamagedCell(f"the cell {path} is of another table: expected the columns {expected}; got {got}")
        if rows not in (None, table.num_rows):
            raise DamagedCell(f"the cell {path} has {table.num_rows} rows, expected {rows}")
        return table

    def write(self, cell: str, records: Iterable[Record]) -> None:
        """Put a finished cell in its place."""
        data = write_checked(_table(list(records), self._schema))
        with written(self._cell(cell)) as scratch:
            scratch.write_bytes(data)

    def joined(self, cells: Sequence[str]) -> Any:
        """All cells in one pyarrow table."""
        return cast(Any, pa).concat_tables([self._schema.empty_table(), *map(self.read, cells)])

    def write_results(self, table: Any) -> None:
        """Write the pyarrow table of all records to `results.parquet`."""
        out = io.BytesIO()
        cast(Any, pq).write_table(table, out, compression="zstd", write_page_checksum=True)
        with written(self.path / "results.parquet") as scratch:
            scratch.write_bytes(out.getvalue())

    def _cell(self, cell: str) -> Path:
        return self.path / "cells" / f"{cell}.parquet"


def labelled(label: str, records: Iterable[Record]) -> list[Record]:
    """Records with the column `label` before the others."""
    return [{_LABEL: label, **record} for record in records]


def labelled_schema(columns: Columns) -> Any:
    """The schema of records with these columns and `label` before them."""
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
    """A column of a table; infinity is no number, and kept as NaN."""
    if cast(Any, pa).types.is_floating(field.type):
        values = [math.nan if isinstance(value, float) and math.isinf(value) else value for value in values]
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


_KEY = "checksum"
_NAMED = "mechpaint, SHA-256 of this file with zeros here: "
_ZEROS = "0" * 64
_SEAL = re.compile(_NAMED.encode() + b"([0-9a-f]{64})")


class BadChecksum(ValueError):
    """Bytes that are not those of a write_checked table: in what way."""


def write_checked(table: Any) -> bytes:
    """A pyarrow table as the bytes of a parquet file, with the checksum of all of them."""
    out = io.BytesIO()
    with cast(Any, pq).ParquetWriter(out, table.schema, compression="zstd") as writer:
        writer.write_table(table)
        writer.add_key_value_metadata({_KEY: _NAMED + _ZEROS})
    data = out.getvalue()
    before, _, after = _parts(data)
    return before + _digest(before, after) + after


def read_checked(data: bytes) -> Any:
    """Read what `write_checked` wrote, without metadata. Nothing is parsed before the checksum is verified."""
    check(data)
    with cast(Any, pq).ParquetFile(pa.BufferReader(data)) as file:
        return file.read().replace_schema_metadata(None)  # else the checksum would be in it


def check(data: bytes) -> None:
    """See whether bytes are those of a write_checked table."""
    before, seal, after = _parts(data)
    if seal != _digest(before, after):
        raise BadChecksum("its checksum is not that of its bytes")


def _parts(data: bytes) -> tuple[bytes, bytes, bytes]:
    """Split at the checksum: the bytes before it, itself, the bytes after it."""
    if not data:
        raise BadChecksum("it is empty")
    seals = list(_SEAL.finditer(data))
    if not seals:
        raise BadChecksum("it has no checksum: its end is damaged, or it was written before cells had checksums")
    start, end = seals[-1].span(1)  # the last one: what is in the table comes before the file's metadata
    return data[:start], data[start:end], data[end:]


def _digest(before: bytes, after: bytes) -> bytes:
    return hashlib.sha256(before + _ZEROS.encode() + after).hexdigest().encode()


def is_whole(path: Path) -> bool:
    """True if a file holds the bytes that were written."""
    try:
        check(path.read_bytes())
    except (OSError, BadChecksum):
        return False
    return True
