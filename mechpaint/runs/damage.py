"""Cells of a run that cannot be had. The command line tells of them, so nothing heavy is imported here."""

from __future__ import annotations


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
