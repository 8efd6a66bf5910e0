"""Local files instead of the data sets on the hub that lm-eval's tasks name."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from mechpaint.errors import TaskError

_READERS = {".json": "json", ".jsonl": "json", ".csv": "csv", ".parquet": "parquet"}


def defined_with(yaml_path: Path, data: str, examples: str | None, folder: Path) -> Path:
    """A YAML file that includes a task's own, and has it read local files.

    What is asked is the split `test`, whichever the task asks otherwise. Examples for few-shot prompts are drawn from
    their own file, or from the same one, less the document that is asked: lm-eval sees to that where both are the test
    split.

    Args:
        yaml_path: The task's own file.
        data: A JSON, JSON lines, CSV or Parquet file with the documents that are asked.
        examples: One of the same kind with those for few-shot prompts; None for the documents that are asked.
        folder: Where to write.

    Raises:
        TaskError: One of the files is none of these, or is broken.
    """
    files = {"test": data} if examples is None else {"test": data, "train": examples}
    readers = {_checked(file) for file in files.values()}
    if len(readers) > 1:
        raise TaskError(f"expected both files to be of one kind, got {data!r} and {examples!r}")
    others = None if examples is None else "train"
    content = {
        "include": str(yaml_path),
        "dataset_path": readers.pop(),
        "dataset_name": None,
        "dataset_kwargs": {"data_files": {split: str(_path(file).resolve()) for split, file in files.items()}},
        "custom_dataset": None,
        "test_split": "test",
        "validation_split": None,
        "training_split": others,
        "fewshot_split": others or "test",
        "tag": None,
    }
    written = folder / "task.yaml"
    written.write_text(yaml.safe_dump(content))
    return written


def columns_of(file: str) -> list[str]:
    """The columns of a file.

    Args:
        file: One that `defined_with` takes.
    """
    import datasets

    reader = _READERS[_path(file).suffix.lower()]
    return list(datasets.load_dataset(reader, data_files=str(_path(file)), split="train").column_names)


def _path(file: str) -> Path:
    return Path(file).expanduser()


def _checked(file: str) -> str:
    """The name of the reader of a file that can be read."""
    path = _path(file)
    reader = _READERS.get(path.suffix.lower())
    if not path.is_file():
        raise TaskError(f"--task-data: there is no file {file!r}")
    if reader is None:
        raise TaskError(f"--task-data: cannot tell how to read {file!r}: expected an ending of {', '.join(_READERS)}")
    if reader == "json":
        _check_rows(file, list(_json_rows(path, file)))
    return reader


def _json_rows(path: Path, file: str) -> Iterator[tuple[str, Any]]:
    """Where each row is, and what it is."""
    text = path.read_text(encoding="utf-8")
    if text.lstrip().startswith("["):
        try:
            yield from ((f"row {i}", row) for i, row in enumerate(json.loads(text), start=1))
        except json.JSONDecodeError as error:
            raise TaskError(f"{file}, line {error.lineno}: not JSON ({error.msg})") from error
        return
    broken: list[str] = []
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            try:
                yield f"line {number}", json.loads(line)
            except json.JSONDecodeError as error:
                broken.append(f"line {number}: not JSON ({error.msg})")
    if broken:
        raise TaskError(f"{file}, {broken[0]}{_and_more(broken)}")


def _check_rows(file: str, rows: list[tuple[str, Any]]) -> None:
    """Refuse a file whose rows are not alike: what a row has not would be asked as 'None'."""
    if not rows:
        raise TaskError(f"{file} has no rows")
    wrong = [where for where, row in rows if not isinstance(row, Mapping)]
    if wrong:
        raise TaskError(f'{file}, {wrong[0]}: expected an object, such as {{"text": …}}{_and_more(wrong)}')
    columns = list(dict.fromkeys(name for _, row in rows for name in row))
    lacking = [f"{where} has no {name!r}" for where, row in rows for name in columns if name not in row]
    if lacking:
        raise TaskError(
            f"{file}: {lacking[0]}, which other rows have{_and_more(lacking)}; write null where it is meant"
        )


def _and_more(found: list[str]) -> str:
    return f" ({len(found)} such in all)" if len(found) > 1 else ""
