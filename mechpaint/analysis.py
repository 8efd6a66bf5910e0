"""Analyses: what to run, what to measure, and what to say of it.

An `Analysis` is a frozen, serialisable configuration. There are four kinds, and a subclass of one is all that a new
analysis is:

    RouteAnalysis   hook sets that reroute a model, scored on tasks
    SearchAnalysis  routes that are looked for, in rounds that follow from each other's scores
    ModelAnalysis   hook sets on a model, and a measure of its own
    Experiment      models that it makes and trains itself

How each is computed, kept, taken up again and shown is the same for all: see `mechpaint.runs`.
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


@dataclass(frozen=True)
class Analysis(ABC):
    """A question, asked by running something. Subclass one of the four kinds.

    Subclasses are frozen dataclasses. Their fields are the settings, and become options of `mechpaint analyze`, with
    `metadata={"help": ...}` as the help text. A field of a `ModelAnalysis` or an `Experiment` that does nothing but
    choose which hook sets or trials there are has `metadata={"selects_only": True}` too: what is measured under a label
    may not depend on it. To add one, see CONTRIBUTING.
    """

    name: ClassVar[str]
    """What it is called on the command line."""
    question: ClassVar[str]
    """One line for `mechpaint list`."""

    def settings(self) -> dict[str, Any]:
        """Everything that its results depend on, besides the model."""
        return {"analysis": self.name, **dataclasses.asdict(self)}

    def settings_of(self, label: str) -> dict[str, Any]:
        """What the records of one hook set or trial depend on: all settings, but for fields that only choose.

        A run takes over what another has computed under the same label with the same of these.

        Args:
            label: The hook set's or trial's.
        """
        choosing = {field.name for field in dataclasses.fields(self) if field.metadata.get("selects_only")}
        return {name: value for name, value in self.settings().items() if name not in choosing}


@dataclass(frozen=True)
class RouteAnalysis(Analysis):
    """A question about a model, asked by rerouting it and scoring tasks. All routes share their work."""

    tasks: ClassVar[tuple[str, ...]]
    """Which tasks it runs where none are named."""
    model: ClassVar[str] = "gemma-3-270m"
    """The model that it is about where none is named."""

    @abstractmethod
    def hook_sets(self, n_layers: int) -> Mapping[str, HookSet]:
        """The hook sets to run on a model with `n_layers` layers, by a label that is unique within the analysis.

        They reroute, and neither read nor hook.

        Args:
            n_layers: How many layers the model has.
        """

    @abstractmethod
    def report(self, results: Results) -> Report:
        """Figures, tables and what they say.

        Args:
            results: What was measured; `mechpaint.statistics.bootstrap.Scores` normalises it.
        """

    def beside(self, results: Sequence[Results]) -> Sequence[Section]:
        """Figures, tables and views of several runs side by side, such as one of each model: by default none.

        `mechpaint compare` puts them on its page, where all runs are of this analysis.

        Args:
            results: What was measured, two or more. The analysis is the first's: others may have had other settings,
                other hook sets, tasks and models.
        """
        return ()


@dataclass(frozen=True)
class SearchAnalysis(Analysis):
    """A question about a model, asked by looking for routes: in rounds, each proposed from the scores of those before.

    What it proposes depends on its settings, these scores and a generator that is seeded anew for each round, and on
    nothing else: so a search that was stopped goes on as if it had not been. A field that does nothing but say how many
    rounds there are has `metadata={"selects_only": True}`.
    """

    tasks: ClassVar[tuple[str, ...]]
    """Which tasks it runs where none are named."""
    model: ClassVar[str] = "gemma-3-270m"
    """The model that it is about where none is named."""

    @abstractmethod
    def schedule(self, n_layers: int) -> Mapping[str, int]:
        """About how many routes each round proposes, by the round's label, in order.

        Args:
            n_layers: How many layers the model has.

        Raises:
            InputError: There is nothing to look for in a model of so many layers.
        """

    @abstractmethod
    def propose(self, label: str, so_far: SearchResults, rng: random.Random) -> Sequence[Route]:
        """The routes that a round scores. Those that were scored before are not scored again.

        Args:
            label: The round's.
            so_far: The scores of all rounds before it. The first round, which has none, scores the full model too.
            rng: What everything random comes from, the same at every call.

        Raises:
            InputError: The scores are such that nothing can be looked for.
        """

    @abstractmethod
    def finalists(self, found: SearchResults) -> Sequence[Route]:
        """The routes that are scored on the items held out, and timed. The full model is among them in any case.

        Args:
            found: What all rounds measured.
        """

    @abstractmethod
    def report(
        self, found: SearchResults, held_out: SearchResults, milliseconds: Mapping[str, Sequence[float]]
    ) -> Report:
        """Figures, tables and what they say.

        Args:
            found: What all rounds measured, on the items that the search saw.
            held_out: What the finalists scored on those that it did not see.
            milliseconds: From each finalist's route to how long it took in several passes, on the machine of the run.
        """


@dataclass(frozen=True)
class ModelAnalysis(Analysis):
    """A question about a model, asked by hook sets and a measure of its own."""

    columns: ClassVar[Columns]
    """The columns of what `measure` gives. The table has one more, `label`, before them."""
    model: ClassVar[str] = "gemma-3-270m"
    """The model that it is about where none is named."""

    @abstractmethod
    def hook_sets(self, n_layers: int) -> Mapping[str, HookSet]:
        """The hook sets to measure a model with `n_layers` layers under, by a label that is unique within the analysis.

        They may reroute, read and hook.

        Args:
            n_layers: How many layers the model has.
        """

    @abstractmethod
    def measure(self, model: TransformerBridge, label: str, hook_set: HookSet) -> Iterable[Record]:
        """Measure under one hook set. Called once for each, without gradients.

        Args:
            model: The model, with nothing attached: `with mechpaint.attach(model, hook_set) as session`.
            label: The hook set's label.
            hook_set: The hook set of that label, and after it what the user asked for with `--hooks`.

        Returns:
            Records with a value for each of `columns`, the same at every call. They need not be as many each time.
        """

    @abstractmethod
    def report(self, table: pd.DataFrame, facts: ModelFacts) -> Report:
        """Figures, tables, views and what they say.

        Args:
            table: All records, in the order of `hook_sets`: `label`, then `columns`.
            facts: What the model is.
        """

    def beside(self, tables: Sequence[tuple[pd.DataFrame, ModelFacts]]) -> Sequence[Section]:
        """Figures, tables and views of several runs side by side, such as one of each model: by default none.

        `mechpaint compare` puts them on its page.

        Args:
            tables: What `report` is given, of two runs or more. The analysis is the first's: others may have had other
                settings, other hook sets and models.
        """
        return ()


@dataclass(frozen=True)
class Experiment(Analysis):
    """A question asked of models that it makes itself, in trials that have nothing to do with each other.

    Several trials are computed at once, in threads, each with one thread of torch; so a trial draws its random numbers
    from generators of its own. torch's global one, which `torch.manual_seed` sets and layers are initialised with, is
    everyone's.
    """

    columns: ClassVar[Columns]
    """The columns of what `measure` gives. The table has one more, `label`, before them."""
    concurrency: ClassVar[int | None] = None
    """How many trials may be computed at once, where memory allows no more; None: one a processor."""

    @abstractmethod
    def trials(self) -> Mapping[str, int]:
        """How much work each trial is, by its label: in ticks such as training iterations."""

    @abstractmethod
    def measure(self, label: str, advance: Advance) -> Iterable[Record]:
        """Carry out one trial.

        Args:
            label: Which.
            advance: To be called with the number of ticks done since the last call, at least once a second or so: the
                progress bar moves with it, and Ctrl-C takes effect there.

        Returns:
            Records with a value for each of `columns`, the same at every call. They need not be as many each time.
        """

    @abstractmethod
    def report(self, table: pd.DataFrame) -> Report:
        """Figures, tables, views and what they say.

        Args:
            table: All records, in the order of `trials`: `label`, then `columns`.
        """
