"""The plan of a `RouteAnalysis`: a cell for each part of a task's work, such as some items under all routes."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

from mechpaint.analysis import RouteAnalysis
from mechpaint.errors import HookSetError, TaskError
from mechpaint.routes.hookset import HookSet
from mechpaint.routes.prefix_tree import PrefixTree
from mechpaint.routes.route import Route
from mechpaint.routes.stages import EditedRoute, edited
from mechpaint.runs.fingerprint import fingerprint, plugin_versions
from mechpaint.runs.plans.levels import fitted
from mechpaint.runs.plans.plan import Cell, ItemsCell, Left, Plan
from mechpaint.runs.report_inputs import ReportInputs
from mechpaint.runs.schemas import BASELINE
from mechpaint.scoring.items import Named, Rowed
from mechpaint.statistics.results import Advance, ModelFacts, Record, TaskFacts
from mechpaint.tasks.task import Part, Selection, Task

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge

    from mechpaint.planning.accelerators import Roofline
    from mechpaint.planning.cost import Cost
    from mechpaint.planning.forecast import Forecast
    from mechpaint.runs.plans.routed_model import RoutedModel

_SHOWN = 10


@dataclass(frozen=True)
class Settings:
    """The tasks, and how their items are scored.

    Args:
        tasks: What to measure.
        limit: How many items of each task; None for all.
        seed: Of the items' choice and order.
        batch_size: How many token rows go through the model together; None for as many as each task finds right.
    """

    tasks: tuple[Task[Any], ...]
    limit: int | None = None
    seed: int = 0
    batch_size: int | None = None


@dataclass(frozen=True)
class RoutePlan(Plan):
    """Routes, scored on tasks. `RoutePlan.of` makes one.

    Attributes:
        analysis: What is asked.
        routed_model: Of which model.
        settings: How.
        route_of: The route of every hook set by its label; the full model's first, as `"baseline"`.
        tree: Their common beginnings.
        items: For each task its items.
        facts: For each task what a report needs.
    """

    analysis: RouteAnalysis
    routed_model: RoutedModel
    settings: Settings
    route_of: dict[str, Route]
    tree: PrefixTree
    items: tuple[tuple[Named, ...], ...]
    facts: tuple[TaskFacts, ...]

    @classmethod
    def of(cls, analysis: RouteAnalysis, routed_model: RoutedModel, settings: Settings) -> RoutePlan:
        """Make the items and routes."""
        settings = replace(settings, tasks=fitted(settings.tasks, routed_model))
        names = [str(task) for task in settings.tasks]
        if not names or len(set(names)) != len(names):
            raise TaskError(f"expected one task or more, each once, got: {', '.join(names) or 'none'}")
        routes = _routes(analysis, routed_model)
        chosen = [task.select(routed_model.model, settings.limit, settings.seed) for task in settings.tasks]
        facts = tuple(
            task_facts(task, selection, routed_model) for task, selection in zip(settings.tasks, chosen, strict=True)
        )
        items = tuple(selection.items for selection in chosen)
        return cls(analysis, routed_model, settings, routes, PrefixTree(routes.values()), items, facts)

    def config(self) -> dict[str, Any]:
        """The analysis, the model, the tasks with their items, and the hook sets on every route."""
        settings = self.settings
        return {
            **self.analysis.settings(),
            "model": self.routed_model.weights,
            "dtype": self.routed_model.dtype,
            "tasks": [
                {**task.settings(), "items": content_digest(items)}
                for task, items in zip(settings.tasks, self.items, strict=True)
            ],
            "limit": settings.limit,
            "seed": settings.seed,
            **self.routed_model.settings_of_hooks,
        }

    def made_of(self) -> list[object]:
        """The analysis, its hook sets and the tasks."""
        hook_sets = self.routed_model.hooked(self.analysis.hook_sets(self.routed_model.n_layers)).values()
        return [self.analysis, *self.settings.tasks, *(part for hook_set in hook_sets for part in hook_set.parts())]

    def routes(self) -> dict[str, Route]:
        """Every hook set's, and the full model's as `"baseline"`."""
        return self.route_of

    def cells(self) -> list[Cell]:
        """A cell a part of a task. A tick is an item under a route."""
        return [
            self._cell(place, basis, part)
            for place, (task, parts) in enumerate(zip(self.settings.tasks, self._parts(), strict=True))
            for basis in [self._basis(task)]
            for part in parts
        ]

    def report_inputs(self) -> ReportInputs:
        """The model, the routes and the tasks."""
        model = ModelFacts(self.routed_model.name, self.routed_model.n_layers, self.route_of)
        return ReportInputs(self.analysis, model, self.facts, tuple(self.details()))

    def details(self) -> list[tuple[str, str]]:
        """The model, the tasks, the routes and what sharing saved."""
        return [
            *self.routed_model.details(),
            *((f"task {f.name}", f"{f.items} items; {f.measure}; chance {f.chance:.4g}") for f in self.facts),
            *((f"left out of {f.name}", f"too long: {', '.join(f.too_long)}") for f in self.facts if f.too_long),
            *((f"left out of {f.name}", _too_short(f.too_short)) for f in self.facts if f.too_short),
            ("hooks on every route", str(self.routed_model.hooks) or "none"),
            ("routes", f"{len(self.tree.routes)} distinct"),
            (
                "layer calls a batch",
                f"{self.tree.layer_calls:,} shared; {self.tree.layer_calls_unshared:,} route by route",
            ),
            ("seed", str(self.settings.seed)),
        ]

    def forecast(self, left: Left | None = None) -> dict[str, Any]:
        """Counts, and what they cost in time and memory by a measurement of a few seconds here and now."""
        return self.estimate(left=left).told()

    def estimate(self, on: Roofline | None = None, left: Left | None = None) -> Forecast:
        """Forecast work, memory and time, here or on an accelerator."""
        from mechpaint.display.progress import ticking
        from mechpaint.planning.forecast import Forecast

        asked = list(zip(self.settings.tasks, self._parts_left(left), self.batch_size, strict=True))
        asked = [(task, parts, rows) for task, parts, rows in asked if parts]
        costs: list[Cost] = []
        with ticking("measuring a little of each task", len(asked), None) as advance:
            for task, parts, rows in asked:
                costs.append(task.cost(self.routed_model.model, parts, rows, on))
                advance(1)
        return Forecast(self.tree, {fact.name: fact.items for fact in self.facts}, costs, on)

    def _parts_left(self, left: Left | None) -> list[list[Part[Any]]]:
        """For each task the parts of its work that are not done, cut further where some records are known."""
        if left is None:
            return self._parts()
        return [
            [
                replace(part, items=tuple(items), tree=tree)
                for part in parts
                if (name := _cell_name(place, part)) in left
                for items, tree in _missing(part, _named(part), _keys(left[name]))
            ]
            for place, parts in enumerate(self._parts())
        ]

    def _parts(self) -> list[list[Part[Any]]]:
        """For each task the parts of its work."""
        return [task.parts(items, self.tree) for task, items in zip(self.settings.tasks, self.items, strict=True)]

    def _cell(self, place: int, basis: str, part: Part[Any]) -> Cell:
        """The cell of a part of the task at a place in the list."""
        task = self.settings.tasks[place]
        rows = len(part.items) * len(part.tree.routes)
        complete = partial(completed, self.routed_model.model, task, part, self.batch_size[place])
        return ItemsCell(
            _cell_name(place, part),
            f"{task}, {part.label}",
            rows,
            basis,
            partial(complete, held=()),
            rows,
            _tokens(part.items),
            items={item.name: content_digest(item) for item in part.items},
            routes=tuple(map(str, part.tree.routes)),
            complete=complete,
        )

    def _basis(self, task: Task[Any]) -> str:
        """Digest all that a record depends on besides its item and route, which batching and other items are not."""
        depends = {
            "task": task.settings(),
            "called": str(task),
            "model": self.routed_model.weights,
            "dtype": self.routed_model.dtype,
        }
        return fingerprint(depends, plugin_versions([task]))

    @cached_property
    def batch_size(self) -> tuple[int, ...]:
        """For each task how many token rows go through the model together."""
        asked = zip(self.settings.tasks, self.items, strict=True)
        return tuple(
            self.settings.batch_size or task.batch_size(self.routed_model.model, items) for task, items in asked
        )


def _tokens(items: Sequence[Named]) -> float:
    """The mean number of tokens of items, which what they cost goes with; 1 for those without rows of tokens."""
    return sum(sum(map(len, item.rows())) if isinstance(item, Rowed) else 1 for item in items) / len(items)


def completed(
    model: TransformerBridge,
    task: Task[Any],
    part: Part[Any],
    batch_size: int,
    advance: Advance,
    held: Sequence[Record],
) -> list[Record]:
    """The records of a part of a task's work, in the order of items and then of routes."""
    named = _named(part)
    records = {(record["item"], record["route"]): record for record in held}
    advance(len(records))
    for items, tree in _missing(part, named, records.keys()):
        for record in task.records(model, items, tree, batch_size, advance):
            records[record["item"], record["route"]] = record
    asked = [(item.name, name) for item in part.items for name in named.values()]
    for item, route in asked:
        if (item, route) not in records:
            raise ValueError(f"the task {task} gave no record of the item {item!r} under the route {route}")
    return list(map(records.__getitem__, asked))


