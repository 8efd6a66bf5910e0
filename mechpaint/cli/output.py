"""Results of commands on stdout: what was found in a line and where the page is, or all tables as text or JSON.

Nothing at the top of this file imports torch, so that `mechpaint --help` answers at once.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

from rich.console import Console, Group
from rich.padding import Padding
from rich.text import Text

from mechpaint.display.sanitize import sanitize
from mechpaint.display.terminal import Rows

if TYPE_CHECKING:
    from pathlib import Path

    from mechpaint.report import Cell, Report, Table
    from mechpaint.runs.compare import Comparison
    from mechpaint.runs.run import Run


_MOST_ROWS = 5
"""Of a comparison's table, the largest differences first."""


def print_run(run: Run, shard: str | None, tables: bool, as_json: bool) -> None:
    """Print what a run comes to; of a shard, while other cells are missing, what is left."""
    if shard is not None and run.missing:
        _print_missing(run, shard, as_json)
    elif as_json:
        _print_json(run.report, {"run": str(run.path)}, run.page)
    else:
        if tables:
            _print_tables(run.report)
        told = run.headline
        highlights = " · ".join(f"{name}: {value}" for name, value in told.highlights)
        said = highlights or " ".join(told.summary[:1])
        Console().print(Text.assemble((sanitize(told.title), "bold"), "\n", sanitize(said)))
        print(f"{run.work or 'all was computed before'}\nreport: {run.page}")  # noqa: T201


def print_comparison(comparison: Comparison, tables: bool, as_json: bool) -> None:
    """Print what a comparison comes to."""
    report = comparison.report
    if as_json:
        _print_json(report, {"comparison": str(comparison.path)}, comparison.page)
        return
    if tables:
        _print_tables(report)
    for table in _tables(report)[: 0 if tables else 1]:
        print_rows(table.title, table.columns, table.texts[:_MOST_ROWS])
        if len(table.rows) > _MOST_ROWS:
            print(f"… and {len(table.rows) - _MOST_ROWS:,} more (--tables)")  # noqa: T201
    print("\n".join([*map(sanitize, report.summary), f"report: {comparison.page}"]))  # noqa: T201


def print_plan(forecast: Mapping[str, Any], as_json: bool) -> None:
    """Print what a run would do and cost."""
    if as_json:
        print(json.dumps(forecast, indent=2))  # noqa: T201
        return
    print_rows("plan (nothing was computed or written)", (), [(name, _summary(one)) for name, one in forecast.items()])


def print_rows(title: str, columns: Sequence[str], rows: Sequence[Sequence[str | Text]], style: str = "") -> None:
    """Print a table."""
    table = Rows(columns, rows, style)
    # a name to be copied may be wider than the terminal, and padding would crop it
    Console().print(Group(Text(title, "italic"), table if columns else Padding(table, (0, 0, 0, 2))), crop=False)


def _summary(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {one}" for name, one in cast("dict[str, Any]", value).items())
    if isinstance(value, str):
        return value
    return f"{value:.4g}" if isinstance(value, float) and value >= 1e9 else f"{value:,}"


def _print_missing(run: Run, shard: str, as_json: bool) -> None:
    if as_json:
        cells = {"cells": len(run.manifest.cells), "missing": len(run.missing)}
        print(json.dumps({"run": str(run.path), "shard": shard, **cells}, indent=2))  # noqa: T201
    else:
        print(f"shard {shard}: {run.work}\n{run.left}")  # noqa: T201


def _tables(report: Report) -> list[Table]:
    from mechpaint.report import Table

    return [section for section in report.sections if isinstance(section, Table)]


def _print_tables(report: Report) -> None:
    for table in _tables(report):
        print_rows(table.title, table.columns, table.texts)


def _print_json(report: Report, where: dict[str, str], page: Path) -> None:
    """All tables, with numbers as numbers."""
    rows: dict[str, Any] = {}
    for table in _tables(report):
        columns = [_values(column) for column in zip(*table.rows, strict=True)]
        rows[table.name] = [dict(zip(table.columns, row, strict=True)) for row in zip(*columns, strict=True)]
    told = dict(report.highlights)
    print(json.dumps({**where, "report": str(page), "highlights": told, **rows}, indent=2))  # noqa: T201


def _values(column: Sequence[Cell]) -> list[Any]:
    """A column's values: estimates with their intervals; numbers where every text is one, and null for no number."""
    texts = [cell for cell in column if isinstance(cell, str) and cell not in _NOTHING]
    try:
        numbers = {text: _finite(float(text)) for text in texts}
    except ValueError:
        numbers = None
    return [_value(cell, numbers) for cell in column]


_NOTHING = ("", "–")


def _value(cell: Cell, numbers: Mapping[str, float | None] | None) -> Any:
    if not isinstance(cell, str):
        return {"value": _finite(cell.value), "low": _finite(cell.low), "high": _finite(cell.high)}
    if numbers is None:
        return cell
    number = None if cell in _NOTHING else numbers[cell]
    return int(cell) if number is not None and cell.lstrip("+-").isdigit() else number


def _finite(number: float) -> float | None:
    """JSON has no NaN."""
    return number if math.isfinite(number) else None
