"""The plan of a `SearchAnalysis`: a cell for each round, computed from those before it, then one for held-out items.

The last cell has how long the finalists take. It is measured once and kept; all others have the same records whenever
and however often a run was stopped.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, cast

from mechpaint.analysis import SearchAnalysis
from mechpaint.display.progress import ticking
from mechpaint.engine.latency import LATENCY_PASSES, LATENCY_TOKENS, latencies
from mechpaint.errors import TaskError
from mechpaint.routes.prefix_tree import PrefixTree
from mechpaint.routes.route import Route
from mechpaint.runs.fingerprint import digest, plugin_versions, versions
from mechpaint.runs.plans.levels import fitted
from mechpaint.runs.plans.plan import DependentCell, Left, Plan, cell_name, settings_details
from mechpaint.runs.plans.route_plan import completed, content_digest, task_facts
from mechpaint.runs.report_inputs import ReportInputs
from mechpaint.runs.schemas import BASELINE, HELD_OUT, LATENCY, SEARCH_SCHEMA, of_table
from mechpaint.scoring.items import Rowed
from mechpaint.statistics.results import Advance, ModelFacts, Record, SearchFacts, SearchResults, TaskFacts
from mechpaint.tasks.task import Part, RowTask, Selection, Task

if TYPE_CHECKING:
    import pandas as pd

    from mechpaint.planning.cost import Cost
    from mechpaint.runs.plans.routed_model import RoutedModel

Items = tuple[tuple[Rowed, ...], ...]


@dataclass(frozen=True)
class SearchSettings:
    """The tasks and items of a search.

    Args:
        tasks: What to measure.
        limit: How many items of each task the rounds score.
        held_out: How many others, at most, the finalists are scored on.
        seed: Of the items' choice and order, and of everything random in the search.
        batch_size: How many token rows go through the model together; None for as many as each task finds right.
    """

    tasks: tuple[Task[Any], ...]
    limit: int = 24
    held_out: int = 100
    seed: int = 0
    batch_size: int | None = None


@dataclass(frozen=True)
class SearchPlan(Plan):
    """A search for routes. `SearchPlan.of` makes one.

    Attributes:
        analysis: What is asked.
        routed_model: Of which model.
        settings: How.
        rounds: About how many routes each round scores, by its label.
        items: For each task the items that the rounds score.
        held_out: For each task those that only the finalists are scored on.
        facts: For each task what a report needs to know of `items`.
        search: And of `held_out`.
    """

    analysis: SearchAnalysis
    routed_model: RoutedModel
    settings: SearchSettings
    rounds: dict[str, int]
    items: Items
    held_out: Items
    facts: tuple[TaskFacts, ...]
    search: SearchFacts

    @classmethod
    def of(cls, analysis: SearchAnalysis, routed_model: RoutedModel, settings: SearchSettings) -> SearchPlan:
        """Make the items, and set some aside."""
        settings = replace(settings, tasks=fitted(settings.tasks, routed_model))
        _check(settings)
        rounds = dict(analysis.schedule(routed_model.n_layers))
        if {HELD_OUT, LATENCY} & rounds.keys():
            raise ValueError(f"no round of a search can be called {HELD_OUT!r} or {LATENCY!r}, got {', '.join(rounds)}")
        pairs = [_halves(task, routed_model, settings) for task in settings.tasks]
        facts, aside = (
            tuple(task_facts(task, half, routed_model) for task, half in zip(settings.tasks, halves, strict=True))
            for halves in zip(*pairs, strict=True)
        )
        items, held_out = (tuple(half.items for half in halves) for halves in zip(*pairs, strict=True))
        search = SearchFacts(aside, int(routed_model.model.cfg.d_vocab))
        return cls(analysis, routed_model, settings, rounds, items, held_out, facts, search)

    def config(self) -> dict[str, Any]:
        """The analysis, the model, and the tasks with their items."""
        settings = self.settings
        aside = [content_digest(items) for items in self.held_out]
        tasks = [{**task, "held out": each} for task, each in zip(self._asked(), aside, strict=True)]
        model = {"model": self.routed_model.weights, "dtype": self.routed_model.dtype}
        return {
            **self.analysis.settings(),
            **model,
            "tasks": tasks,
            "limit": settings.limit,
            "held_out": settings.held_out,
            "seed": settings.seed,
        }

    def made_of(self) -> list[object]:
        """The analysis and the tasks."""
        return [self.analysis, *self.settings.tasks]

    def cells(self) -> list[DependentCell]:
        """A cell a round, one for the items held out and one for the latencies, each after all before it."""
        computed_with = versions(plugin_versions(self.made_of()))
        finalists = 2 * self.routed_model.n_layers
        seen, aside = (sum(map(len, items)) for items in (self.items, self.held_out))
        work = [
            *((label, routes * seen, partial(self._round, label)) for label, routes in self.rounds.items()),
            (HELD_OUT, finalists * aside, self._held_out),
            (LATENCY, finalists * LATENCY_PASSES, self._latency),
        ]
        names = [cell_name(place, label) for place, (label, _, _) in enumerate(work)]
        bases = [digest(self._basis(label), computed_with) for label, _, _ in work]
        return [
            DependentCell(names[place], label, ticks, bases[place], after=tuple(names[:place]), follow=follow)
            for place, (label, ticks, follow) in enumerate(work)
        ]

    def report_inputs(self) -> ReportInputs:
        """The model and the tasks."""
        return ReportInputs(self.analysis, self._model(), self.facts, tuple(self.details()), self.search)

    def details(self) -> list[tuple[str, str]]:
        """The model, the tasks, the settings and the rounds."""
        both = zip(self.facts, self.search.held_out, strict=True)
        return [
            *self.routed_model.details(),
            *((f"task {f.name}", f"{f.items} items, {held.items} held out; {f.measure}") for f, held in both),
            *((f"left out of {f.name}", f"too long: {', '.join(f.too_long)}") for f in self.facts if f.too_long),
            *settings_details(self.analysis),
            ("rounds", str(len(self.rounds))),
            ("latency", f"one text of {LATENCY_TOKENS} tokens, {LATENCY_PASSES} passes, on the machine of the run"),
            ("seed", str(self.settings.seed)),
        ]

    def forecast(self, left: Left | None = None) -> dict[str, Any]:
        """Counts, and about how long the rounds take by a measurement of a few seconds of the first one."""
        cells = zip(self.cells(), self.rounds.values(), strict=False)
        routes = sum(count for cell, count in cells if left is None or cell.name in left)
        told = {
            "rounds": len(self.rounds),
            "routes, about": sum(self.rounds.values()),
            "items": {fact.name: fact.items for fact in self.facts},
            "items held out": {fact.name: fact.items for fact in self.search.held_out},
        }
        return told | (self._measured(routes) if routes else {"minutes of the rounds, about": 0.0})

    def _measured(self, routes: int) -> dict[str, float]:
        """Memory, and minutes of so many routes, by the first round's."""
        first = next(iter(self.rounds))
        nothing = cast("pd.DataFrame", SEARCH_SCHEMA.empty_table().to_pandas())
        tree = PrefixTree(self._proposed(first, self._results(nothing)))
        parts = [Part("", "", items, tree) for items in self.items]
        costs: list[Cost] = []
        with ticking("measuring a little of each task", len(parts), None) as advance:
            for task, part in zip(self.settings.tasks, parts, strict=True):
                costs.append(task.cost(self.routed_model.model, [part], self._batch_size(task, part.items)))
                advance(1)
        seconds = sum(cost.seconds for cost in costs) * routes / len(tree.routes)
        return {
            "memory, GB": round(max(cost.memory.whole for cost in costs) / 1e9, 2),
            "minutes of the rounds, about": round(seconds / 60, 1),
        }

    def _model(self) -> ModelFacts:
        n_layers = self.routed_model.n_layers
        return ModelFacts(self.routed_model.name, n_layers, {BASELINE: Route.identity(n_layers)})

    def _asked(self) -> list[dict[str, Any]]:
        """The tasks with what their items are, but for those held out."""
        pairs = zip(self.settings.tasks, self.items, strict=True)
        return [{**task.settings(), "called": str(task), "items": content_digest(items)} for task, items in pairs]

    def _basis(self, label: str) -> dict[str, Any]:
        """Digest all that a cell's records depend on: for a round, nothing that comes after it."""
        if label not in self.rounds:
            return {**self.config(), "cell": label}
        return {
            **self.analysis.settings_of(label),
            "round": label,
            "tasks": self._asked(),
            "model": self.routed_model.weights,
            "dtype": self.routed_model.dtype,
            "seed": self.settings.seed,
        }

    def _results(self, table: pd.DataFrame) -> SearchResults:
        """The results of the rounds so far."""
        return of_table(table, self._model(), self.facts, self.search.vocabulary)

    def _proposed(self, label: str, so_far: SearchResults) -> list[Route]:
        """Score the routes of a round that no earlier round has scored."""
        rng = random.Random(f"{self.analysis.name} {self.settings.seed} {label}")
        first = [Route.identity(self.routed_model.n_layers)] if label == next(iter(self.rounds)) else []
        routes = [*first, *self.analysis.propose(label, so_far, rng)]
        known = set(so_far.routes.values()) if len(so_far.records) else set[Route]()
        return [route for route in dict.fromkeys(routes) if route not in known]

    def _round(self, label: str, advance: Advance, table: pd.DataFrame, held: Sequence[Record]) -> Iterable[Record]:
        routes = self._proposed(label, self._results(table))
        return self._scored(label, self.items, routes, advance, held)

    def _held_out(self, advance: Advance, table: pd.DataFrame, held: Sequence[Record]) -> Iterable[Record]:
        finalists = self.analysis.finalists(self._results(table))
        routes = list(dict.fromkeys([Route.identity(self.routed_model.n_layers), *finalists]))
        return self._scored(HELD_OUT, self.held_out, routes, advance, held)

    def _scored(
        self, label: str, items: Items, routes: Sequence[Route], advance: Advance, held: Sequence[Record]
    ) -> list[Record]:
        """Items under routes, by one sweep a batch over all of them."""
        if not routes:
            return []
        tree, asked, records = PrefixTree(routes), {str(route) for route in routes}, list[Record]()
        for task, own in zip(self.settings.tasks, items, strict=True):
            known = [each for each in held if each["task"] == str(task) and each["route"] in asked]
            rows = self._batch_size(task, own)
            records += completed(self.routed_model.model, task, Part("", "", own, tree), rows, advance, known)
        return [{**record, "round": label} for record in records]

    def _batch_size(self, task: Task[Any], items: Sequence[Rowed]) -> int:
        return self.settings.batch_size or task.batch_size(self.routed_model.model, items)

    def _latency(self, advance: Advance, table: pd.DataFrame, held: Sequence[Record]) -> Iterable[Record]:
        """Always measured: no other run's would be of this one."""
        names = cast("list[str]", table.loc[table["round"] == HELD_OUT, "route"].drop_duplicates().tolist())
        routes = [Route.parse(name, self.routed_model.n_layers) for name in names]
        rest = {"logprob": float("nan"), "tokens": 0, "finite": True, "metrics": ""}
        for route, passes in latencies(self.routed_model.model, routes).items():
            for place, milliseconds in enumerate(passes, start=1):
                where = {"round": LATENCY, "task": LATENCY, "item": f"pass {place}", "route": str(route)}
                yield {**where, "score": milliseconds, **rest}


def _check(settings: SearchSettings) -> None:
    names = [str(task) for task in settings.tasks]
    if not names or len(set(names)) != len(names):
        raise TaskError(f"expected one task or more, each once, got: {', '.join(names) or 'none'}")
    for task in settings.tasks:
        if not isinstance(task, RowTask):
            raise TaskError(
                f"the task {task} is none to search with: its items are no rows of tokens that all routes run at once"
            )
    if settings.limit < 1 or settings.held_out < 1:
        raise TaskError(f"expected 1 item or more, and 1 held out or more, got {settings.limit}, {settings.held_out}")


def _halves(
    task: Task[Any], routed_model: RoutedModel, settings: SearchSettings
) -> tuple[Selection[Any], Selection[Any]]:
    """The items of a task: those that the rounds see, and those held out."""
    chosen = task.select(routed_model.model, settings.limit + settings.held_out, settings.seed)
    seen, aside = chosen.items[: settings.limit], chosen.items[settings.limit :]
    if not aside:
        raise TaskError(
            f"the task {task} has {len(chosen.items)} items, and a search needs more than the {settings.limit} that it "
            "sees (limit): those that are left are held out"
        )
    return Selection(seen, chosen.too_long, chosen.too_short), Selection(aside)
