"""Rows and texts for tasks and training, read as a stream from files or from data sets on the hub."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Any

from mechpaint.display.sanitize import short
from mechpaint.errors import TaskError
from mechpaint.files import is_file, is_folder
from mechpaint.readers import COMPRESSED, READERS, Row, file_rows, reader_of

MAX_CHARACTERS = 2_000_000
"""Tasks take rows from a source until their texts have this many characters."""
_ROWS_LOOKED_AT = 1000
_PATTERN = "*?[]{}"
_LONE_SURROGATE = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class FileSource:
    """A file, and the reader for it, one of `mechpaint.readers.READERS`."""

    path: Path
    reader: str


@dataclass(frozen=True, slots=True)
class HubSource:
    """A data set on the hub, or in a folder laid out like one; None for its only configuration or the default split."""

    name: str
    configuration: str | None = None
    split: str | None = None


def parse_source(source: object) -> FileSource | HubSource:
    """Parse a source as `read_rows` takes it, or raise TaskError."""
    if not isinstance(source, str | Path):
        raise TaskError(f"expected a file, or the name of a data set on the hub, got {short(source)}")
    source = str(source)
    path = _home(source)
    reader = reader_of(path)
    before, hash_sign, column = source.partition("#")
    if hash_sign and not is_file(path) and is_file(_home(before)):
        raise TaskError(
            f"a column cannot be chosen with {'#' + column!r} here: expected a source alone, {before!r} "
            "(the tasks text and mlm take SOURCE#COLUMN)"
        )
    if is_file(path):
        if reader is None:
            raise TaskError(
                f"cannot tell how to read {source!r}: expected a file ending in {', '.join(READERS)}, or one of these "
                f"and {', '.join(COMPRESSED)}"
            )
        return FileSource(path, reader)
    name, *rest = [source] if is_folder(path) else source.split(":")
    folder = _home(name)
    there = is_folder(folder)
    if not there and (reader is not None or name.startswith((".", "/", "~")) or len(name.split()) > 1):
        raise TaskError(f"there is no file {short(source)}")
    if not name or len(rest) > 2:
        raise TaskError(f"cannot read the source {source!r}: expected a file, or name:configuration:split on the hub")
    if there and set(_PATTERN).intersection(str(folder.resolve())):
        raise TaskError(
            f"cannot read the folder {source!r}: its path has one of {' '.join(_PATTERN)}, which Hugging Face's "
            "datasets takes for a pattern; rename it, or name a file in it"
        )
    configuration, split = [*(part or None for part in rest), None, None][:2]
    return HubSource(str(folder.resolve()) if there else name, configuration, split)


def _home(name: str) -> Path:
    try:
        return Path(name).expanduser()
    except RuntimeError:  # of a user who does not exist
        return Path(name)


def read_rows(source: str | Path, split: str = "train") -> Iterator[Row]:
    """Stream the rows of a source.

    Each line of a text is a row with the column `text`. Only a JSON file that holds one list is read whole. In a CSV
    file an empty cell is None, and all else is text, except in columns of numbers as Python prints them: 7 and 0.5 are
    numbers, 007, 0.50 and NA are not.

    Args:
        source: A text, JSON, JSON lines, CSV or Parquet file, in UTF-8 with or without a byte order mark, also
            compressed (`.gz`, `.bz2`, `.xz`, `.zst`); or a data set on the hub: `name`, `name:configuration`,
            `name:configuration:split` or `name::split`.
        split: The split of a data set on the hub, unless the source names one.

    Returns:
        The rows, as mappings from column names to values.

    Raises:
        TaskError: There is no such file, at once; or it cannot be read, while iterating. The message names the line at
            fault.
    """
    return _streamed(parse_source(source), str(source), split)


def _streamed(place: FileSource | HubSource, source: str, split: str) -> Iterator[Row]:
    try:
        yield from file_rows(place.path, place.reader) if isinstance(place, FileSource) else _hub_rows(place, split)
    except Exception as error:  # libraries raise whatever they like
        raise TaskError(f"cannot read {source!r}: {_reason(place, error)}") from error


def _hub_rows(place: HubSource, split: str) -> Iterator[Row]:
    import datasets

    options: dict[str, Any] = {"streaming": True}
    yield from datasets.load_dataset(place.name, place.configuration, split=place.split or split, **options)


def _reason(place: FileSource | HubSource, error: Exception) -> str:
    message = (str(error).splitlines() or [repr(error)])[0]
    if isinstance(place, HubSource) and isinstance(error, ConnectionError):
        return f"{message}. There is no file of that name either"
    return message


def split_column(argument: str | None) -> tuple[str | None, str | None]:
    """Split `SOURCE#COLUMN`; a file whose own name has the sign is a source."""
    if not argument or is_file(_home(argument)):
        return argument or None, None
    source, _, column = argument.partition("#")
    return source or None, column or None


def read_texts(source: str, column: str | None = None) -> Iterator[str]:
    """The text of each row of a source, from one column, up to `MAX_CHARACTERS`.

    The column is chosen once: `text`, else the first that holds text in the first rows.
    """
    rows = read_rows(source)
    first = list(islice(rows, _ROWS_LOOKED_AT))
    column = _text_column(first) if column is None else column
    length = 0
    for number, row in enumerate(chain(first, rows), start=1):
        text = _text(row, f"row {number} of {source!r}", column)
        yield text
        length += len(text)
        if length > MAX_CHARACTERS:
            return


def _text_column(rows: Sequence[Row]) -> str | None:
    """The column `text`, if there is one, else the first in which a row holds a text."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    if "text" in names:
        return "text"
    return next((name for name in names if any(isinstance(row.get(name), str) for row in rows)), None)


def _text(row: Row, where: str, column: str | None) -> str:
    """The text in a column of a row."""
    text = None if column is None else row.get(column)
    if not isinstance(text, str):
        wanted = "no column" if column is None else f"the column {column!r}"
        verb = "holds" if column is None else "does not hold"
        raise TaskError(f"{wanted} of {where} {verb} text; it has: {', '.join(row)}")
    if half := _LONE_SURROGATE.search(text):
        raise TaskError(f"the text of {where} has {half[0]!r}, half of a character: expected text that is Unicode")
    return text


def read_text(source: str | None, column: str | None = None) -> str:
    """The texts of a source as one; of None, the English reference text that comes with Python."""
    if source is None:
        from pydoc_data import topics

        return "\n\n".join(text for _, text in sorted(topics.topics.items()))
    text = "\n".join(read_texts(source, column))
    if not text.strip():
        raise TaskError(f"the text {source!r} is empty")
    return text


def english_paragraphs() -> list[str]:
    """The paragraphs of the English reference text that comes with Python."""
    return [" ".join(paragraph.split()) for paragraph in read_text(None).split("\n\n") if paragraph.strip()]
