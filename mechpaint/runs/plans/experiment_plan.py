"""The plan of an `Experiment`: a cell for each trial, several at once."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any

from mechpaint.analysis import Experiment
from mechpaint.runs.cells import labelled
from mechpaint.runs.fingerprint import digest, plugin_versions, versions
from mechpaint.runs.plans.plan import Cell, Left, Plan, cell_name, processors, settings_details
from mechpaint.runs.report_inputs import ReportInputs
from mechpaint.statistics.results import Advance, Record


@dataclass(frozen=True)
class ExperimentPlan(Plan):
    """The trials of an experiment. `ExperimentPlan.of` makes one for this machine.

    Attributes:
        analysis: The experiment.
        processors: How many trials are computed at once. What comes out does not depend on it.
    """

    analysis: Experiment
    processors: int

    @classmethod
    def of(cls, analysis: Experiment) -> ExperimentPlan:
        """As many trials at once as there are processors, or as the experiment allows."""
        here = processors()
        return cls(analysis, min(here, analysis.concurrency or here))

    def config(self) -> dict[str, Any]:
        """The experiment's settings."""
        return self.analysis.settings()

    def cells(self) -> list[Cell]:
        """A cell a trial."""
        computed_with = versions(plugin_versions(self.made_of()))

        def basis(label: str) -> str:
            return digest({**self.analysis.settings_of(label), "label": label}, computed_with)

        return [
            Cell(cell_name(place, label), label, ticks, basis(label), partial(self._measure, label))
            for place, (label, ticks) in enumerate(self.analysis.trials().items())
        ]

    def report_inputs(self) -> ReportInputs:
        """The experiment itself."""
        return ReportInputs(self.analysis, None, (), tuple(self.details()))

    def details(self) -> list[tuple[str, str]]:
        """The settings, and how many trials there were."""
        return [*settings_details(self.analysis), ("trials", str(len(self.analysis.trials())))]

    def forecast(self, left: Left | None = None) -> dict[str, Any]:
        """The trials with their ticks, and how many are computed at once."""
        trials = dict(self.analysis.trials())
        return {"cells": len(trials), "ticks": sum(trials.values()), "at once": self.processors, "trials": trials}

    def concurrency(self) -> int:
        """As many trials as there are processors."""
        return self.processors

    def _measure(self, label: str, advance: Advance) -> Iterable[Record]:
        return labelled(label, self.analysis.measure(label, advance))
