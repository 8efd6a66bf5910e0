"""Analyses: hook sets, a measure, and figures.

An `Analysis` is a frozen, serialisable configuration that says which hook sets to run, and draws what came out. How
its items are scored and kept is the same for all: see `mechpaint.running`.
"""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from mechpaint.hookset import HookSet

if TYPE_CHECKING:
    import pandas as pd

    from mechpaint.report import Report
    from mechpaint.route import Route


@dataclass(frozen=True)
class TaskFacts:
    """What a report needs to know of a task.

    Args:
        name: As on the command line.
        measure: What its score is, with the unit.
        chance: The score of guessing.
        items: How many items were scored.
    """

    name: str
    measure: str
    chance: float
    items: int


@dataclass(frozen=True)
class Results:
    """What an analysis measured.

    Args:
        records: One row an item and route: `task`, `item`, `route`, `score`, `logprob`, `tokens`, `finite`.
        routes: The route of each of the analysis's hook sets, by its label, and the full model's as `"baseline"`.
        tasks: The tasks, in the order asked for.
        model: What the model is called.
        n_layers: How many layers it has.
    """

    records: pd.DataFrame
    routes: Mapping[str, Route]
    tasks: tuple[TaskFacts, ...]
    model: str
    n_layers: int


@dataclass(frozen=True)
class Analysis(ABC):
    """A question about a model, asked by hook sets.

    Subclasses are frozen dataclasses. Their fields are the settings, and become options of `mechpaint analyze`, with
    `metadata={"help": ...}` as the help text. To add one, see CONTRIBUTING.
    """

    name: ClassVar[str]
    """What it is called on the command line."""
    question: ClassVar[str]
    """One line for `mechpaint list`."""
    tasks: ClassVar[tuple[str, ...]]
    """Which tasks it runs where none are named."""

    @abstractmethod
    def hook_sets(self, n_layers: int) -> Mapping[str, HookSet]:
        """The hook sets to run on a model with `n_layers` layers, by a label that is unique within the analysis."""

    @abstractmethod
    def report(self, results: Results) -> Report:
        """Figures, tables and what they say."""

    def settings(self) -> dict[str, Any]:
        """Everything that its results depend on."""
        return {"analysis": self.name, **dataclasses.asdict(self)}
