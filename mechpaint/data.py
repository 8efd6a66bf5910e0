"""Rows of data for tasks: from a file, or from a data set on the hub, one after the other."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, cast

from mechpaint.errors import TaskError

if TYPE_CHECKING:
    pass

Row: TypeAlias = Mapping[str, Any]
MOST_CHARACTERS = 2_000_000
"""How much of a long source tasks read: rows are taken until their texts have so many characters."""

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


@dataclass(frozen=True, slots=True)
class FileSource:
    """A file.

    Args:
        path: Where it is.
        reader: Which of the readers of `datasets` is for it.
    """

    path: Path
    reader: str


@dataclass(frozen=True, slots=True)
class HubSource:
    """A data set on the hub, or in a folder that is laid out like one.

    Args:
        name: Its name.
        configuration: Which of its configurations; None for the only one.
        split: Which split; None where the source does not say.
    """

    name: str
    configuration: str | None = None
    split: str | None = None


def parse_source(source: str) -> FileSource | HubSource:
    """What a source names.

    Args:
        source: A text, JSON, JSON lines, CSV or Parquet file, as it is or compressed (`.gz`, `.bz2`, `.xz`, `.zst`); or
            a data set on the hub, `name`, `name:configuration` or `name:configuration:split`, of which the
            configuration may be empty, `name::split`.

    Raises:
        TaskError: There is no such file, or its name does not say how to read it.
    """
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
    """The rows of a source, as they are needed: of a large one no more is read than is asked for.

    Of a text each line is a row, with the column `text`. A JSON file that is one list is read whole; JSON lines, one
    object in each, are not.

    Args:
        source: As in `parse_source`.
        split: Which split of a data set on the hub, where the source does not say.

    Raises:
        TaskError: There is no such file, or it cannot be read. Of broken JSON lines the message says which.
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
    """Without `datasets`, which has pyarrow fetch all of a file before its first row is there."""
    from pyarrow import parquet

    file: Any = cast(Any, parquet).ParquetFile(path, pre_buffer=False)
    for batch in file.iter_batches(batch_size=_ROWS_PER_READ):
        yield from batch.to_pylist()


def _reason(place: FileSource | HubSource, error: Exception) -> str:
    if isinstance(place, HubSource):
        said = _first_line(error)
        offline = isinstance(error, ConnectionError)
        return f"{said}. There is no file of that name either" if offline else said
    if place.path.stat().st_size == 0:
        return "it is empty"
    return (broken_line(place.path) if place.reader == "json" else None) or _first_line(error)


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [repr(error)])[0]


def read_texts(source: str, column: str | None = None) -> Iterator[str]:
    """The text of each row of a source, up to `MOST_CHARACTERS`.

    Args:
        source: As in `parse_source`.
        column: As in `text_of`.

    Raises:
        TaskError: It cannot be read, or a row has no text.
    """
    length = 0
    for number, row in enumerate(read_rows(source), start=1):
        text = text_of(row, f"row {number} of {source!r}", column)
        yield text
        length += len(text)
        if length > MOST_CHARACTERS:
            return


def text_of(row: Row, where: str, column: str | None = None) -> str:
    """The text of a row.

    Args:
        row: One of a source's rows.
        where: Which, for what goes wrong.
        column: The column with the text; by default `text`, or the first one that holds strings.

    Raises:
        TaskError: There is no such column, or it holds no text.
    """
    if column is None:
        column = (
            "text" if "text" in row else next((name for name, value in row.items() if isinstance(value, str)), None)
        )
    found = None if column is None else row.get(column)
    if not isinstance(found, str):
        wanted = "no column" if column is None else f"the column {column!r}"
        verb = "holds" if column is None else "does not hold"
        raise TaskError(f"{wanted} of {where} {verb} text; it has: {', '.join(row)}")
    return found


def english_paragraphs() -> list[str]:
    """The paragraphs of the English reference text that comes with Python (`pydoc_data.topics`)."""
    from pydoc_data import topics

    texts = (text for _, text in sorted(topics.topics.items()))
    return [" ".join(paragraph.split()) for text in texts for paragraph in text.split("\n\n") if paragraph.strip()]


_SHOWN = 60


def broken_line(path: Path) -> str | None:
    """The first line that is no JSON object, and why, in words; None where all are.

    Args:
        path: A file of JSON lines, or of one JSON list, compressed or not.
    """
    import fsspec

    number = 0
    try:
        with cast(Any, fsspec).open(str(path), "rb", compression="infer") as lines:
            for number, line in enumerate(lines, start=1):
                if number == 1 and line.lstrip().startswith(b"["):
                    return _broken_list(line + lines.read())
                reason = _fault_of_line(line)
                if reason is not None:
                    return f"line {number} {reason}: {_summary(line)}"
    except (OSError, EOFError) as error:  # compressed, and damaged
        return f"after line {number}: {error}"
    return None


def _fault_of_line(line: bytes) -> str | None:
    if not line.strip():
        return None
    try:
        found = json.loads(line)
    except json.JSONDecodeError as error:
        return f"is no JSON ({error.msg} at character {error.pos + 1})"
    except UnicodeDecodeError as error:
        return f"is no UTF-8 ({error.reason} at byte {error.start + 1})"
    return None if isinstance(found, dict) else f"is a {type(found).__name__}, not an object"


def _broken_list(text: bytes) -> str | None:
    try:
        json.loads(text)
    except json.JSONDecodeError as error:
        return f"line {error.lineno} is no JSON ({error.msg} at character {error.colno})"
    except UnicodeDecodeError as error:
        return f"it is no UTF-8 ({error.reason} at byte {error.start + 1})"
    return None


def _summary(line: bytes) -> str:
    text = line.decode(errors="replace").strip()
    return repr(text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…")


def read_text(source: str | None) -> str:
    """The text behind `Text.source`, up to two million characters.

    Raises:
        TaskError: It cannot be read, or holds no text.
    """
    if source is None:
        from pydoc_data import topics

        return "\n\n".join(text for _, text in sorted(topics.topics.items()))
    text = "\n".join(read_texts(source))
    if not text.strip():
        raise TaskError(f"the text {source!r} is empty")
    return text
