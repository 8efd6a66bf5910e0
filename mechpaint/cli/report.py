"""`mechpaint report`: a run's report drawn anew.

Nothing at the top of this file imports torch, so that `mechpaint --help` answers at once.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from mechpaint.cli.printing import print_finished
from mechpaint.cli.telling import told
from mechpaint.plugins import Registry


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
        with told("the report may be the old one; give the same command again"):
            from mechpaint.runs.inventory import find_run
            from mechpaint.runs.reporting import rebuild

            finished = rebuild(find_run(run, Path(out)), registry)
        print_finished(finished, as_json)

    return report
