"""`mechpaint runs`: which runs there are.

Nothing at the top of this file imports torch, so that `mechpaint --help` answers at once.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mechpaint.cli.errors import given_command, handle_errors
from mechpaint.cli.output import print_compared, print_finished
from mechpaint.plugins import Registry

if TYPE_CHECKING:
    from mechpaint.runs.run_folder import KeptRun


def runs_command(
    folder: Annotated[str, typer.Argument(help="The folder of all runs: the --out of the analyses.")] = "runs",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show the runs there are, and how far each has come."""
    with handle_errors("nothing was written"):
        from mechpaint.runs.run_folder import kept_runs

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

    from mechpaint.display.sanitize import sanitize

    if not found:
        print(f"There are no runs in {sanitize(folder)}.")  # noqa: T201
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
        table.add_row(*(Text(sanitize(cell), overflow="fold") for cell in cells), Text(run.state, style))
    Console().print(table)


def report_command(registry: Registry) -> Callable[..., None]:
    """The command.

    Args:
        registry: What there is: a run's analysis draws its report.
    """

    def report(
        run: Annotated[str, typer.Argument(help="A run folder, or the beginning of its fingerprint.")],
        out: Annotated[str, typer.Option(help="The folder of all runs, where RUN is the beginning of one.")] = "runs",
        as_json: Annotated[bool, typer.Option("--json", help="Print the results as JSON.")] = False,
    ) -> None:
        """Draw a run's report anew from its cells, without the model, its tasks' data or the network."""
        with handle_errors("the report may be the old one; give the same command again"):
            from mechpaint.runs.run_folder import find_run, rebuild

            finished = rebuild(find_run(run, Path(out)), registry)
        print_finished(finished, as_json)

    return report


def compare_command(registry: Registry) -> Callable[..., None]:
    """The command.

    Args:
        registry: What there is: the runs' analyses.
    """

    def compare(
        run: Annotated[list[str], typer.Argument(help="Two run folders or more, or the beginnings of fingerprints.")],
        out: Annotated[str, typer.Option(help="The folder of all runs; the page goes to compare/ in it.")] = "runs",
        as_json: Annotated[bool, typer.Option("--json", help="Print the results as JSON.")] = False,
    ) -> None:
        """Compare runs with the first of them: what differs, with intervals, and what they do not have in common."""
        with handle_errors("the page may be an old one; give the same command again"):
            from mechpaint.runs.compare import compare as compared
            from mechpaint.runs.run_folder import find_run

            folders = [find_run(named, Path(out)) for named in run]
            found = compared(folders, Path(out), registry, given_command())
        print_compared(found, as_json)

    return compare
