"""Labelled texts from files, or by the name that `datasets` knows them by."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mechpaint.finetuning.labelled import GLUE, Labelled, examples, own, split
from mechpaint.finetuning.settings import FineTuningError

_READERS = {".json": "json", ".jsonl": "json", ".csv": "csv", ".parquet": "parquet"}
_HUB = "nyu-mll/glue"

Rows = list[Mapping[str, Any]]


def labelled(
    benchmark: str = "",
    train: str | None = None,
    validation: str | None = None,
    held_out: float = 0.25,
    seed: int = 0,
) -> Labelled:
    """Labelled texts: a task of GLUE, or data of one's own in the same columns.

    Args:
        benchmark: One of `GLUE`, which says the columns, labels and metric. Empty for data with the columns `sentence`,
            or `sentence1` and `sentence2`, and `label`: whole numbers from 0 are classes, others a regression.
        train: A JSON, JSON Lines, CSV or Parquet file, or the name of a data set on the hub, whose split `train` is
            taken. None for GLUE's own data set on the hub. The hub is asked over the network.
        validation: The same to validate on. Without it a data set on the hub has a split for that, and a file is split.
        held_out: The share of a file that is split which becomes the validation set.
        seed: Of that split.

    Raises:
        FineTuningError: There is no such benchmark or file, it cannot be read, or is not as described.
    """
    if benchmark and benchmark not in GLUE:
        raise FineTuningError(f"there is no task {benchmark!r} in GLUE; there are: {', '.join(GLUE)}")
    if not benchmark and train is None:
        raise FineTuningError(f"expected one of GLUE's tasks ({', '.join(GLUE)}), or a file to train on: train=FILE")
    if not 0 < held_out < 1:
        raise FineTuningError(f"held_out is a share between 0 and 1, got {held_out}")
    kind = GLUE.get(benchmark)
    name = train or f"{_HUB} ({benchmark})"
    rows = _rows(train, benchmark, "train")
    if validation is None and _is_file(train):
        kind = kind or own(rows, name)
        parts = split(examples(rows, kind, name), held_out, seed)
        sizes = f"{len(parts[0])} to train on, {len(parts[1])} to validate on"
        return Labelled(kind, *parts, f"{name}, split by seed {seed}: {sizes}")
    more = _rows(validation or train, benchmark, kind.validation if kind else "validation")
    kind = kind or own([*rows, *more], name)
    other = validation or f"the validation set of {name}"
    source = f"{name} to train on ({len(rows)}), {other} to validate on ({len(more)})"
    return Labelled(kind, examples(rows, kind, name), examples(more, kind, other), source)


def _rows(source: str | None, benchmark: str, part: str) -> Rows:
    """All rows of a file, or of a part of a data set on the hub."""
    import datasets

    named = source or f"{_HUB} ({benchmark})"
    try:
        if _is_file(source):
            found: Any = datasets.load_dataset(_reader(str(source)), data_files=source, split="train", streaming=True)
        elif source is None:
            found = datasets.load_dataset(_HUB, benchmark, split=part, streaming=True)
        else:
            found = datasets.load_dataset(source, split=part, streaming=True)
        return list(found)
    except FineTuningError:
        raise
    except Exception as error:  # datasets raises whatever its readers do
        reason = (str(error).splitlines() or [repr(error)])[0]
        raise FineTuningError(f"cannot read the examples of {named!r}: {reason}") from error


def _is_file(source: str | None) -> bool:
    """Whether a file is meant."""
    if source is None:
        return False
    meant = Path(source).suffix.lower() in _READERS or source.startswith((".", "/", "~"))
    if meant and not Path(source).is_file():
        raise FineTuningError(f"there is no file {source!r}")
    return meant or Path(source).is_file()


def _reader(source: str) -> str:
    suffix = Path(source).suffix.lower()
    if suffix not in _READERS:
        raise FineTuningError(f"cannot tell how to read {source!r}: expected a file ending in {', '.join(_READERS)}")
    return _READERS[suffix]
