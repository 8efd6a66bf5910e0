"""Local files instead of the data sets on the hub that lm-eval's tasks name."""

from __future__ import annotations

from pathlib import Path

import yaml

from mechpaint.data import FileSource, Row, json_rows, parse_source, read_rows
from mechpaint.errors import TaskError


def task_on_files(yaml_path: Path, data: str, examples: str | None, folder: Path) -> Path:
    """Write a YAML file that includes a task's own and has it read local files.

    It asks the split `test`. Few-shot examples come from `examples`, or from `data` less the document that is asked,
    which lm-eval leaves out where both are the test split.
    """
    sources = {"test": _file(data)} if examples is None else {"test": _file(data), "train": _file(examples)}
    readers = {source.reader for source in sources.values()}
    if len(readers) > 1:
        raise TaskError(f"expected both files to be of one kind, got {data!r} and {examples!r}")
    others = None if examples is None else "train"
    content = {
        "include": str(yaml_path),
        "dataset_path": readers.pop(),
        "dataset_name": None,
        "dataset_kwargs": {"data_files": {split: str(source.path.resolve()) for split, source in sources.items()}},
        "custom_dataset": None,
        "test_split": "test",
        "validation_split": None,
        "training_split": others,
        "fewshot_split": others or "test",
        "tag": None,
    }
    task = folder / "task.yaml"
    task.write_text(yaml.safe_dump(content))
    return task


def columns_of(file: str) -> list[str]:
    """The columns of a file."""
    return list(next(read_rows(file), dict[str, object]()))


def _file(name: str) -> FileSource:
    """Parse the name of a file, and check its rows if it is JSON."""
    try:
        source = parse_source(name)
    except TaskError as error:
        raise TaskError(f"--task-data: {error}") from error
    if not isinstance(source, FileSource):
        raise TaskError(f"--task-data: there is no file {name!r}")
    if source.reader == "json":
        _check_rows(name, list(json_rows(source.path)))
    return source


def _check_rows(file: str, rows: list[tuple[str, Row | None]]) -> None:
    """Refuse rows that are broken or not alike: lm-eval would put 'None' for a column that a row lacks."""
    if not rows:
        raise TaskError(f"{file} has no rows")
    broken = [fault for fault, row in rows if row is None]
    if broken:
        raise TaskError(f"{file}: {broken[0]}{_and_more(broken)}")
    columns = list(dict.fromkeys(name for _, row in rows for name in row or ()))
    lacking = [f"{where} has no {name!r}" for where, row in rows for name in columns if name not in (row or ())]
    if lacking:
        raise TaskError(
            f"{file}: {lacking[0]}, which other rows have{_and_more(lacking)}; write null where it is meant"
        )


def _and_more(faults: list[str]) -> str:
    return f" ({len(faults)} such in all)" if len(faults) > 1 else ""
