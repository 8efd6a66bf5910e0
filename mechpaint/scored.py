"""How a `RouteAnalysis` is run: a cell for every chunk of a task's items, scored under all routes at once."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, Any, cast

import pyarrow as pa

from mechpaint import cost
from mechpaint.analysis import Advance, Record, Results, RouteAnalysis, TaskFacts
from mechpaint.hookset import HookSet, HookSetError
from mechpaint.plan import Cell, Plan
from mechpaint.prefixtree import PrefixTree
from mechpaint.route import Route
from mechpaint.scoring import Batch, batches, score_items
from mechpaint.subject import Subject
from mechpaint.tasks.task import Item, Task, TaskError

if TYPE_CHECKING:
    import pandas as pd

    from mechpaint.report import Report

_ITEMS_A_CELL = 32
BASELINE = "baseline"

SCHEMA = cast(Any, pa).schema(
    [
        ("task", pa.string()),
        ("item", pa.string()),
        ("route", pa.string()),
        ("score", pa.float64()),
        ("logprob", pa.float64()),
        ("tokens", pa.int32()),
        ("finite", pa.bool_()),
    ]
)
"""One row an item and route."""


@dataclass(frozen=True)
class Settings:
    """What to score, and how.

    Args:
        tasks: What to measure.
        limit: How many items of each task; None for all.
        seed: Of the items' choice and order.
        rows_at_once: How many token rows go through the model together.
    """

    tasks: tuple[Task, ...]
    limit: int | None = None
    seed: int = 0
    rows_at_once: int = 32


@dataclass(frozen=True)
class _Chunk:
    """Some of a task's items: the task's place in the list, and from which to which."""

    task: int
    first: int
    last: int


@dataclass(frozen=True)
class ScoredPlan(Plan):
    """Routes, scored on tasks. `ScoredPlan.of` makes one.

    Attributes:
        analysis: What is asked.
        subject: Of which model.
        settings: How.
        route_of: The route of every hook set by its label; the full model's first, as `"baseline"`.
        tree: Their common beginnings.
        items: For each task its items.
        facts: For each task what a report needs.
    """

    analysis: RouteAnalysis
    subject: Subject
    settings: Settings
    route_of: dict[str, Route]
    tree: PrefixTree
    items: tuple[tuple[Item, ...], ...]
    facts: tuple[TaskFacts, ...]

    @classmethod
    def of(cls, analysis: RouteAnalysis, subject: Subject, settings: Settings) -> ScoredPlan:
        """Make the items and routes.

        Args:
            analysis: What to score.
            subject: The model.
            settings: The tasks, and how many items of each.

        Raises:
            TaskError: No tasks, a task twice, or a task without items.
            RouteError, HookSetError: Hook sets that do not fit the model, or that do more than reroute.
        """
        names = [str(task) for task in settings.tasks]
        if not names or len(set(names)) != len(names):
            raise TaskError(f"expected one task or more, each once, got: {', '.join(names) or 'none'}")
        routes = _routes(analysis, subject)
        items = tuple(tuple(task.items(subject.model, settings.limit, settings.seed)) for task in settings.tasks)
        facts = tuple(
            TaskFacts(str(task), task.measure, task.chance(subject.model, own), len(own))
            for task, own in zip(settings.tasks, items, strict=True)
        )
        return cls(analysis, subject, settings, routes, PrefixTree(routes.values()), items, facts)

    def config(self) -> dict[str, Any]:
        """The analysis, the model, the tasks with their items, and the hook sets on every route."""
        settings = self.settings
        return {
            **self.analysis.settings(),
            "model": self.subject.weights,
            "dtype": self.subject.dtype,
            "tasks": [
                {**task.settings(), "items": _items_digest(items)}
                for task, items in zip(settings.tasks, self.items, strict=True)
            ],
            "limit": settings.limit,
            "seed": settings.seed,
            "hooks": str(self.subject.hooks),
        }

    def schema(self) -> Any:
        """`SCHEMA`."""
        return SCHEMA

    def made_of(self) -> list[object]:
        """The analysis, its hook sets and the tasks."""
        hook_sets = self.subject.hooked(self.analysis.hook_sets(self.subject.n_layers)).values()
        return [self.analysis, *self.settings.tasks, *(part for hook_set in hook_sets for part in hook_set.parts())]

    def routes(self) -> dict[str, Route]:
        """Every hook set's, and the full model's as `"baseline"`."""
        return self.route_of

    def cells(self) -> list[Cell]:
        """A cell a chunk of items. A tick is an item under a route."""
        return [self._cell(chunk) for task in range(len(self.items)) for chunk in self._chunks(task)]

    def report(self, table: pd.DataFrame) -> Report:
        """The analysis's."""
        subject = self.subject
        return self.analysis.report(Results(table, self.route_of, self.facts, subject.name, subject.n_layers))

    def details(self) -> list[tuple[str, str]]:
        """The model, the tasks, the routes and what sharing saved."""
        return [
            *self.subject.details(),
            *((f"task {f.name}", f"{f.items} items; {f.measure}; chance {f.chance:.4g}") for f in self.facts),
            ("hooks on every route", str(self.subject.hooks) or "none"),
            ("routes", f"{len(self.tree.routes)} distinct"),
            (
                "layer calls a batch",
                f"{self.tree.layer_calls:,} shared; {self.tree.layer_calls_unshared:,} route by route",
            ),
            ("seed", str(self.settings.seed)),
        ]

    def forecast(self) -> dict[str, Any]:
        """Counts, and what they cost in time and memory by a measurement of a few seconds here and now."""
        model, tree = self.subject.model, self.tree
        tasks = [[b for chunk in self._chunks(task) for b in self._batches(chunk)] for task in range(len(self.items))]
        count = sum(map(len, tasks))
        return {
            "routes": len(tree.routes),
            "items": {fact.name: fact.items for fact in self.facts},
            "layer calls a batch": tree.layer_calls,
            "layer calls a batch, unshared": tree.layer_calls_unshared,
            "batches": count,
            "layer calls": count * tree.layer_calls,
            "layer calls, unshared": count * tree.layer_calls_unshared,
            "memory, GB": round(cost.memory(model, [b for found in tasks for b in found]) / 1e9, 2),
            "minutes": round(sum(cost.seconds(model, tree, found) for found in tasks) / 60, 1),
        }

    def _chunks(self, task: int) -> list[_Chunk]:
        items = len(self.items[task])
        count = -(-items // _ITEMS_A_CELL)
        bounds = [items * i // count for i in range(count + 1)]
        return [_Chunk(task, first, last) for first, last in pairwise(bounds)]

    def _cell(self, chunk: _Chunk) -> Cell:
        name = f"{chunk.task:02d}-{chunk.first:05d}-{chunk.last:05d}"
        label = f"{self.settings.tasks[chunk.task]}, items {chunk.first + 1} to {chunk.last}"
        rows = (chunk.last - chunk.first) * len(self.tree.routes)
        return Cell(name, label, rows, partial(self._score, chunk), rows)

    def _score(self, chunk: _Chunk, advance: Advance) -> Iterable[Record]:
        items, task = self._items(chunk), self.settings.tasks[chunk.task]
        return score_items(self.subject.model, task, items, self.tree, self.settings.rows_at_once, advance)

    def _batches(self, chunk: _Chunk) -> list[Batch]:
        return batches(self._items(chunk), self.settings.rows_at_once)

    def _items(self, chunk: _Chunk) -> tuple[Item, ...]:
        return self.items[chunk.task][chunk.first : chunk.last]


def _routes(analysis: RouteAnalysis, subject: Subject) -> dict[str, Route]:
    hook_sets = {BASELINE: HookSet(), **analysis.hook_sets(subject.n_layers)}
    for label, hook_set in hook_sets.items():
        if hook_set.reads() or hook_set.hooks():
            raise HookSetError(
                f"{label!r} of the analysis {analysis.name!r} also reads or hooks: {hook_set}; expected hook sets that "
                "reroute, since scored routes share their work. To read, make it a ModelAnalysis"
            )
    return {label: hook_set.route(subject.n_layers) for label, hook_set in subject.hooked(hook_sets).items()}


def _items_digest(items: Sequence[Item]) -> str:
    """So that a run is not taken up with other items: a text, or a tokenizer, may have changed."""
    return hashlib.sha256(repr(items).encode()).hexdigest()[:16]
