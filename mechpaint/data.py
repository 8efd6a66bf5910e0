"""Rows and texts for tasks and training, read as a stream from files or from data sets on the hub."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias, cast

from mechpaint.errors import TaskError

Row: TypeAlias = Mapping[str, Any]
MAX_CHARACTERS = 2_000_000
"""Tasks take rows from a source until their texts have this many characters."""

_READERS = {
    ".txt": "text",
    ".md": "text",
    ".json": "json",
    ".jsonl": "json",
    ".csv": "csv",
    ".parquet": "parquet",
}

_ROWS_PER_READ = 1000
_COMPRESSED = (".gz", ".bz2", ".xz", ".zst")
_EXCERPT = 60


@dataclass(frozen=True, slots=True)
class FileSource:
    """A file, and the reader of `datasets` for it."""

    path: Path
    reader: str


@dataclass(frozen=True, slots=True)
class HubSource:
    """A data set on the hub, or in a folder laid out like one; None for its only configuration or the default split."""

    name: str
    configuration: str | None = None
    split: str | None = None


def parse_source(source: str) -> FileSource | HubSource:
    """Parse a source as `read_rows` takes it, or raise TaskError."""
    path = Path(source).expanduser()
    reader = _reader(path)
    if path.is_file():
        if reader is None:
            raise TaskError(
                f"cannot tell how to read {source!r}: expected a file ending in {', '.join(_READERS)}, or one of these "
                f"and {', '.join(_COMPRESSED)}"
            )
        return FileSource(path, reader)
    name, *rest = source.split(":")
    folder = Path(name).expanduser()
    if not folder.is_dir() and (reader is not None or name.startswith((".", "/", "~"))):
        raise TaskError(f"there is no file {source!r}")
    if not name or len(rest) > 2:
        raise TaskError(f"cannot read the source {source!r}: expected a file, or name:configuration:split on the hub")
    configuration, split = [*(part or None for part in rest), None, None][:2]
    return HubSource(str(folder) if folder.is_dir() else name, configuration, split)


def _reader(path: Path) -> str | None:
    suffixes = [suffix.lower() for suffix in path.suffixes]
    compressed = bool(suffixes) and suffixes[-1] in _COMPRESSED
    reader = _READERS.get("".join(suffixes[-2:-1] if compressed else suffixes[-1:]))
    return None if compressed and reader == "parquet" else reader  # Parquet is compressed within


def read_rows(source: str, split: str = "train") -> Iterator[Row]:
    """Stream the rows of a source.

    Each line of a text is a row with the column `text`. Only a JSON file that holds one list is read whole.

    Args:
        source: A text, JSON, JSON lines, CSV or Parquet file, also compressed (`.gz`, `.bz2`, `.xz`, `.zst`); or a data
            set on the hub: `name`, `name:configuration`, `name:configuration:split` or `name::split`.
        split: The split of a data set on the hub, unless the source names one.

    Returns:
        The rows, as mappings from column names to values.

    Raises:
        TaskError: There is no such file, at once; or it cannot be read, while iterating. For JSON the message names the
            line at fault.
    """
    return _streamed(parse_source(source), source, split)


def _streamed(place: FileSource | HubSource, source: str, split: str) -> Iterator[Row]:
    import datasets

    options: dict[str, Any] = {"streaming": True}
    try:
        if isinstance(place, FileSource) and place.reader == "parquet":
            yield from _parquet(place.path)
        elif isinstance(place, FileSource):
            yield from datasets.load_dataset(place.reader, data_files=str(place.path), split="train", **options)
        else:
            yield from datasets.load_dataset(place.name, place.configuration, split=place.split or split, **options)
    except Exception as error:  # datasets raises whatever its readers do
        raise TaskError(f"cannot read {source!r}: {_reason(place, error)}") from error


def _parquet(path: Path) -> Iterator[Row]:
    """Read without `datasets`, which has pyarrow fetch the whole file before it yields the first row."""
    from pyarrow import parquet

    file: Any = cast(Any, parquet).ParquetFile(path, pre_buffer=False)
    for batch in file.iter_batches(batch_size=_ROWS_PER_READ):
        yield from batch.to_pylist()


def _reason(place: FileSource | HubSource, error: Exception) -> str:
    message = (str(error).splitlines() or [repr(error)])[0]
    if isinstance(place, HubSource):
        return f"{message}. There is no file of that name either" if isinstance(error, ConnectionError) else message
    if place.path.stat().st_size == 0:
        return "it is empty"
    faults = (where for where, row in json_rows(place.path) if row is None) if place.reader == "json" else iter(())
    return next(faults, message)


def json_rows(path: Path) -> Iterator[tuple[str, Row | None]]:
    """Each row of a JSON file with its place, such as `line 3`; for one that is not an object, its fault and None."""
    import fsspec

    number, first = 0, True
    try:
        with cast(Any, fsspec).open(str(path), "rb", compression="infer") as lines:
            for number, line in enumerate(lines, start=1):
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
    return f"{where} is {_excerpt(json.dumps(row))}, not an object", None


def _parse(text: bytes, first_line: int) -> tuple[Any, str]:
    """Parse JSON that starts on a line of a file, and describe its fault; an empty text where it has none."""
    try:
        return json.loads(text.rstrip()), ""
    except json.JSONDecodeError as error:
        line, fault = error.lineno, f"is not JSON ({error.msg} at character {error.colno})"
    except UnicodeDecodeError as error:
        before = text[: error.start].split(b"\n")
        line, fault = len(before), f"is not UTF-8 ({error.reason} at byte {len(before[-1]) + 1})"
    shown = _excerpt(text.split(b"\n")[line - 1].decode(errors="replace").strip())
    return None, f"line {first_line + line - 1} {fault}: {shown!r}"


def _excerpt(text: str) -> str:
    return text if len(text) <= _EXCERPT else text[: _EXCERPT - 1] + "…"


def read_texts(source: str, column: str | None = None) -> Iterator[str]:
    """The text of each row of a source, from a column or the default one, up to `MAX_CHARACTERS`."""
    length = 0
    for number, row in enumerate(read_rows(source), start=1):
        text = _text(row, f"row {number} of {source!r}", column)
        yield text
        length += len(text)
        if length > MAX_CHARACTERS:
            return


def _text(row: Row, where: str, column: str | None) -> str:
    """The text in a column of a row: by default in `text`, else in the first column of strings."""
    if column is None:
        column = (
            "text" if "text" in row else next((name for name, value in row.items() if isinstance(value, str)), None)
        )
    text = None if column is None else row.get(column)
    if not isinstance(text, str):
        wanted = "no column" if column is None else f"the column {column!r}"
        verb = "holds" if column is None else "does not hold"
        raise TaskError(f"{wanted} of {where} {verb} text; it has: {', '.join(row)}")
    return text


def read_text(source: str | None) -> str:
    """The texts of a source as one; of None, the English reference text that comes with Python."""
    if source is None:
        from pydoc_data import topics

        return "\n\n".join(text for _, text in sorted(topics.topics.items()))
    text = "\n".join(read_texts(source))
    if not text.strip():
        raise TaskError(f"the text {source!r} is empty")
    return text


def english_paragraphs() -> list[str]:
    """The paragraphs of the English reference text that comes with Python."""
    return [" ".join(paragraph.split()) for paragraph in read_text(None).split("\n\n") if paragraph.strip()]