def task_facts(task: Task[Any], selection: Selection[Any], routed_model: RoutedModel) -> TaskFacts:
    """Collect the facts about a task that reports need."""
    items = selection.items
    chance = task.chance(routed_model.model, items)
    metric = task.metric(items)
    return TaskFacts(
        str(task),
        task.measured(),
        chance,
        len(items),
        metric,
        selection.too_long,
        task.reported(),
        selection.too_short,
    )


def _too_short(names: Sequence[str]) -> str:
    more = ", …" if len(names) > _SHOWN else ""
    return f"too little text in {len(names)}: {', '.join(names[:_SHOWN])}{more}"


def _cell_name(place: int, part: Part[Any]) -> str:
    return f"{place:02d}-{part.name}"


def _named(part: Part[Any]) -> dict[Route, str]:
    return {route: str(route) for route in part.tree.routes}


def _keys(records: Sequence[Record]) -> set[tuple[str, str]]:
    """The items and routes of records."""
    return {(record["item"], record["route"]) for record in records}


def _missing(
    part: Part[Any], named: Mapping[Route, str], there: Collection[tuple[str, str]]
) -> list[tuple[list[Named], PrefixTree]]:
    """The items of a part with the routes that each lacks: those that lack the same ones together."""
    lacking: dict[tuple[Route, ...], list[Named]] = {}
    for item in part.items:
        routes = tuple(route for route, name in named.items() if (item.name, name) not in there)
        lacking.setdefault(routes, []).append(item)
    trees = {routes: part.tree if len(routes) == len(named) else PrefixTree(routes) for routes in lacking if routes}
    return [(lacking[routes], tree) for routes, tree in trees.items()]


