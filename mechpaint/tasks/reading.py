"""Rows of data for tasks: from a file, or from a data set on the hub, one after the other."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeAlias

from mechpaint.tasks.items import TaskError

Row: TypeAlias = Mapping[str, Any]

_READERS = {
    ".txt": "text",
    ".md": "text",
    ".json": "json",
    ".jsonl": "json",
    ".csv": "csv",
    ".parquet": "parquet",
}


def read_rows(source: str, split: str = "train", configuration: str | None = None) -> Iterator[Row]:
    """The rows of a source, as they are needed. Of a text each line is one, with the column `text`.

    Args:
        source: A text, JSON, JSON lines, CSV or Parquet file; or the name of a data set on the hub, which asks the
            network.
        split: Which split of a data set on the hub.
        configuration: Which of its configurations, if it has several.

    Raises:
        TaskError: There is no such file, or it cannot be read.
    """
    path = Path(source)
    reader = _READERS.get(path.suffix.lower())
    if path.is_file() and reader is None:
        raise TaskError(f"cannot tell how to read {source!r}: expected a file ending in {', '.join(_READERS)}")
    if not path.is_file() and (reader is not None or source.startswith((".", "/", "~"))):
        raise TaskError(f"there is no file {source!r}")
    return _streamed(source, reader, split, configuration)


def _streamed(source: str, reader: str | None, split: str, configuration: str | None) -> Iterator[Row]:
    import datasets

    try:
        if reader is None:
            yield from datasets.load_dataset(source, configuration, split=split, streaming=True)
        else:
            yield from datasets.load_dataset(reader, data_files=source, split="train", streaming=True)
    except Exception as error:  # datasets raises whatever its readers do
        reason = (str(error).splitlines() or [repr(error)])[0]
        raise TaskError(f"cannot read {source!r}: {reason}") from error


def text_of(row: Row, source: str, column: str | None = None) -> str:
    """The text of a row.

    Args:
        row: One of a source's rows.
        source: The source, for what goes wrong.
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
        raise TaskError(f"{wanted} of {source!r} {verb} text; it has: {', '.join(row)}")
    return found


def english_paragraphs() -> list[str]:
    """The paragraphs of the English reference text that comes with Python (`pydoc_data.topics`)."""
    from pydoc_data import topics

    texts = (text for _, text in sorted(topics.topics.items()))
    return [" ".join(paragraph.split()) for text in texts for paragraph in text.split("\n\n") if paragraph.strip()]
