"""A request: small, kept in `run.json`, and enough to make the plan again, here or on another machine."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mechpaint.analysis import Analysis
from mechpaint.errors import InputError, RunError, there_is_no
from mechpaint.plugins import Registry, registry
from mechpaint.runs.kinds import kind_of
from mechpaint.runs.serialize import fields_of, from_fields

if TYPE_CHECKING:
    from mechpaint.runs.executors import Executor
    from mechpaint.runs.plans.plan import Plan


@dataclass(frozen=True)
class Request:
    """An analysis by name, its settings, the options of its kind, and the plugin files to load."""

    analysis: str
    settings: Mapping[str, Any]
    options: Mapping[str, Any]
    plugins: tuple[str, ...] = ()

    @classmethod
    def of(cls, analysis: Analysis, options: Mapping[str, Any], plugins: Sequence[str]) -> Request:
        """Write down an analysis and its options."""
        return cls(analysis.name, fields_of(analysis), dict(options), tuple(map(os.path.abspath, plugins)))

    def __call__(self) -> Plan:
        """Make the plan, as a worker does."""
        return self.plan(registry(self.plugins))

    def plan(self, registry: Registry) -> Plan:
        """Make the plan of what a registry has."""
        analysis = self.analysis_of(registry)
        return kind_of(type(analysis)).plan(analysis, registry, self.options)

    def analysis_of(self, registry: Registry) -> Analysis:
        """Make the analysis of what a registry has."""
        if self.analysis not in registry.analyses:
            raise InputError(
                f"there is no analysis {self.analysis!r} here; expected the same plugins wherever the run is computed"
            )
        return from_fields(registry.analyses[self.analysis], self.settings)


def executor_of(request: Request | None, options: Mapping[str, Any]) -> Executor | None:
    """The executor that was asked for; None for this process."""
    name, workers, address = (options[option] for option in ("engine", "workers", "ray_address"))
    if name == "here":
        for option, value in (("--workers", workers), ("--ray-address", address)):
            if value is not None:
                raise RunError(f"{option} requires --engine ray")
        return None
    if name != "ray":
        raise RunError(there_is_no("engine", name, ("here", "ray")))
    if request is None:
        raise RunError("Ray's workers load models and tasks by name; expected names, got objects in memory")
    from mechpaint.runs.ray import Ray

    return Ray(request, workers, address, gpus=options.get("device") != "cpu")


def for_this_process(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options for this process's own plan: where workers compute, accelerators are left to them."""
    return {**options, "device": "cpu"} if options["engine"] == "ray" and "device" in options else dict(options)