def _routes(analysis: RouteAnalysis, routed_model: RoutedModel) -> dict[str, Route]:
    hook_sets = {BASELINE: HookSet(), **analysis.hook_sets(routed_model.n_layers)}
    for label, hook_set in hook_sets.items():
        if not hook_set.only_reroutes():
            raise HookSetError(
                f"{label!r} of the analysis {analysis.name!r} also reads or hooks: {hook_set}; expected hook sets that "
                "reroute, since scores are filed by route. To read, or to change activations, make it a ModelAnalysis"
            )
    own = {hook_set.route(routed_model.n_layers) for hook_set in hook_sets.values()}
    routes = {
        label: edited(hook_set, routed_model.n_layers) for label, hook_set in routed_model.hooked(hook_sets).items()
    }
    changed = any(isinstance(route, EditedRoute) for route in routes.values())
    if routed_model.hooks.edits() and not changed:
        raise HookSetError(f"no route of {analysis.name} makes a visit that {routed_model.hooks} would change")
    if len(own) > 1 and len(set(routes.values())) == 1:
        raise HookSetError(
            f"under {routed_model.hooks} all {len(routes)} hook sets of {analysis.name} come to the one route "
            f"{routes[BASELINE]}, so there is nothing to compare: expected hooks that change a route, not one that "
            "replaces it"
        )
    return routes


def content_digest(items: Named | Sequence[Named]) -> str:
    """A digest of what is in items. A run is not taken up with others: a text, or a tokenizer, may have changed."""
    return hashlib.sha256(repr(items).encode()).hexdigest()[:16]
