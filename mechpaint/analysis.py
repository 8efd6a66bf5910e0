"""Analyses: what to run, what to measure, and what to report.

An `Analysis` is a frozen, serialisable configuration. A new analysis subclasses one of four kinds:

    RouteAnalysis   hook sets that reroute a model, scored on tasks
    SearchAnalysis  a search for routes, in rounds that build on each other's scores
    ModelAnalysis   hook sets on a model, with a custom measure
    Experiment      models that it makes and trains itself

All kinds are computed, stored, resumed and shown in the same way: see `mechpaint.runs`.
"""

from __future__ import annotations

import dataclasses
import random
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from mechpaint.routes.hookset import HookSet
from mechpaint.statistics.results import (
    Advance,
    Columns,
    ModelFacts,
    Record,
    ReportedMetric,
    Results,
    SearchResults,
    TaskFacts,
)

if TYPE_CHECKING:
    import pandas as pd
    from transformer_lens.model_bridge import TransformerBridge

    from mechpaint.report import Report, Section
    from mechpaint.routes.route import Route

__all__ = [
    "Advance",
    "Analysis",
    "Columns",
    "Experiment",
    "ModelAnalysis",
    "ModelFacts",
    "Record",
    "ReportedMetric",
    "Results",
    "RouteAnalysis",
    "SearchAnalysis",
    "SearchResults",
    "TaskFacts",
]


DEFAULT_MODEL = "smollm2-135m"
"""The model of analyses that are given none."""


@dataclass(frozen=True)
class Analysis(ABC):
    """A research question and how to compute its answer. Subclass one of the four kinds.

    Subclasses are frozen dataclasses. Their fields are the settings, and become options of `mechpaint analyze`, with
    `metadata={"help": ...}` as the help text. A field of a `ModelAnalysis` or an `Experiment` that only selects which
    hook sets or trials to run also has `metadata={"selects_only": True}`: no measurement may depend on it. To add an
    analysis, see CONTRIBUTING.
    """

    name: ClassVar[str]
    """The name on the command line."""
    question: ClassVar[str]
    """One line for `mechpaint list`."""

    def settings(self) -> dict[str, Any]:
        """Everything that the results depend on, besides the model."""
        return {"analysis": self.name, **dataclasses.asdict(self)}

    def settings_of(self, label: str) -> dict[str, Any]:
        """The settings that the records of one hook set or trial depend on: all but `selects_only` fields.

        A run reuses records of another run with the same label and the same of these settings.

        Args:
            label: The label of the hook set or trial.
        """
        selecting = {field.name for field in dataclasses.fields(self) if field.metadata.get("selects_only")}
        return {name: value for name, value in self.settings().items() if name not in selecting}


@dataclass(frozen=True)
class RouteAnalysis(Analysis):
    """Reroute a model and score tasks. Routes share common prefixes of computation."""

    tasks: ClassVar[tuple[str, ...]]
    """The default tasks."""
    model: ClassVar[str] = DEFAULT_MODEL
    """The default model."""

    @abstractmethod
    def hook_sets(self, n_layers: int) -> Mapping[str, HookSet]:
        """The hook sets to run, by unique labels. They may reroute, but neither read nor hook.

        Args:
            n_layers: The model's number of layers.
        """

    @abstractmethod
    def report(self, results: Results) -> Report:
        """Draw the report.

        Args:
            results: The scores; `mechpaint.statistics.bootstrap.Scores` normalises them.
        """

    def beside(self, results: Sequence[Results]) -> Sequence[Section]:
        """Sections that compare several runs, such as one per model; none by default.

        `mechpaint compare` adds them to its page if all runs are of this analysis.

        Args:
            results: The results of two or more runs. The settings are the first run's: others may differ in settings,
                hook sets, tasks and models.
        """
        return ()


