"""`mechpaint runs`, `report` and `compare`: runs that are there.

Nothing at the top of this file imports torch, so that `mechpaint --help` answers at once.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mechpaint.cli.errors import given_command, handle_errors, print_warning
from mechpaint.cli.output import print_comparison, print_rows, print_run
from mechpaint.plugins import Registry

if TYPE_CHECKING:
    from mechpaint.runs.run import Run


def runs_command(registry: Registry) -> Callable[..., None]:
    """The command `runs`."""

    def runs(
        folder: Annotated[str, typer.Argument(help="The folder of all runs: the --out of the analyses.")] = "runs",
        as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    ) -> None:
        """Show the runs there are, and how far each has come."""
        with handle_errors("nothing was written"):
            from mechpaint.runs.run import earlier_runs_in, runs_in

            there, earlier = runs_in(Path(folder), registry), earlier_runs_in(Path(folder))
        if as_json:
            print(json.dumps([_facts(run) for run in there], indent=2))  # noqa: T201
        else:
            _show(there, folder)
        for path in earlier:
            print_warning(f"{path} is a run of an earlier mechpaint, which this one does not read")

    return runs


def _facts(run: Run) -> dict[str, object]:
    return {
        "run": str(run.path),
        "analysis": run.manifest.analysis,
        "model": run.manifest.model,
        "command": run.manifest.command,
        "when": run.when.isoformat(timespec="seconds"),
        "cells": len(run.manifest.cells),
        "done": len(run.whole),
        "damaged": list(run.damaged),
        "state": run.state,
    }


def _show(there: list[Run], folder: str) -> None:
    from rich.text import Text

    from mechpaint.display.sanitize import sanitize

    if not there:
        print(f"There are no runs in {sanitize(folder)}.")  # noqa: T201
        return
    rows = [
        (
            run.name,
            run.manifest.model or "",
            f"{run.when:%Y-%m-%d %H:%M}",
            f"{len(run.whole)} of {len(run.manifest.cells)}",
            Text(run.state, {"damaged": "red", "finished": "green"}.get(run.state, "")),
        )
        for run in there
    ]
    print_rows("runs", ("run", "model", "when", "cells", "state"), rows)


def report_command(registry: Registry) -> Callable[..., None]:
    """The command `report`."""

    def report(
        run: Annotated[str, typer.Argument(help="A run folder, or the beginning of its fingerprint.")],
        out: Annotated[str, typer.Option(help="The folder of all runs, where RUN is the beginning of one.")] = "runs",
        as_json: Annotated[bool, typer.Option("--json", help="Print the results as JSON.")] = False,
    ) -> None:
        """Draw a run's report again from its cells, without the model, its tasks' data or the network."""
        with handle_errors("the report may be the old one; give the same command again"):
            from mechpaint.runs.run import Run, find_run

            drawn = Run.open(find_run(run, Path(out)), registry).draw()
        print_run(drawn, None, as_json)

    return report


def compare_command(registry: Registry) -> Callable[..., None]:
    """The command `compare`."""

    def compare(
        run: Annotated[list[str], typer.Argument(help="Two run folders or more, or the beginnings of fingerprints.")],
        out: Annotated[str, typer.Option(help="The folder of all runs; the page goes to compare/ in it.")] = "runs",
        as_json: Annotated[bool, typer.Option("--json", help="Print the results as JSON.")] = False,
    ) -> None:
        """Compare runs with the first of them: what differs, with intervals, and what they do not have in common."""
        with handle_errors("the page may be an old one; give the same command again"):
            from mechpaint.runs.compare import compare_runs
            from mechpaint.runs.run import Run, find_run

            runs = [Run.open(find_run(named, Path(out)), registry) for named in run]
            comparison = compare_runs(runs, Path(out), given_command())
        print_comparison(comparison, as_json)

    return compare
