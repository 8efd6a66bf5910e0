"""The options that say what computes a run, and which share of it, as the engines have them.

Nothing at the top of this file imports torch or ray, so that `mechpaint --help` answers at once.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mechpaint.analysis import Analysis
from mechpaint.cli.options import kind_of
from mechpaint.cli.plugins import find_plugins
from mechpaint.errors import InputError
from mechpaint.plugins import built_in
from mechpaint.runs.manifest import fields_to_json, made
from mechpaint.runs.plans.plan import Shard

if TYPE_CHECKING:
    from mechpaint.runs.executors import Executor
    from mechpaint.runs.plans.plan import Plan


@dataclass(frozen=True)
class PlanRequest:
    """What a command of `mechpaint analyze` asks for: small, and enough to make its plan on another machine.

    Args:
        analysis: The analysis's name.
        settings: Its fields, as `fields_to_json` has them.
        options: The options of its kind.
        files: The plugin files that were given.
    """

    analysis: str
    settings: Mapping[str, Any]
    options: Mapping[str, Any]
    files: tuple[str, ...]

    @classmethod
    def of(cls, analysis: Analysis, options: Mapping[str, Any], files: Sequence[str]) -> PlanRequest:
        """What this command asks for.

        Args:
            analysis: The analysis made.
            options: The options of its kind.
            files: The plugin files that were given.
        """
        return cls(analysis.name, fields_to_json(analysis), options, tuple(map(os.path.abspath, files)))

    def __call__(self) -> Plan:
        """The plan."""
        registry = find_plugins(built_in(), self.files).registry
        if self.analysis not in registry.analyses:
            raise InputError(
                f"a worker knows no analysis {self.analysis!r}; expected the same plugins on all machines of a cluster"
            )
        kind = registry.analyses[self.analysis]
        analysis: Analysis = made(kind, self.settings)
        return kind_of(kind).plan(analysis, registry, self.options)


def engine_of(analysis: Analysis, options: Mapping[str, Any], files: Sequence[str]) -> Executor | None:
    """What is to compute the run; None for this process.

    Args:
        analysis: The analysis made.
        options: The options of its kind.
        files: The plugin files that were given.

    Raises:
        InputError: There is no such engine, or it cannot be had.
    """
    name, workers, address = (options[option] for option in ("engine", "workers", "ray_address"))
    if name == "here":
        for option, value in (("--workers", workers), ("--ray-address", address)):
            if value is not None:
                raise InputError(f"{option} is of the engine ray; expected --engine ray with it")
        return None
    if name != "ray":
        raise InputError(f"there is no engine {name!r}; there are: here, ray")
    from mechpaint.runs.ray import Ray

    return Ray(PlanRequest.of(analysis, options, files), workers, address, gpus=options.get("device") != "cpu")


def shard_of(options: Mapping[str, Any]) -> Shard | None:
    """The share that is to be computed; None for all.

    Args:
        options: The options of the command.

    Raises:
        RunError: There is no such share.
    """
    return None if options["shard"] is None else Shard.parse(options["shard"])


def in_this_process(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options for the plan that this process makes: where workers compute, their accelerators are left to them.

    Args:
        options: The options of the command.
    """
    leave = options["engine"] == "ray" and "device" in options and not options["dry_run"]
    return {**options, "device": "cpu"} if leave else dict(options)
