"""The rows of files: a reader for each kind. A name is a name, and what a file does not say is not made up."""

from __future__ import annotations

import codecs
import csv
import io
import json
import sys
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import chain, islice
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias, cast

Row: TypeAlias = Mapping[str, Any]

READERS = {
    ".txt": "text",
    ".md": "text",
    ".json": "json",
    ".jsonl": "json",
    ".csv": "csv",
    ".parquet": "parquet",
}
COMPRESSED = (".gz", ".bz2", ".xz", ".zst")

_ROWS_PER_READ = 1000
_EXCERPT = 60
_LONGEST_CELL = 2**31 - 1


class BrokenFile(ValueError):
    """What is wrong with a file, and where."""


def reader_of(path: Path) -> str | None:
    """The reader for a file of that name."""
    suffixes = [suffix.lower() for suffix in path.suffixes]
    compressed = bool(suffixes) and suffixes[-1] in COMPRESSED
    reader = READERS.get("".join(suffixes[-2:-1] if compressed else suffixes[-1:]))
    return None if compressed and reader == "parquet" else reader  # Parquet is compressed within


def file_rows(path: Path, reader: str) -> Iterator[Row]:
    """Stream the rows of a file; `BrokenFile` or OSError while iterating."""
    if path.stat().st_size == 0:
        raise BrokenFile("it is empty")
    if reader == "text":
        return _lines(path)
    if reader == "csv":
        return _csv(path)
    return _parquet(path) if reader == "parquet" else _json(path)


@contextmanager
def _opened(path: Path) -> Generator[BinaryIO]:
    """The bytes of a file, decompressed."""
    from fsspec.compression import compr  # pyright: ignore[reportUnknownVariableType]
    from fsspec.utils import infer_compression

    kind = cast(Any, infer_compression)(path.name)
    known = cast(dict[object, Any], compr)
    if kind not in known or (kind is None and path.suffix.lower() in COMPRESSED):
        raise BrokenFile(f"reading {path.suffix} needs a package: pip install zstandard")
    with path.open("rb") as file:
        yield known[kind](file, mode="rb") if kind else file


@contextmanager
def _text_of(path: Path, newline: str | None) -> Generator[io.TextIOWrapper]:
    """The text of a file in UTF-8, with a byte order mark or without."""
    with _opened(path) as file:
        try:
            yield io.TextIOWrapper(file, encoding="utf-8-sig", newline=newline)
        except UnicodeDecodeError:
            raise BrokenFile(_not_utf8(path)) from None


def _not_utf8(path: Path) -> str:
    with _opened(path) as file:
        for number, line in enumerate(file, start=1):
            try:
                line.decode()
            except UnicodeDecodeError as error:
                return f"line {number} is not UTF-8 ({error.reason} at byte {error.start + 1})"
    return "it is not UTF-8"


def _lines(path: Path) -> Iterator[Row]:
    with _text_of(path, newline=None) as file:
        for line in file:
            yield {"text": line.removesuffix("\n")}


# ---- CSV -----------------------------------------------------------------------------------------------------------


def _csv(path: Path) -> Iterator[Row]:
    """The rows of a CSV file: an empty cell is None; a column of numbers, as Python prints them, holds numbers.

    Which columns those are is seen on the first rows; anything else in one of them later is an error.
    """
    csv.field_size_limit(max(csv.field_size_limit(), _LONGEST_CELL))  # of the process; the default refuses long texts
    with _text_of(path, newline="") as file:
        table = csv.reader(file, strict=True)
        try:
            named = cast(Iterator[list[str]], table)
            names = next((row for row in named if row), list[str]())
            _check_names(names)
            cells = _cells(table, names)
            first = list(islice(cells, _ROWS_PER_READ))
            numbers = [_are_numbers([row[i] for _, row in first]) for i in range(len(names))]
            for line, row in chain(first, cells):
                each = zip(names, row, numbers, strict=True)
                yield {name: _value(cell, is_number, name, line) for name, cell, is_number in each}
        except csv.Error as error:
            raise BrokenFile(f"line {table.line_num}: {error}") from None


def _check_names(names: Sequence[str]) -> None:
    if len(names) == 1 and ({"\t", ";"} & set(names[0])):
        raise BrokenFile(f"its header is {excerpt(names[0])!r}, one column: expected commas between columns")
    if not names:
        raise BrokenFile("it has no header")
    twice = next((name for i, name in enumerate(names) if name in names[:i]), None)
    if twice is not None:
        raise BrokenFile(f"its header names the column {twice!r} twice")


