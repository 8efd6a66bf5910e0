"""Plans that Ray's workers make in the tests, some with a cell in which something happens."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

from mechpaint.analysis import Experiment
from mechpaint.errors import TaskError
from mechpaint.report import Report
from mechpaint.runs.plans.experiment_plan import ExperimentPlan
from mechpaint.runs.plans.route_plan import RoutePlan
from tests.mechpaint.runs.surviving import planned


@dataclass(frozen=True)
class Asked:
    """What `lesions` is asked."""

    model: Path
    limit: int

    def __call__(self) -> RoutePlan:
        return planned(self.model, self.limit)


@dataclass(frozen=True)
class Eventful(RoutePlan):
    """The same run, but that something happens in its third cell, after the first items."""

    happens: Callable[[], None] = print

    def cells(self):
        cells = super().cells()
        third = cells[2]

        def complete(advance, held):
            def told(ticks):
                advance(ticks)
                if ticks:
                    self.happens()

            return third.complete(told, held)

        return [*cells[:2], replace(third, complete=complete), *cells[3:]]


@dataclass(frozen=True)
class AskedEventful:
    """What `lesions` is asked where something happens in its third cell."""

    asked: Asked
    happens: Callable[[], None]

    def __call__(self) -> RoutePlan:
        plan = self.asked()
        return Eventful(**vars(plan), happens=self.happens)


def die() -> None:
    """As if from a lack of memory."""
    os.kill(os.getpid(), signal.SIGKILL)


@dataclass(frozen=True)
class DieOnce:
    """The same for the first who comes here."""

    mark: Path

    def __call__(self) -> None:
        if not self.mark.exists():
            self.mark.touch()
            die()


def fail() -> None:
    """As a task does that finds something wrong."""
    raise TaskError("the third cell's items are none that can be asked")


def break_down() -> None:
    """As code does that is wrong."""
    raise ZeroDivisionError("a cell divides by zero")


@dataclass(frozen=True)
class Waiting(Experiment):
    """A trial that ends once a file is there, which is written by whoever sees that it has begun."""

    name: ClassVar[str] = "waiting"
    question: ClassVar[str] = "Is anybody looking?"
    columns: ClassVar = {"ticks": int}

    seen: str = ""

    def trials(self):
        return {"only": 3}

    def measure(self, label, advance):
        advance(1)
        until = time.monotonic() + 120
        while not Path(self.seen).exists():
            assert time.monotonic() < until, "nobody has seen it"
            time.sleep(0.05)
            advance(0)
        advance(2)
        return [{"ticks": 3}]

    def report(self, table):
        return Report("Waiting", [str(table["ticks"].tolist())], [])


@dataclass(frozen=True)
class AskedWaiting:
    """What `waiting` is asked."""

    seen: Path

    def __call__(self) -> ExperimentPlan:
        return ExperimentPlan.of(Waiting(str(self.seen)))
