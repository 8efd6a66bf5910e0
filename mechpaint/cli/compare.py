"""`mechpaint compare`: runs beside each other.

Nothing at the top of this file imports torch, so that `mechpaint --help` answers at once.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from mechpaint.cli.printing import print_compared
from mechpaint.cli.telling import given_command, told
from mechpaint.plugins import Registry


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
        with told("the page may be an old one; give the same command again"):
            from mechpaint.comparing import compare as compared
            from mechpaint.runs.inventory import find_run

            folders = [find_run(named, Path(out)) for named in run]
            found = compared(folders, Path(out), registry, given_command())
        print_compared(found, as_json)

    return compare