def _cells(table: Any, names: Sequence[str]) -> Iterator[tuple[int, list[str]]]:
    for row in table:
        if row and len(row) != len(names):
            raise BrokenFile(f"line {table.line_num} has {len(row)} cells, and the header {len(names)}")
        if row:
            yield table.line_num, row


def _are_numbers(cells: Sequence[str]) -> bool:
    given = [cell for cell in cells if cell]
    return bool(given) and all(_number(cell) is not None for cell in given)


def _number(cell: str) -> int | float | None:
    """The number that prints as a cell; None if there is none, as for 007 and 1.50."""
    for kind in (int, float):
        try:
            number = kind(cell)
        except ValueError:
            continue
        if str(number) == cell and number == number:
            return number
    return None


def _value(cell: str, is_number: bool, name: str, line: int) -> str | int | float | None:
    if not cell:
        return None
    if not is_number:
        return cell
    number = _number(cell)
    if number is None:
        raise BrokenFile(f"line {line} has {excerpt(cell)!r} in the column {name!r}, where the first rows have numbers")
    return number


# ---- Parquet and JSON ----------------------------------------------------------------------------------------------


def _parquet(path: Path) -> Iterator[Row]:
    from pyarrow import parquet

    with path.open("rb") as opened:
        file: Any = cast(Any, parquet).ParquetFile(opened, pre_buffer=False)
        _check_names(file.schema_arrow.names)
        for batch in file.iter_batches(batch_size=_ROWS_PER_READ):
            yield from batch.to_pylist()


def _json(path: Path) -> Iterator[Row]:
    for where, row in json_rows(path):
        if row is None:
            raise BrokenFile(where)
        yield row


def json_rows(path: Path) -> Iterator[tuple[str, Row | None]]:
    """Each row of a JSON file with its place, such as `line 3`; for one that is not an object, its fault and None."""
    number, first = 0, True
    try:
        with _opened(path) as lines:
            for number, line in enumerate(lines, start=1):
                line = line.removeprefix(codecs.BOM_UTF8) if number == 1 else line
                if first and line.lstrip().startswith(b"["):
                    rows, fault = _parse(line + lines.read(), number)
                    places = [(fault, None)] if fault else [_placed(f"row {i}", row) for i, row in enumerate(rows, 1)]
                    yield from places
                elif line.strip():
                    first = False
                    row, fault = _parse(line, number)
                    yield (fault, None) if fault else _placed(f"line {number}", row)
    except (OSError, EOFError) as error:  # compressed, and damaged
        yield f"after line {number}: {error}", None


def _placed(where: str, row: Any) -> tuple[str, Row | None]:
    if isinstance(row, dict):
        return where, cast(Row, row)
    return f"{where} is {excerpt(json.dumps(row))}, not an object", None


def _parse(text: bytes, first_line: int) -> tuple[Any, str]:
    """Parse JSON that starts on a line of a file, and describe its fault; an empty text where it has none."""
    try:
        return json.loads(text.rstrip(), object_pairs_hook=_each_once), ""
    except _Twice as error:
        line, fault = 1, f"has an object that names {str(error)!r} twice"
    except json.JSONDecodeError as error:
        line, fault = error.lineno, f"is not JSON ({error.msg} at character {error.colno})"
    except UnicodeDecodeError as error:
        before = text[: error.start].split(b"\n")
        line, fault = len(before), f"is not UTF-8 ({error.reason} at byte {len(before[-1]) + 1})"
    except RecursionError:
        line, fault = 1, "is not JSON (nested too deeply)"
    except ValueError:
        line, fault = (
            1,
            f"has a number of more than {sys.get_int_max_str_digits():,} digits, which Python does not read",
        )
    shown = excerpt(text.split(b"\n")[line - 1].decode(errors="replace").strip())
    return None, f"line {first_line + line - 1} {fault}: {shown!r}"


class _Twice(Exception):
    """An object names a key twice."""


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    row = dict(pairs)
    if len(row) < len(pairs):
        raise _Twice(next(name for i, (name, _) in enumerate(pairs) if name in [each for each, _ in pairs[:i]]))
    return row


def excerpt(text: str) -> str:
    """The beginning of a long text."""
    return text if len(text) <= _EXCERPT else text[: _EXCERPT - 1] + "…"
