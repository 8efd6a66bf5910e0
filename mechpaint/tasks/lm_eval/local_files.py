"""Local files instead of the data sets on the hub that lm-eval's tasks name."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import yaml

from mechpaint.data import FileSource, parse_source, read_rows
from mechpaint.errors import TaskError
from mechpaint.readers import Row, json_rows


def task_on_files(yaml_path: Path, data: str, examples: str | None, folder: Path) -> Path:
    """Write a YAML file that includes a task's own and has it read local files.

    It asks the split `test`. Few-shot examples come from `examples`, or from `data` without the document that is asked,
    which lm-eval leaves out where both are the test split. The rows are those that every reader of mechpaint gives,
    handed on as Parquet, which keeps texts and numbers as they are.
    """
    sources = {"test": data} if examples is None else {"test": data, "train": examples}
    others = None if examples is None else "train"
    content = {
        "include": str(yaml_path.resolve()),
        "dataset_path": "parquet",
        "dataset_name": None,
        "dataset_kwargs": {
            "data_files": {split: _as_parquet(name, folder / f"{split}.parquet") for split, name in sources.items()},
            "cache_dir": str(folder / "cache"),
            "keep_in_memory": True,
        },
        "custom_dataset": None,
        "test_split": "test",
        "validation_split": None,
        "training_split": others,
        "fewshot_split": others or "test",
        "tag": None,
    }
    task = folder / "task.yaml"
    task.write_text(yaml.safe_dump(content), encoding="utf-8")
    return task


def _as_parquet(name: str, path: Path) -> str:
    """Write the rows of a file as Parquet, once they are checked."""
    import pyarrow as pa
    from pyarrow import parquet

    try:
        table = cast(Any, pa).Table.from_pylist(_rows(name))
    except cast(type[Exception], pa.ArrowException) as error:
        raise TaskError(f"--task-data: a column of {name!r} holds values of several kinds: {error}") from error
    cast(Any, parquet).write_table(table, path)
    return str(path)


def columns_of(file: str) -> list[str]:
    """The columns of a file."""
    return list(next(read_rows(file), dict[str, object]()))


def _rows(name: str) -> list[Row]:
    """The rows of a file, in which every one has every column."""
    try:
        source = parse_source(name)
    except TaskError as error:
        raise TaskError(f"--task-data: {error}") from error
    if not isinstance(source, FileSource):
        raise TaskError(f"--task-data: there is no file {name!r}")
    if source.reader == "json":
        placed = list(json_rows(source.path))
    else:
        placed = [(f"row {number}", cast(Row | None, row)) for number, row in enumerate(read_rows(name), start=1)]
    _check_rows(name, placed)
    rows = [row for _, row in placed if row is not None]
    if source.reader == "csv":
        _check_cells(name, rows)
    return rows


def _check_cells(file: str, rows: list[Row]) -> None:
    """Refuse empty cells of CSV: lm-eval would put 'None'."""
    empty = [f"row {number} has no {key!r}" for number, row in enumerate(rows, 1) for key in row if row[key] is None]
    if empty:
        raise TaskError(f'{file}: {empty[0]}{_and_more(empty)}; JSON lines can say "" or null, whichever is meant')


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
