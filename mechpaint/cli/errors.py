"""Errors and warnings of commands, on stderr, with their exit status."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Generator
from contextlib import contextmanager
from typing import NoReturn

import typer
from rich.console import Console
from rich.markup import escape
from rich.text import Text

from mechpaint.cli.options import help_text
from mechpaint.cli.process import INTERRUPTED, interrupts
from mechpaint.display.sanitize import sanitize
from mechpaint.errors import CannotWrite, CellError, IncompleteRun, InputError, ReportError, WeightsError, WorkersLost

EPILOG = "Results go to stdout, progress to stderr. Exit status: 0 done, 1 failed, 2 wrong usage, 130 interrupted."
_TOLD = (InputError, CellError, CannotWrite, IncompleteRun, ReportError, WeightsError, WorkersLost)


def examples(*commands: str) -> str:
    """An epilog with examples, each on a line of its own."""
    return "\n\n".join(["Examples:", *map(help_text, commands), EPILOG])


@contextmanager
def handle_errors(interrupted: str) -> Generator[None]:
    """Tell errors of the block in a line, and exit with the status that they have."""
    before, interrupts.words = interrupts.words, interrupted
    try:
        yield
    except KeyboardInterrupt:
        _interrupted()
    except _TOLD as error:
        if interrupts.given:  # the error may be what became of the interruption
            _interrupted()
        if isinstance(error, CellError):
            error = CellError(f"{error}. Give the same command again: it computes what is missing")
        _fail(error, 2 if isinstance(error, InputError) else 1)
    interrupts.words = before


def given_command(without: str | None = None) -> str:
    """The command that is running, to be given again."""
    words = ["mechpaint", *sys.argv[1:]]
    kept = [
        word
        for before, word in zip(["", *words], words, strict=False)
        if without is None or not (without in (before, word) or word.startswith(f"{without}="))
    ]
    return shlex.join(kept)


def print_error(error: Exception) -> None:
    """Tell an error in a line."""
    _say(f"[red]error[/red]: {escape(sanitize(str(error)))}")


def print_warning(message: str) -> None:
    """Tell of something that one should know of, and that stops nothing."""
    Console(stderr=True).print(Text.assemble(("warning", "yellow"), ": ", sanitize(message)), soft_wrap=True)


def _interrupted() -> NoReturn:
    if not interrupts.said:
        _say(f"[red]interrupted[/red]: {interrupts.words}")
        interrupts.said = True
    raise typer.Exit(INTERRUPTED) from None


def _say(message: str) -> None:
    Console(stderr=True).print(message, highlight=False, soft_wrap=True)


def _fail(error: Exception, status: int) -> NoReturn:
    print_error(error)
    raise typer.Exit(status)