@dataclass(frozen=True)
class SearchAnalysis(Analysis):
    """Search for routes of a model, in rounds that are proposed from the scores of the rounds before.

    Proposals depend only on the settings, these scores and a generator that is seeded anew for each round, so that an
    interrupted search resumes exactly. A field that only sets the number of rounds has
    `metadata={"selects_only": True}`.
    """

    tasks: ClassVar[tuple[str, ...]]
    """The default tasks."""
    model: ClassVar[str] = DEFAULT_MODEL
    """The default model."""

    @abstractmethod
    def schedule(self, n_layers: int) -> Mapping[str, int]:
        """The approximate number of routes that each round proposes, by label, in order.

        Args:
            n_layers: The model's number of layers.

        Raises:
            InputError: A model with so many layers leaves nothing to search for.
        """

    @abstractmethod
    def propose(self, label: str, so_far: SearchResults, rng: random.Random) -> Sequence[Route]:
        """The routes that a round scores. Routes scored before are not scored again.

        Args:
            label: The label of the round.
            so_far: The scores of all earlier rounds. The first round also scores the full model.
            rng: The only source of randomness, in the same state at every call.

        Raises:
            InputError: The scores leave nothing to search for.
        """

    @abstractmethod
    def finalists(self, results: SearchResults) -> Sequence[Route]:
        """The routes to score on held-out items, and to time. The full model is always added.

        Args:
            results: The results of all rounds.
        """

    @abstractmethod
    def report(
        self, results: SearchResults, held_out: SearchResults, milliseconds: Mapping[str, Sequence[float]]
    ) -> Report:
        """Draw the report.

        Args:
            results: The results of all rounds, on the search items.
            held_out: The results of the finalists, on held-out items.
            milliseconds: Latencies of each finalist's route in several passes, on the machine of the run.
        """


@dataclass(frozen=True)
class ModelAnalysis(Analysis):
    """Measure a model under hook sets, with a custom measure."""

    columns: ClassVar[Columns]
    """The columns of the records from `measure`. The table has `label` before them."""
    model: ClassVar[str] = DEFAULT_MODEL
    """The default model."""
    applies_edits: ClassVar[bool] = False
    """Whether `measure` runs the hook set that it is given (by `attach`, or in a sweep), and not its route alone: only
    then can it be run under interventions."""

    @abstractmethod
    def hook_sets(self, n_layers: int) -> Mapping[str, HookSet]:
        """The hook sets to measure under, by unique labels. They may reroute, read, hook and change activations.

        Args:
            n_layers: The model's number of layers.
        """

    def check(self, model: TransformerBridge) -> None:
        """Refuse, before anything is computed, a model that cannot be measured with these settings; by default none.

        Args:
            model: The model, with nothing attached.

        Raises:
            InputError: Why, and what would do.
        """

    @abstractmethod
    def measure(self, model: TransformerBridge, label: str, hook_set: HookSet) -> Iterable[Record]:
        """Measure under one hook set. Called once per hook set, without gradients.

        Args:
            model: The model, with nothing attached: `with mechpaint.attach(model, hook_set) as session`.
            label: The hook set's label.
            hook_set: The hook set of that label, followed by the user's own (`--hooks`).

        Returns:
            Any number of records, each with a value for each of `columns`; the same at every call.
        """

    @abstractmethod
    def report(self, table: pd.DataFrame, facts: ModelFacts) -> Report:
        """Draw the report.

        Args:
            table: All records, in the order of `hook_sets`: `label`, then `columns`.
            facts: Facts about the model.
        """

    def beside(self, tables: Sequence[tuple[pd.DataFrame, ModelFacts]]) -> Sequence[Section]:
        """Sections that compare several runs, such as one per model; none by default.

        `mechpaint compare` adds them to its page if all runs are of this analysis.

        Args:
            tables: The arguments of `report`, for two or more runs. The settings are the first run's: others may differ
                in settings, hook sets and models.
        """
        return ()


@dataclass(frozen=True)
class Experiment(Analysis):
    """Make and train models, in independent trials.

    Trials run concurrently, in threads with one thread of torch each. So a trial draws random numbers from its own
    generators: torch's global one, which `torch.manual_seed` sets and layers are initialised from, is shared.
    """

    columns: ClassVar[Columns]
    """The columns of the records from `measure`. The table has `label` before them."""
    concurrency: ClassVar[int | None] = None
    """The most trials to run concurrently, if memory is the limit; None for one per processor."""

    @abstractmethod
    def trials(self) -> Mapping[str, int]:
        """The work of each trial in ticks, such as training steps, by label."""

    @abstractmethod
    def measure(self, label: str, advance: Advance) -> Iterable[Record]:
        """Run one trial.

        Args:
            label: The label of the trial.
            advance: Call this with the number of ticks since the last call, about once a second or more often: it
                moves the progress bar, and Ctrl-C takes effect there.

        Returns:
            Any number of records, each with a value for each of `columns`; the same at every call.
        """

    @abstractmethod
    def report(self, table: pd.DataFrame) -> Report:
        """Draw the report.

        Args:
            table: All records, in the order of `trials`: `label`, then `columns`.
        """
