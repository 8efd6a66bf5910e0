"""How an analysis is run: a plan, cells, results, a report."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from mechpaint.analysis import Analysis, Results, TaskFacts
from mechpaint.conductor import Conductor
from mechpaint.hookset import HookSet, HookSetError
from mechpaint.models import digest
from mechpaint.prefixtree import PrefixTree
from mechpaint.progress import progress
from mechpaint.report import Report, write_report
from mechpaint.route import Route
from mechpaint.runs import Cell, RunFolder
from mechpaint.scoring import Batch, batches, score_items
from mechpaint.tasks.task import Item, Task, TaskError

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge

_ITEMS_A_CELL = 32
BASELINE = "baseline"


@dataclass(frozen=True)
class Settings:
    """What to run.

    Args:
        analysis: The analysis.
        model_name: What the model is called in reports.
        tasks: What to measure.
        limit: How many items of each task; None for all.
        seed: Of the items' choice and order.
        hooks: Applied after each of the analysis's hook sets, and to the baseline.
        rows_at_once: How many token rows go through the model together.
    """

    analysis: Analysis
    model_name: str
    tasks: tuple[Task, ...]
    limit: int | None = None
    seed: int = 0
    hooks: HookSet = field(default_factory=HookSet)
    rows_at_once: int = 32


@dataclass(frozen=True)
class Plan:
    """What a run will do: made before anything is computed or written.

    Attributes:
        settings: What was asked for.
        routes: The route of every hook set by its label; the full model's first, as `"baseline"`.
        tree: Their common beginnings.
        items: For each task its items.
        facts: For each task what a report needs.
    """

    settings: Settings
    routes: dict[str, Route]
    tree: PrefixTree
    items: tuple[tuple[Item, ...], ...]
    facts: tuple[TaskFacts, ...]

    @classmethod
    def of(cls, model: TransformerBridge, settings: Settings) -> Plan:
        """Make the items and routes.

        Raises:
            TaskError: No tasks, a task twice, or a task without items.
            RouteError, HookSetError: Hook sets that do not fit the model, or that do more than reroute.
        """
        names = [str(task) for task in settings.tasks]
        if not names or len(set(names)) != len(names):
            raise TaskError(f"expected one task or more, each once, got: {', '.join(names) or 'none'}")
        if settings.hooks.reads() or settings.hooks.hooks():
            raise HookSetError(f"an analysis is run under hook sets that reroute; {settings.hooks} also reads or hooks")
        n_layers = Conductor(model).n_layers
        hook_sets = {BASELINE: HookSet(), **settings.analysis.hook_sets(n_layers)}
        routes = {label: (hook_set + settings.hooks).route(n_layers) for label, hook_set in hook_sets.items()}
        items = tuple(tuple(task.items(model, settings.limit, settings.seed)) for task in settings.tasks)
        facts = tuple(
            TaskFacts(str(task), task.measure, task.chance(model, own), len(own))
            for task, own in zip(settings.tasks, items, strict=True)
        )
        return cls(settings, routes, PrefixTree(routes.values()), items, facts)

    def cells(self) -> list[Cell]:
        """The pieces in which it is computed and kept."""
        cells: list[Cell] = []
        for task, items in enumerate(self.items):
            count = -(-len(items) // _ITEMS_A_CELL)
            bounds = [len(items) * i // count for i in range(count + 1)]
            cells += [
                Cell(task, first, last, (last - first) * len(self.tree.routes)) for first, last in pairwise(bounds)
            ]
        return cells

    def batches(self, cell: Cell) -> list[Batch]:
        """The batches of a cell."""
        return batches(self.items[cell.task][cell.first : cell.last], self.settings.rows_at_once)

    def config(self, model: TransformerBridge) -> dict[str, Any]:
        """Everything that the results depend on."""
        settings = self.settings
        return {
            **settings.analysis.settings(),
            "model": digest(model),
            "dtype": str(model.cfg.dtype),
            "tasks": [
                {**task.settings(), "items": _items_digest(items)}
                for task, items in zip(settings.tasks, self.items, strict=True)
            ],
            "limit": settings.limit,
            "seed": settings.seed,
            "hooks": str(settings.hooks),
        }


def _items_digest(items: Sequence[Item]) -> str:
    """So that a run is not taken up with other items: a text, or a tokenizer, may have changed."""
    return hashlib.sha256(repr(items).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Finished:
    """A run that is done.

    Attributes:
        folder: The run folder.
        page: The page in it.
        report: What the page says.
        computed: How many cells were computed now; the others were there.
        seconds: How long that took.
    """

    folder: Path
    page: Path
    report: Report
    computed: int
    seconds: float


def run(model: TransformerBridge, plan: Plan, out: Path, command: str) -> Finished:
    """Compute what is missing, then draw the report.

    Args:
        model: The bridge that the plan was made for.
        plan: What to do.
        out: The folder of all runs.
        command: How to run it again, for the report.

    Raises:
        CannotWrite: The disk is full or cannot be written. Cells that are done stay.
    """
    began = time.monotonic()
    folder = RunFolder(out, plan.settings.analysis.name, plan.config(model))
    folder.begin({label: str(route) for label, route in plan.routes.items()})
    cells = plan.cells()
    missing = [cell for cell in cells if not folder.has(cell)]
    _compute(model, plan, folder, missing)
    table: Any = folder.collect(cells)
    results = Results(
        table.to_pandas(), plan.routes, plan.facts, plan.settings.model_name, plan.tree.routes[0].n_layers
    )
    report = plan.settings.analysis.report(results)
    page = write_report(report, folder.path, _details(plan, folder), command)
    return Finished(folder.path, page, report, len(missing), time.monotonic() - began)


def _compute(model: TransformerBridge, plan: Plan, folder: RunFolder, cells: Sequence[Cell]) -> None:
    routes = len(plan.tree.routes)
    with progress() as bar:
        total = sum(len(plan.batches(cell)) for cell in cells) * routes
        shown = bar.add_task("", total=total, visible=bool(cells))
        for cell in cells:
            task = plan.settings.tasks[cell.task]
            bar.update(shown, description=f"{task}, items {cell.first + 1} to {cell.last}")
            items = plan.items[cell.task][cell.first : cell.last]
            records = list(
                score_items(model, task, items, plan.tree, plan.settings.rows_at_once, lambda: bar.advance(shown))
            )
            folder.write(cell, records)


def _details(plan: Plan, folder: RunFolder) -> list[tuple[str, str]]:
    settings = plan.settings
    return [
        ("model", f"{settings.model_name} ({plan.tree.routes[0].n_layers} layers)"),
        ("weights", f"SHA-256 {folder.config['model'][:16]}…, {folder.config['dtype']}"),
        *((f"task {f.name}", f"{f.items} items; {f.measure}; chance {f.chance:.4g}") for f in plan.facts),
        ("hooks on every route", str(folder.config["hooks"]) or "none"),
        ("routes", f"{len(plan.tree.routes)} distinct"),
        (
            "layer calls a batch",
            f"{plan.tree.layer_calls:,} shared; {plan.tree.layer_calls_unshared:,} route by route",
        ),
        ("seed", str(settings.seed)),
        ("fingerprint", folder.path.name),
    ]


@dataclass(frozen=True)
class Forecast:
    """What a plan will cost.

    Attributes:
        batches: How many sweeps.
        layer_calls: Layer calls in all of them.
        layer_calls_unshared: The same if every route ran alone.
        seconds: About how long it takes, from a measurement of a few seconds here and now.
        bytes: About how much memory it takes at its peak.
    """

    batches: int
    layer_calls: int
    layer_calls_unshared: int
    seconds: float
    bytes: int


def forecast(model: TransformerBridge, plan: Plan) -> Forecast:
    """Time each task's largest batch on the plain route, and scale up to all that the plan will do."""
    seconds, count, largest = 0.0, 0, 0
    for task in range(len(plan.items)):
        found = [batch for cell in plan.cells() if cell.task == task for batch in plan.batches(cell)]
        largest = max(largest, *(len(b.rows) * max(map(len, b.rows)) for b in found))
        count += len(found)
        seconds += _seconds(model, plan, found)
    parameters = sum(p.numel() * p.element_size() for p in model.original_model.parameters())
    vocabulary, width = int(model.cfg.d_vocab), int(model.cfg.d_model)
    activations = 4 * largest * width * 24  # residuals that wait, and what one layer makes on the way
    logits = 3 * max(2**27, 4 * vocabulary)  # a block of logits, and what scoring makes of it
    return Forecast(
        count,
        count * plan.tree.layer_calls,
        count * plan.tree.layer_calls_unshared,
        seconds,
        parameters + activations + logits,
    )


def _seconds(model: TransformerBridge, plan: Plan, found: Sequence[Batch]) -> float:
    conductor = Conductor(model)
    batch = max(found, key=lambda b: len(b.rows) * max(map(len, b.rows)))
    tokens, mask = batch.padded(model.cfg.device)
    with torch.no_grad():
        recording = conductor.record(tokens, mask)
        rows = recording.embeddings.flatten(0, 1)[:64]
        a_token = _timed(lambda: conductor.run(plan.tree.routes[0], recording))
        a_token /= plan.tree.routes[0].layer_calls * tokens.numel()
        a_row = _timed(lambda: conductor.tail(rows)) / len(rows)
    all_tokens = sum(len(b.rows) * max(map(len, b.rows)) for b in found)
    all_rows = sum(len({(p.row, p.position) for i in b.places for c in i for p in c}) for b in found)
    return all_tokens * plan.tree.layer_calls * a_token + all_rows * len(plan.tree.routes) * a_row


def _timed(work: Callable[[], object]) -> float:
    """Seconds of the second time: the first is slower."""
    work()
    began = time.monotonic()
    work()
    return time.monotonic() - began
