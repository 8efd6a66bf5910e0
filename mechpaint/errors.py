"""What can go wrong, and whose turn it is then.

    ValueError
      InputError          what was asked for cannot be; the command line exits with 2
        RouteError        malformed notation, a layer that does not exist, nothing left to run
        HookSetError      a name that does not exist, a read that the route never reaches, a hook that never fires
        CannotReroute     a model whose layers cannot run in another order, or that is attached already
        TextTooLong       more tokens than the model has positions for
        CannotExport      a route or model that no checkpoint can hold, or a folder that holds something already
        LoadError         no such model, device, dtype or tokenizer, or a model without the head that is needed
        FineTuningError   training that cannot be: settings, labelled texts, or a model that gets no such head
        TaskError         no such task, no items, a source that cannot be read
        HarnessError      what lm-eval hands its model does not fit: an argument, a route, a cache of answers
        ShardError        no share of a run: 0/8, 9/8
        EngineError       an engine that cannot be had, or whose workers see another run
        NoRuns            no folder that runs could be in, no such run in it, or several
        AccountError      a run of an earlier version, or of an analysis that is not there
        ComparisonError   runs that cannot be compared: of different analyses, or with nothing in common
        PlanError         no such accelerator or precision, a batch that does not fit, work that can only be measured
        PluginError       a plugin file that is not there, or in which something is wrong
        ParetoError       a search that cannot be: no budget, or no task that the model can do
        VariantError      an experiment that the paper does not define
        ViewError         an interactive view that would be drawn wrongly, or too slowly
        DiagramError      a picture that nobody could read
        HeadScoreError    sequences that a model cannot take
        ChainError        no Markov chain: probabilities that do not sum to 1, a token without a successor
        BigramTaskError   no in-context bigram task: more triggers than tokens, sequences of one token
        ToyModelError     no toy model: sizes that do not fit, a sequence or token that it does not have
        TrainingError     settings that cannot be trained with, a folder that holds another training
        FreezeError       a freezing schedule that names no parameter
        StoredModelError  a damaged checkpoint, or one of another shape
        InductionError    settings of an analysis with which nothing can be measured; likewise
        BirthError        and
        MemoriesError     of theirs
    OSError
      CannotWrite         a full disk, a folder that cannot be written; the command line exits with 1
    RuntimeError
      CellError           a cell of a run that is missing or damaged where it is needed; the command line exits with 1
        MissingCell       it is not there
        DamagedCell       other bytes than were written, other columns, another number of rows
      IncompleteRun       a run of which cells are missing or damaged; the command line exits with 1
      WorkersLost         workers of an engine that ended, one after the other; the command line exits with 1
      WeightsError        packaged weights that are missing or damaged; the command line exits with 1

Each message says what was given, what was expected, and what to do.
"""

from __future__ import annotations

from typing import (
    TYPE_CHECKING,
)

if TYPE_CHECKING:
    pass


class InputError(ValueError):
    """What was asked for cannot be."""


class HookSetError(InputError):
    """A hook set that cannot work: a name that does not exist, a layer that never runs, a hook that never fires."""


class RouteError(InputError):
    """A route that cannot be: malformed notation, a layer that does not exist, nothing left to run."""


class CannotReroute(InputError):
    """The model's layers cannot be run in another order: what was given and why not."""


class TextTooLong(InputError):
    """More tokens than the model has positions for."""


class CannotExport(InputError):
    """What no checkpoint can hold, or a place where none can be put: what was given and why not."""


class WeightsError(RuntimeError):
    """The packaged weights are missing or not what they should be."""


class CannotWrite(OSError):
    """A file could not be written: which, and why."""


class PluginError(InputError):
    """A plugin that was asked for and cannot be had: no such file, or something is wrong in it."""


class PlanError(InputError):
    """What cannot be planned: no such accelerator, a precision that it lacks, a task that has to be measured."""


class EngineError(InputError):
    """An engine that is not there, that has no such settings, or whose workers see another run than this process."""


class CellError(RuntimeError):
    """A cell that is needed cannot be had."""


class MissingCell(CellError):
    """There is no such cell."""


class DamagedCell(CellError):
    """A cell whose bytes, columns or number of rows are not what they must be: which, and in what way."""


class IncompleteRun(RuntimeError):
    """A run with cells that are missing or damaged, of which nothing is told: which, and what computes them."""


class WorkersLost(RuntimeError):
    """Workers that ended without a word, one after the other: at which cell, the last of them how, and what to do."""


class TaskError(InputError):
    """A task that cannot be made: no items, a source that cannot be read, a model that it has no use for."""


class LoadError(InputError):
    """A model that cannot be loaded: what was given, what was expected."""


class ToyModelError(InputError):
    """A toy model that cannot be made, read or run: what was given, what was expected."""


class TrainingError(InputError):
    """Settings that cannot be trained with, or a folder that holds another training."""


class FreezeError(InputError):
    """A freezing schedule that cannot be read, or that names no parameter of the model."""


class StoredModelError(InputError):
    """A folder or file that holds no toy model, or not the one expected."""


class BigramTaskError(InputError):
    """Settings that make no in-context bigram task, or a batch that cannot be drawn."""


class ChainError(InputError):
    """Symbols, probabilities, counts or a text that make no chain."""


class DiagramError(InputError):
    """What cannot be drawn so that anyone could read it."""


class ViewError(InputError):
    """A view that circuitsvis would draw wrongly, or so slowly that the page stands still."""


class HeadScoreError(InputError):
    """Sequences that a model cannot take."""


class HarnessError(InputError):
    """What lm-eval hands its model does not fit: an argument, a route, a cache with answers of another."""


class ComparisonError(InputError):
    """Runs that cannot be compared: too few, of different analyses, or without anything in common."""


class FineTuningError(InputError):
    """What cannot be fine-tuned: settings that mean nothing, data that do not fit, a model that has no such head."""


class NameTaken(ValueError):
    """Something is to be made known by a name that something else has."""


class ShardError(InputError):
    """No shard: a share of none, or one beyond the last."""


class AccountError(InputError):
    """A run whose report cannot be drawn anew: why, and what to do."""


class NoRuns(InputError):
    """There is no folder that runs could be in, or not the run in it that was named."""


class InductionError(InputError):
    """Settings with which nothing can be measured."""


class ParetoError(InputError):
    """A search that cannot be: no budget, nothing to look for, no task that the model can do."""


class VariantError(InputError):
    """A variant that the paper does not define: an unknown method, a start layer out of range, no repeat or seed."""


class SimilarityError(InputError):
    """Settings with which nothing can be measured."""


class MemoriesError(InputError):
    """Settings with which nothing can be constructed or measured."""


class BirthError(InputError):
    """Settings with which nothing can be trained."""
