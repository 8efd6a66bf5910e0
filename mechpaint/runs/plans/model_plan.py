"""The plan of a `ModelAnalysis`: a cell for each hook set."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch

from mechpaint.analysis import ModelAnalysis
from mechpaint.errors import HookSetError
from mechpaint.routes.hookset import HookSet
from mechpaint.runs.cells import labelled
from mechpaint.runs.fingerprint import digest, plugin_versions, versions
from mechpaint.runs.plans.plan import Cell, Left, Plan, cell_name, settings_details
from mechpaint.runs.plans.routed_model import RoutedModel
from mechpaint.runs.report_inputs import ReportInputs
from mechpaint.statistics.results import Advance, ModelFacts, Record


@dataclass(frozen=True)
class ModelPlan(Plan):
    """Hook sets, each measured on a model. `ModelPlan.of` makes one.

    Attributes:
        analysis: What is asked.
        routed_model: Of which model.
        hook_sets: By label, with the subject's own.
        facts: What a report needs.
    """

    analysis: ModelAnalysis
    routed_model: RoutedModel
    hook_sets: dict[str, HookSet]
    facts: ModelFacts

    @classmethod
    def of(cls, analysis: ModelAnalysis, routed_model: RoutedModel) -> ModelPlan:
        """Make the hook sets and their routes."""
        if routed_model.hooks.edits() and not analysis.applies_edits:
            raise HookSetError(
                f"the analysis {analysis.name} does not say that it applies interventions (applies_edits), and "
                f"{routed_model.hooks} changes activations: expected hook sets that reroute"
            )
        hook_sets = routed_model.hooked(analysis.hook_sets(routed_model.n_layers))
        routes = {label: hook_set.route(routed_model.n_layers) for label, hook_set in hook_sets.items()}
        analysis.check(routed_model.model)
        for label, hook_set in hook_sets.items():
            for reading in hook_set.reads():
                reading.visits(routes[label])
        return cls(analysis, routed_model, hook_sets, ModelFacts(routed_model.name, routed_model.n_layers, routes))

    def config(self) -> dict[str, Any]:
        """The analysis, the model and the hook sets that follow each of the analysis's own."""
        routed_model = self.routed_model
        model = {"model": routed_model.weights, "dtype": routed_model.dtype, **routed_model.settings_of_hooks}
        return {**self.analysis.settings(), **model}

    def made_of(self) -> list[object]:
        """The analysis and its hook sets."""
        return [self.analysis, *(part for hook_set in self.hook_sets.values() for part in hook_set.parts())]

    def cells(self) -> list[Cell]:
        """A cell a hook set, which is one tick."""
        computed_with = versions(plugin_versions(self.made_of()))
        return [
            Cell(cell_name(place, label), label, 1, basis, partial(self._measure, label))
            for place, label in enumerate(self.hook_sets)
            for basis in [digest(self._basis(label), computed_with)]
        ]

    def report_inputs(self) -> ReportInputs:
        """The model and the routes."""
        return ReportInputs(self.analysis, self.facts, (), tuple(self.details()))

    def details(self) -> list[tuple[str, str]]:
        """The model, the settings, and how many hook sets there are."""
        return [
            *self.routed_model.details(),
            *settings_details(self.analysis),
            ("hooks on every route", str(self.routed_model.hooks) or "none"),
            ("hook sets", str(len(self.hook_sets))),
        ]

    def forecast(self, left: Left | None = None) -> dict[str, Any]:
        """The hook sets' routes, and how many layers they run."""
        routes = self.facts.routes
        return {
            "cells": len(routes),
            "routes": {label: str(route) for label, route in routes.items()},
            "layer calls a forward pass of each": sum(route.layer_calls for route in routes.values()),
        }

    def _basis(self, label: str) -> dict[str, Any]:
        """All that the records of one hook set depend on."""
        return {
            **self.analysis.settings_of(label),
            "label": label,
            "hook set": str(self.hook_sets[label]),
            "model": self.routed_model.weights,
            "dtype": self.routed_model.dtype,
            **({"files": self.routed_model.files} if self.routed_model.files else {}),
        }

    def _measure(self, label: str, advance: Advance) -> Iterable[Record]:
        with torch.no_grad():
            return labelled(label, self.analysis.measure(self.routed_model.model, label, self.hook_sets[label]))
