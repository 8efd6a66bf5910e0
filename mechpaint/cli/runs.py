"""`mechpaint runs`: which runs there are.

Nothing at the top of this file imports torch, so that `mechpaint --help` answers at once.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mechpaint.cli.telling import told

if TYPE_CHECKING:
    from mechpaint.runs.inventory import KeptRun


def runs_command(
    folder: Annotated[str, typer.Argument(help="The folder of all runs: the --out of the analyses.")] = "runs",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show the runs there are, and how far each has come."""
    with told("nothing was written"):
        from mechpaint.runs.inventory import kept_runs

        found = kept_runs(Path(folder))
    if as_json:
        print(json.dumps([_facts(run) for run in found], indent=2))  # noqa: T201
    else:
        _show(found, folder)


def _facts(run: KeptRun) -> dict[str, object]:
    return {
        "run": str(run.folder),
        "analysis": run.analysis,
        "model": run.model,
        "command": run.command,
        "when": run.when.isoformat(timespec="seconds"),
        "cells": None if run.cells is None else len(run.cells),
        "done": len(run.whole),
        "damaged": list(run.damaged),
        "state": run.state,
    }


def _show(found: list[KeptRun], folder: str) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from mechpaint.visible import visible

    if not found:
        print(f"There are no runs in {visible(folder)}.")  # noqa: T201
        return
    table = Table("run", "model", "when", "cells", "state", title="runs", title_justify="left")
    for run in found:
        cells = (
            f"{run.folder.parent.name}/{run.folder.name}",
            run.model or "",
            f"{run.when:%Y-%m-%d %H:%M}",
            f"{len(run.whole)} of {'?' if run.cells is None else len(run.cells)}",
        )
        style = {"damaged": "red", "finished": "green"}.get(run.state, "")
        table.add_row(*(Text(visible(cell), overflow="fold") for cell in cells), Text(run.state, style))
    Console().print(table)
