"""What commands print of a report: on stdout, its first table and where the page is, or all tables as JSON.

Nothing at the top of this file imports torch, so that `mechpaint --help` answers at once.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

from rich.console import Console
from rich.table import Table
from rich.text import Text

from mechpaint.display.sanitize import sanitize
from mechpaint.display.summary import Summary

if TYPE_CHECKING:
    from mechpaint.runs.compare import Compared
    from mechpaint.runs.run_folder import Finished, Unfinished


def print_made(made: Finished | Unfinished, as_json: bool) -> None:
    """Print what a run, or a share of one, comes to.

    Args:
        made: The run.
        as_json: Whether to print JSON.
    """
    from mechpaint.runs.run_folder import Finished

    if isinstance(made, Finished):
        print_finished(made, as_json)
    elif as_json:
        shown = {"run": str(made.folder), "shard": str(made.shard), "cells": made.cells, "missing": made.missing}
        print(json.dumps(shown, indent=2))  # noqa: T201
    else:
        print(f"shard {made.shard}: {made.done}\n{made.left}")  # noqa: T201


def print_finished(finished: Finished, as_json: bool) -> None:
    """Print what a run comes to.

    Args:
        finished: The run.
        as_json: Whether to print JSON.
    """
    _print(finished, "run", as_json, finished.done)


def print_compared(compared: Compared, as_json: bool) -> None:
    """Print what a comparison comes to.

    Args:
        compared: The comparison.
        as_json: Whether to print JSON.
    """
    _print(compared, "comparison", as_json, "\n".join(map(sanitize, compared.report.summary)))


def print_plan(forecast: Mapping[str, Any], as_json: bool) -> None:
    """Print what a run would do and cost.

    Args:
        forecast: Numbers, texts, or numbers and texts by name, each by its name.
        as_json: Whether to print JSON.
    """
    if as_json:
        print(json.dumps(forecast, indent=2))  # noqa: T201
        return
    table = Table(title="plan (nothing was computed or written)", title_justify="left", show_header=False)
    for name, value in forecast.items():
        table.add_row(name, Text(sanitize(_summary(value))))
    Console().print(table)


def _summary(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {one}" for name, one in cast("dict[str, Any]", value).items())
    if isinstance(value, str):
        return value
    return f"{value:.4g}" if isinstance(value, float) and value >= 1e9 else f"{value:,}"


def _print(made: Finished | Compared, what: str, as_json: bool, said: str) -> None:
    from mechpaint import report

    tables = [section for section in made.report.sections if isinstance(section, report.Table)]
    if as_json:
        summary = {t.name: [dict(zip(t.columns, row, strict=True)) for row in t.rows] for t in tables}
        print(json.dumps({what: str(made.folder), "report": str(made.page), **summary}, indent=2))  # noqa: T201
        return
    for table in tables[:1]:
        Console().print(Summary(table.title, (), table.columns, table.rows).rich())
    print(f"{said}\nreport: {made.page}")  # noqa: T201
