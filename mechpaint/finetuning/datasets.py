"""Labelled texts from files or the Hugging Face hub."""

from __future__ import annotations

from mechpaint.data import FileSource, HubSource, parse_source, read_rows
from mechpaint.errors import TrainingError
from mechpaint.finetuning.benchmarks import GLUE, Labelled, examples, own, split
from mechpaint.readers import Row

_HUB = "nyu-mll/glue"


def labelled(
    benchmark: str = "",
    train: str | None = None,
    validation: str | None = None,
    held_out: float = 0.25,
    seed: int = 0,
) -> Labelled:
    """Load labelled texts: a GLUE task, or custom data in the same columns.

    Args:
        benchmark: One of `GLUE`, which sets columns, labels and metric. Empty for data with the columns `sentence`, or
            `sentence1` and `sentence2`, and `label`: whole numbers from 0 are classes, others a regression.
        train: A file, or a data set on the hub, read over the network; of the latter the split `train`, unless it names
            another. None for GLUE's own data set on the hub.
        validation: The same for validation. By default, the validation split of a hub data set, or a share of a file.
        held_out: The share of a file to hold out for validation.
        seed: Random seed of that split.

    Raises:
        TrainingError: An unknown benchmark, data that do not fit the description, or `train` naming a split of a hub
            data set without `validation`.
        TaskError: A file that is missing or cannot be read.
    """
    if benchmark and benchmark not in GLUE:
        raise TrainingError(f"there is no task {benchmark!r} in GLUE; there are: {', '.join(GLUE)}")
    if not benchmark and train is None:
        raise TrainingError(f"expected one of GLUE's tasks ({', '.join(GLUE)}), or a file to train on: train=FILE")
    if not 0 < held_out < 1:
        raise TrainingError(f"held_out is a share between 0 and 1, got {held_out}")
    kind = GLUE.get(benchmark)
    place = parse_source(train or f"{_HUB}:{benchmark}")
    if validation is None and isinstance(place, HubSource) and place.split is not None:
        raise TrainingError(f"{train!r} names the split to train on: say what to validate on, validation=SOURCE")
    name = train or f"{_HUB} ({benchmark})"
    rows = _rows(train, benchmark, "train")
    if validation is None and isinstance(place, FileSource):
        kind = kind or own(rows, name)
        parts = split(examples(rows, kind, name), held_out, seed)
        sizes = f"{len(parts[0])} to train on, {len(parts[1])} to validate on"
        return Labelled(kind, *parts, f"{name}, split by seed {seed}: {sizes}")
    more = _rows(validation or train, benchmark, kind.validation if kind else "validation")
    kind = kind or own([*rows, *more], name)
    other = validation or f"the validation set of {name}"
    source = f"{name} to train on ({len(rows)}), {other} to validate on ({len(more)})"
    return Labelled(kind, examples(rows, kind, name), examples(more, kind, other), source)


def _rows(source: str | None, benchmark: str, part: str) -> list[Row]:
    """Read all rows of a file, or of one split of a hub data set."""
    return list(read_rows(source or f"{_HUB}:{benchmark}", part))
