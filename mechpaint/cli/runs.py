"""`mechpaint runs`, `report` and `compare`: runs that are there.

Nothing at the top of this file imports torch, so that `mechpaint --help` answers at once.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer
from rich.text import Text

from mechpaint.cli import completion
from mechpaint.cli.errors import given_command, handle_errors, print_warning
from mechpaint.cli.output import print_comparison, print_rows, print_run
from mechpaint.display.sanitize import sanitize
from mechpaint.plugins import Registry
from mechpaint.runs.options import ExecutionOptions

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
        "settings": _settings(run),
        "when": run.when.isoformat(timespec="seconds"),
        "cells": len(run.manifest.cells),
        "done": len(run.whole),
        "damaged": list(run.damaged),
        "state": run.state,
    }


def _show(there: list[Run], folder: str) -> None:
    if not there:
        print(f"There are no runs in {sanitize(folder)}.")  # noqa: T201
        return
    unlike = _unlike(there)
    rows = [
        (
            Text(sanitize(run.name), no_wrap=True),
            run.manifest.model or "",
            unlike[run.path],
            f"{run.when:%Y-%m-%d %H:%M}",
            _state(run),
        )
        for run in there
    ]
    print_rows("runs", ("run", "model", "settings", "when", "state"), rows)


def _state(run: Run) -> Text:
    """How far it has come."""
    if run.state == "finished":
        return Text("finished", "green")
    words = f"{run.state}, {len(run.whole)} of {len(run.manifest.cells)}"
    return Text(words, "red" if run.state == "damaged" else "")


_NOT_SETTINGS = {"model", *(field.name for field in fields(ExecutionOptions))}


def _unlike(runs: Sequence[Run]) -> dict[Path, str]:
    """For each run the settings in which it differs from another of its analysis, but for those left empty."""
    asked = {run.path: _settings(run) for run in runs}
    unlike: dict[Path, str] = {}
    for run in runs:
        others = [asked[other.path] for other in runs if other.manifest.analysis == run.manifest.analysis]
        own = {
            name: value
            for name, value in asked[run.path].items()
            if value not in (None, "", []) and any(other.get(name) != value for other in others)
        }
        unlike[run.path] = " ".join(f"--{name.replace('_', '-')} {_written(value)}" for name, value in own.items())
    return unlike


def _settings(run: Run) -> dict[str, Any]:
    """A run's settings and options as they were asked for; of one with objects in memory only its configuration's."""
    request = run.manifest.request
    if request is None:
        return {name: value for name, value in run.manifest.config.items() if isinstance(value, str | int | float)}
    both: dict[str, Any] = {**request["settings"], **request["options"]}
    return {name: value for name, value in both.items() if name not in _NOT_SETTINGS}


def _written(value: Any) -> str:
    """A setting as the command line takes it."""
    listed = cast("list[Any]", value) if isinstance(value, list | tuple) else [value]
    return shlex.quote(",".join(map(str, listed)))


def report_command(registry: Registry) -> Callable[..., None]:
    """The command `report`."""

    def report(
        run: Annotated[
            str,
            typer.Argument(help="A run folder, or the beginning of its fingerprint.", autocompletion=completion.runs),
        ],
        out: Annotated[str, typer.Option(help="The folder of all runs, where RUN is the beginning of one.")] = "runs",
        tables: Annotated[bool, typer.Option("--tables", help="Print all tables.")] = False,
        as_json: Annotated[bool, typer.Option("--json", help="Print the results as JSON.")] = False,
    ) -> None:
        """Draw a run's report again from its cells, without the model, its tasks' data or the network."""
        with handle_errors("the report may be the old one; give the same command again"):
            from mechpaint.runs.run import Run, find_run

            drawn = Run.open(find_run(run, Path(out)), registry).draw()
        print_run(drawn, None, tables, as_json)

    return report


COMPARE_EXAMPLES = (
    "mechpaint compare painters/3f2a painters/91c0",
    "mechpaint compare runs/painters/3f2a19d0c4b57e68 other/runs/painters/91c04f6b2a87d35e --json",
)


def compare_command(registry: Registry) -> Callable[..., None]:
    """The command `compare`."""

    def compare(
        run: Annotated[
            list[str],
            typer.Argument(
                help="Two run folders or more, or the beginnings of fingerprints.", autocompletion=completion.runs
            ),
        ],
        out: Annotated[str, typer.Option(help="The folder of all runs; the page goes to compare/ in it.")] = "runs",
        tables: Annotated[bool, typer.Option("--tables", help="Print all tables.")] = False,
        as_json: Annotated[bool, typer.Option("--json", help="Print the results as JSON.")] = False,
    ) -> None:
        """Compare runs with the first of them: what differs, with intervals, and what they do not have in common."""
        with handle_errors("the page may be an old one; give the same command again"):
            from mechpaint.runs.compare import compare_runs
            from mechpaint.runs.run import Run, find_run

            runs = [Run.open(find_run(named, Path(out)), registry) for named in run]
            comparison = compare_runs(runs, Path(out), given_command())
        print_comparison(comparison, tables, as_json)

    return compare
