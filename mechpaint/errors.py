"""Everything that mechpaint raises on purpose.

    ValueError
      InputError         what was asked for cannot be done; the command line exits with 2
        RouteError       malformed notation, a layer that does not exist, nothing left to run
        HookSetError     a name that does not exist, a reading that the route never reaches, a hook that never fires
        CannotReroute    a model whose layers cannot run in another order, or that is attached already
        TextTooLong      more tokens than the model has positions for
        CannotExport     a route or model that no checkpoint can hold, or a folder that is not empty
        CannotUnroll     a route or model that has no form of one block after another
        LoadError        no such model, device, dtype or tokenizer; a damaged checkpoint; a model without its head
        TaskError        no such task, no items, a source that cannot be read, a task that the model cannot do
        AnalysisError    settings of an analysis with which nothing can be measured
        TrainingError    training that cannot be: settings, data, or a schedule that freezes no parameter
        ToyError         no such toy: its sizes, its Markov chain or its task do not fit
        RunError         no such run, shard or executor; a run of another version; runs that cannot be compared
        PlanError        no such accelerator or precision, a batch that does not fit, work that can only be measured
        PluginError      a plugin that is missing, broken, or registers a name that is taken
        DrawingError     a picture that would be wrong, unreadable or too slow
    OSError
      CannotWrite        a full disk, a folder that cannot be written; the command line exits with 1
    RuntimeError
      CellError          cells of a run that are missing or damaged where they are needed; the command line exits with 1
        MissingCell      the cell is not there
        DamagedCell      other bytes than were written, other columns, another number of rows
      IncompleteRun      a run whose report cannot be drawn yet; the command line exits with 1
      ReportError        an analysis's report raised; all that was computed is kept; the command line exits with 1
      WorkersLost        workers that ended without a word, one after the other; the command line exits with 1
      WeightsError       packaged weights that are missing or damaged; the command line exits with 1

Each message says what was given, what was expected, and what to do.
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

__all__ = [
    "AnalysisError",
    "CannotExport",
    "CannotReroute",
    "CannotUnroll",
    "CannotWrite",
    "CellError",
    "DamagedCell",
    "DrawingError",
    "HookSetError",
    "IncompleteRun",
    "InputError",
    "LoadError",
    "MissingCell",
    "PlanError",
    "PluginError",
    "ReportError",
    "RouteError",
    "RunError",
    "TaskError",
    "TextTooLong",
    "ToyError",
    "TrainingError",
    "WeightsError",
    "WorkersLost",
]


class InputError(ValueError):
    """What was asked for cannot be done."""


class RouteError(InputError):
    """A route that cannot be read, or does not fit the model."""


class HookSetError(InputError):
    """A hook set that cannot be read, or does not fit the model or the route."""


class CannotReroute(InputError):
    """A model whose layers cannot run in another order, or that is attached already."""


class TextTooLong(InputError):
    """More tokens than the model has positions for."""


class CannotExport(InputError):
    """A route or model that no checkpoint can hold, or a folder that is not empty."""


class CannotUnroll(InputError):
    """A route or model that has no form of one block after another, or a hook set that does more than reroute."""


class LoadError(InputError):
    """A model, device, dtype or tokenizer that cannot be loaded."""


class TaskError(InputError):
    """A task that does not exist, has no items, cannot be read, or that the model cannot do."""


class AnalysisError(InputError):
    """Settings of an analysis with which nothing can be measured."""


class TrainingError(InputError):
    """Training that cannot be: settings, data, or a schedule that freezes no parameter."""


class ToyError(InputError):
    """A toy whose sizes, Markov chain or task do not fit."""


class RunError(InputError):
    """A run, shard or executor that does not exist, a run of another version, or runs that cannot be compared."""


class PlanError(InputError):
    """What cannot be planned: an unknown accelerator, a batch that does not fit, work that can only be measured."""


class PluginError(InputError):
    """A plugin that is missing, broken, or registers a name that is taken."""


class DrawingError(InputError):
    """A picture that would be wrong, unreadable or too slow."""


class CannotWrite(OSError):
    """A full disk, or a folder that cannot be written."""


class CellError(RuntimeError):
    """Cells of a run that are missing or damaged where they are needed."""


class MissingCell(CellError):
    """A cell that is not there."""


class DamagedCell(CellError):
    """A cell whose bytes, columns or number of rows are not what they must be."""


class IncompleteRun(RuntimeError):
    """A run whose report cannot be drawn, since cells are missing or damaged: which, and what computes them."""


class ReportError(RuntimeError):
    """A report that its analysis could not make of what was computed, which is kept: which, why, and what to do."""


class WorkersLost(RuntimeError):
    """Workers that ended without a word, one after the other: at which cell, how, and what to do."""


class WeightsError(RuntimeError):
    """Packaged weights that are missing or damaged."""


def first_line(error: BaseException) -> str:
    """The first line of what an error says, or its class."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def nearest(name: str, names: Iterable[str]) -> str | None:
    """The name that was probably meant; None if none is near."""
    known = {each.lower(): each for each in names}
    near = get_close_matches(name.lower(), known, n=1)
    # `gemma` is far from `gemma-3-270m` by its letters alone
    begins = [each for each in known if len(name) > 2 and each.startswith(name.lower())]
    return known[(near or begins)[0]] if near or begins else None


def there_is_no(what: str, name: str, names: Iterable[str]) -> str:
    """An error message: no such name, the one that was probably meant, and all there are."""
    there = list(names)
    near = nearest(name, there)
    meant = "" if near is None else f" (did you mean {near}?)"
    return f"there is no {what} {name!r}{meant}; there are: {', '.join(there)}"
