"""Tables with a checksum of all their bytes."""

from __future__ import annotations

import hashlib
import io

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mechpaint.runs.cells import BadChecksum, read_checked, write_checked

TABLE = pa.table({"item": ["a", "b", "é"], "score": [0.5, float("nan"), -1.0]})


def test_what_was_sealed_comes_back_and_any_reader_reads_it():
    data = write_checked(TABLE)
    for found in (read_checked(data), pq.read_table(io.BytesIO(data))):
        assert found.schema.equals(TABLE.schema)
        assert found.drop_columns("score").equals(TABLE.drop_columns("score"))
        assert str(found["score"].to_pylist()) == "[0.5, nan, -1.0]"
    assert read_checked(data).schema.metadata is None
    assert write_checked(read_checked(data)) == data


def test_the_checksum_is_what_it_says():
    data = write_checked(TABLE)
    words = pq.read_metadata(io.BytesIO(data)).metadata[b"checksum"]
    digest = words[-64:]
    assert data.count(digest) == 1
    assert hashlib.sha256(data.replace(digest, b"0" * 64)).hexdigest().encode() == digest


def test_every_flipped_byte_is_found():
    data = write_checked(TABLE)
    for place in range(len(data)):
        with pytest.raises(BadChecksum):
            read_checked(data[:place] + bytes([data[place] ^ 0xFF]) + data[place + 1 :])


def test_every_truncation_and_extension_is_found():
    data = write_checked(TABLE)
    for length in range(len(data)):
        with pytest.raises(BadChecksum):
            read_checked(data[:length])
    for more in (b"\0", data):
        with pytest.raises(BadChecksum):
            read_checked(data + more)


def test_text_that_looks_like_a_checksum_can_be_in_the_table():
    inside = pa.table({"item": [write_checked(TABLE).decode("latin-1")[-900:], "0" * 64], "n": [1, 2]})
    data = write_checked(inside)
    assert read_checked(data).equals(inside)
    with pytest.raises(BadChecksum):
        read_checked(data[:50] + b"?" + data[51:])


def test_a_table_without_rows():
    assert read_checked(write_checked(TABLE.slice(0, 0))).num_rows == 0
