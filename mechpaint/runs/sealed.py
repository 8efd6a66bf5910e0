"""Parquet files that hold their own checksum, so that any byte that changed is found.

Parquet's checksums are of its pages: a byte of what describes them, such as a column's name or the number of rows, is
under none. Here a line of the file's metadata has the SHA-256 of the whole file, taken with zeros in the checksum's
place. It is one file, which is renamed into place at once, and any reader of parquet reads it.
"""

from __future__ import annotations

import hashlib
import io
import re
from typing import Any, cast

import pyarrow as pa
import pyarrow.parquet as pq

_KEY = "checksum"
_NAMED = "mechpaint, SHA-256 of this file with zeros here: "
_ZEROS = "0" * 64
_SEAL = re.compile(_NAMED.encode() + b"([0-9a-f]{64})")


class BrokenSeal(ValueError):
    """Bytes that are not those of a sealed table: in what way."""


def sealed(table: Any) -> bytes:
    """A pyarrow table as the bytes of a parquet file, with the checksum of all of them.

    Args:
        table: The table.
    """
    out = io.BytesIO()
    with cast(Any, pq).ParquetWriter(out, table.schema, compression="zstd") as writer:
        writer.write_table(table)
        writer.add_key_value_metadata({_KEY: _NAMED + _ZEROS})
    data = out.getvalue()
    before, _, after = _parts(data)
    return before + _digest(before, after) + after


def unsealed(data: bytes) -> Any:
    """The pyarrow table that was sealed, without metadata. Nothing is parsed before the checksum is found to be right.

    Args:
        data: What `sealed` gave.

    Raises:
        BrokenSeal: The bytes are others, or were never sealed.
    """
    check(data)
    with cast(Any, pq).ParquetFile(pa.BufferReader(data)) as file:
        return file.read().replace_schema_metadata(None)  # else the checksum would be in it


def check(data: bytes) -> None:
    """See whether bytes are those of a sealed table.

    Args:
        data: The bytes.

    Raises:
        BrokenSeal: They are not.
    """
    before, seal, after = _parts(data)
    if seal != _digest(before, after):
        raise BrokenSeal("its checksum is not that of its bytes")


def _parts(data: bytes) -> tuple[bytes, bytes, bytes]:
    """What is before the checksum, the checksum, and what is after it."""
    if not data:
        raise BrokenSeal("it is empty")
    seals = list(_SEAL.finditer(data))
    if not seals:
        raise BrokenSeal("it has no checksum: its end is damaged, or it was written before cells had checksums")
    start, end = seals[-1].span(1)  # the last one: what is in the table comes before the file's metadata
    return data[:start], data[start:end], data[end:]


def _digest(before: bytes, after: bytes) -> bytes:
    return hashlib.sha256(before + _ZEROS.encode() + after).hexdigest().encode()
