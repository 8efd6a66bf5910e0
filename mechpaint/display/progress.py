"""Progress bars on stderr, with the time left; transient, and only on terminals."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from mechpaint.display.terminal import on_terminal

_SECONDS_OF_SPEED = 120.0
"""Over which the time left is estimated: over rich's 30 it follows every change of the machine's mood."""


def progress() -> Progress:
    """A progress display to use in a `with` block."""
    shown = on_terminal()
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        _Counts(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        # in a notebook, rich would ask for ipywidgets and take kernels with colours for terminals
        console=Console(file=None if shown else io.StringIO(), stderr=True, force_jupyter=False),
        disable=not shown,
        transient=True,
        speed_estimate_period=_SECONDS_OF_SPEED,
    )


class _Counts(ProgressColumn):
    """How much is done of how much, where a task says so."""

    def render(self, task: Task) -> Text:
        """Such as 120/1,712."""
        counted = "of" in task.fields
        return Text(f"{task.fields['done']:,}/{task.fields['of']:,}" if counted else "")


@contextmanager
def waiting(description: str, total: int | None = None) -> Generator[Callable[[int], None]]:
    """Show a wait: a bar on a terminal, a line elsewhere. Yields the callback for how much of `total` is done."""
    if not on_terminal():
        print(f"{description} …", file=sys.stderr, flush=True)  # noqa: T201
    with progress() as bar:
        task = bar.add_task(description, total=total)
        yield lambda done: bar.update(task, completed=done)


@contextmanager
def ticking(description: str, total: int, advance: Callable[[int], None] | None) -> Generator[Callable[[int], None]]:
    """Yield the callback to report progress with: the caller's own, or that of a progress bar."""
    if advance is not None:
        yield advance
        return
    with progress() as bar:
        task = bar.add_task(description, total=total)
        yield lambda done: bar.advance(task, done)
