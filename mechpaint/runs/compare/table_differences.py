"""Runs with a measure of their own, compared row by row with the first of them.

What such records are of is not known: there is nothing to resample, and differences have no intervals.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

from mechpaint.report import Table
from mechpaint.runs.compare.inputs import Apart, ComparedRun, Made, apart_table

_MOST = 100
_AGAIN = "row of the same"


@dataclass(frozen=True)
class _Row:
    """A value in both runs."""

    column: str
    where: str
    first: float
    other: float

    @property
    def change(self) -> float:
        return self.other - self.first


def measured_report(sides: Sequence[ComparedRun]) -> Made:
    """Differences of each run to the first."""
    pairs = [(side, _differences(sides[0].table, side.table)) for side in sides[1:]]
    unlike = [each for side in sides[1:] for each in _apart(sides[0], side)]
    return Made(
        [_summary(sides[0], side, rows) for side, rows in pairs],
        [_table(sides[0], side, rows, place) for place, (side, rows) in enumerate(pairs, start=1) if rows],
        apart_table(list(dict.fromkeys(unlike))),
    )


def _differences(first: Any, other: Any) -> list[_Row]:
    """The numbers of rows that are alike in everything else; of several such rows, those at the same place."""
    values = [name for name in first.columns if first[name].dtype.kind == "f"]
    keys = [name for name in first.columns if name not in values]
    pairs = _numbered(first, keys).merge(_numbered(other, keys), on=[*keys, _AGAIN], suffixes=(" 1", " 2"))
    where = [", ".join(map(str, row)) for row in pairs[keys].itertuples(index=False)]
    rows = [
        _Row(name, at, float(one), float(two))
        for name in values
        for at, one, two in zip(where, pairs[f"{name} 1"], pairs[f"{name} 2"], strict=True)
        if one == one and two == two
    ]
    return sorted(rows, key=lambda row: (values.index(row.column), -abs(row.change)))


def _numbered(table: Any, keys: list[str]) -> Any:
    return table.assign(**{_AGAIN: table.groupby(keys, sort=False).cumcount()})


def _summary(first: ComparedRun, side: ComparedRun, rows: Sequence[_Row]) -> str:
    if not rows:
        return f"{side.name} and {first.name} have no rows of numbers in common."
    same = sum(row.change == 0 for row in rows)
    return (
        f"{side.name} against {first.name}: {len(rows):,} values in common, {same:,} of them equal. Differences have "
        "no intervals, since these records have no items to resample."
    )


def _table(first: ComparedRun, side: ComparedRun, rows: Sequence[_Row], place: int) -> Table:
    shown: list[_Row] = []
    for column in dict.fromkeys(row.column for row in rows):
        shown += [row for row in rows if row.column == column][:_MOST]
    cut = f", the {_MOST} largest of each column" if len(shown) < len(rows) else ", the largest first"
    return Table(
        f"differences-{place}",
        f"{side.name} minus {first.name}",
        f"Values in both runs{cut}. There are no intervals.",
        ("where", "column", first.name, side.name, "difference"),
        [(r.where, r.column, f"{r.first:.4g}", f"{r.other:.4g}", f"{r.change:+.4g}") for r in shown],
    )


def _apart(first: ComparedRun, side: ComparedRun) -> list[Apart]:
    labels = [list(dict.fromkeys(cast("Any", each.table["label"]))) for each in (first, side)]
    return [
        Apart("labels", first.name, tuple(label for label in labels[0] if label not in labels[1])),
        Apart("labels", side.name, tuple(label for label in labels[1] if label not in labels[0])),
    ]
