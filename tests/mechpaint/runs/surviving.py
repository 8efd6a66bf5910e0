"""Runs in processes of their own, to be killed or to meet each other.

The processes are forked from one that has imported everything already: that takes seconds, and each of them a tenth.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import ClassVar

import torch
from transformers import LlamaForCausalLM  # noqa: F401 - what a process would import later, when it loads a model

import mechpaint as mp
import mechpaint.models.loading
from mechpaint.analysis import RouteAnalysis
from mechpaint.hooks import Skip
from mechpaint.report import Report, Table
from mechpaint.runs.execute import run
from mechpaint.runs.plans.route_plan import RoutePlan, Settings
from mechpaint.runs.plans.routed_model import RoutedModel
from mechpaint.runs.run import Run
from mechpaint.tasks import Facts, IndirectObject

PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload([__name__])


@dataclass(frozen=True)
class Lesions(RouteAnalysis):
    """Each layer left out. Its report is soon drawn."""

    name: ClassVar[str] = "lesions"
    question: ClassVar[str] = "Which layers can be left out?"
    tasks: ClassVar = ("facts", "ioi")

    def hook_sets(self, n_layers: int) -> Mapping[str, Skip]:
        return {f"without {layer}": Skip(layer, layer) for layer in range(n_layers)}

    def report(self, results):
        means = results.records.groupby(["task", "route"])["score"].mean()
        rows = [(task, route, f"{score:.6f}") for (task, route), score in means.items()]
        return Report(
            "Lesions", ["What is left."], [Table("scores", "Scores", "Means", ("task", "route", "mean"), rows)]
        )


def planned(model: Path, limit: int) -> RoutePlan:
    """A cell for some 32 items of each of two tasks."""
    return RoutePlan.of(Lesions(), RoutedModel(mp.load(model), "tiny"), Settings((Facts(), IndirectObject()), limit))


def lesions(model: Path, out: Path, limit: int) -> Run:
    """Run it."""
    return run(planned(model, limit), out, "mechpaint analyze lesions")


def started(model: Path, out: Path, limit: int, first: Callable[[], object]) -> ForkServerProcess:
    """A process that runs it.

    Args:
        first: What it does before, everything being imported.
    """
    process = PROCESSES.Process(target=_in_process, args=(model, out, limit, first))
    process.start()
    return process


def _in_process(model: Path, out: Path, limit: int, first: Callable[[], object]) -> None:
    torch.set_num_threads(1)
    first()
    lesions(model, out, limit)


@dataclass(frozen=True)
class DieWriting:
    """Kill this process at one of the moments of writing: when a temporary file is made, opened, or given its name.

    Args:
        moments: How many such moments it lives through.
    """

    moments: int

    def __call__(self) -> None:
        seen = 0

        def watch(event: str, arguments: tuple) -> None:
            nonlocal seen
            if arguments and isinstance(arguments[0], str | Path) and ".unfinished-" in str(arguments[0]):
                seen += 1
                if seen > self.moments:
                    os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(watch)
