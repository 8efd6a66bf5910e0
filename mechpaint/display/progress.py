"""Progress bars: on stderr, with the time left, gone when done. Nothing is drawn where stderr is no terminal."""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn


def progress() -> Progress:
    """A progress display to use in a `with` block."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        # in a notebook rich would ask for ipywidgets, and take a kernel that can show colours for a terminal
        console=Console(stderr=True, force_jupyter=False),
        disable=not sys.stderr.isatty(),
        transient=True,
    )


@contextmanager
def ticking(what: str, total: int, advance: Callable[[int], None] | None) -> Generator[Callable[[int], None]]:
    """What to call with how much was done since the last call: the caller's own, or what moves a progress bar."""
    if advance is not None:
        yield advance
        return
    with progress() as bar:
        task = bar.add_task(what, total=total)
        yield lambda done: bar.advance(task, done)
