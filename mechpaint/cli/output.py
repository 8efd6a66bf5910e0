"""Results of commands on stdout: a report's first table and its page, or all tables as JSON.

Nothing at the top of this file imports torch, so that `mechpaint --help` answers at once.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

from rich.console import Console, Group
from rich.padding import Padding
from rich.text import Text

from mechpaint.display.sanitize import sanitize
from mechpaint.display.summary import Summary
from mechpaint.display.terminal import Rows

if TYPE_CHECKING:
    from pathlib import Path

    from mechpaint.report import Report
    from mechpaint.runs.compare import Comparison
    from mechpaint.runs.run import Run


def print_run(run: Run, shard: str | None, as_json: bool) -> None:
    """Print what a run comes to; of a shard, while other cells are missing, what is left."""
    if shard is None or not run.missing:
        _print(run.report, {"run": str(run.path)}, run.page, as_json, str(run.work or "all was computed before"))
    elif as_json:
        cells = {"cells": len(run.manifest.cells), "missing": len(run.missing)}
        print(json.dumps({"run": str(run.path), "shard": shard, **cells}, indent=2))  # noqa: T201
    else:
        print(f"shard {shard}: {run.work}\n{run.left}")  # noqa: T201


def print_comparison(comparison: Comparison, as_json: bool) -> None:
    """Print what a comparison comes to."""
    report = comparison.report
    words = "\n".join(map(sanitize, report.summary))
    _print(report, {"comparison": str(comparison.path)}, comparison.page, as_json, words)


def print_plan(forecast: Mapping[str, Any], as_json: bool) -> None:
    """Print what a run would do and cost."""
    if as_json:
        print(json.dumps(forecast, indent=2))  # noqa: T201
        return
    print_rows("plan (nothing was computed or written)", (), [(name, _summary(one)) for name, one in forecast.items()])


def print_rows(title: str, columns: Sequence[str], rows: Sequence[Sequence[str | Text]], style: str = "") -> None:
    """Print a table."""
    Console().print(Group(Text(title, "italic"), Padding(Rows(columns, rows, style), (0, 0, 0, 0 if columns else 2))))


def _summary(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {one}" for name, one in cast("dict[str, Any]", value).items())
    if isinstance(value, str):
        return value
    return f"{value:.4g}" if isinstance(value, float) and value >= 1e9 else f"{value:,}"


def _print(report: Report, where: dict[str, str], page: Path, as_json: bool, words: str) -> None:
    """A report's first table and where its page is, or all tables as JSON."""
    from mechpaint.report import Table as ReportTable

    tables = [section for section in report.sections if isinstance(section, ReportTable)]
    if as_json:
        rows = {table.name: [dict(zip(table.columns, row, strict=True)) for row in table.rows] for table in tables}
        print(json.dumps({**where, "report": str(page), **rows}, indent=2))  # noqa: T201
        return
    for table in tables[:1]:
        Console().print(Summary(table.title, (), table.columns, table.rows).rich())
    print(f"{words}\nreport: {page}")  # noqa: T201
