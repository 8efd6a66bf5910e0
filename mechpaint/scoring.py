"""From a task's items to records: one for every item and route, by way of sweeps over batches of token rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar, cast

import torch
from jaxtyping import Bool, Int
from torch import Tensor
from transformer_lens.model_bridge import TransformerBridge

from mechpaint.analysis import Advance, Record
from mechpaint.outofmemory import is_out_of_memory, let_go_of_memory
from mechpaint.prefixtree import PrefixTree
from mechpaint.route import Route
from mechpaint.sweeping import Sweep
from mechpaint.tasks.items import Named, Outcome, Place, Placed, Rowed
from mechpaint.tasks.task import PlaceTask, Task

Asked = TypeVar("Asked", bound=Named)
InRows = TypeVar("InRows", bound=Rowed)
AtPlaces = TypeVar("AtPlaces", bound=Placed)


@dataclass(frozen=True, slots=True)
class Batch(Generic[InRows]):
    """Token rows for one sweep and the places in them that score some items.

    Attributes:
        items: The items.
        rows: Their token rows, each once.
        own: For each item, which of these are its own, in its order.
        places: For each item, for each of its answers, the place of each token.
    """

    items: tuple[InRows, ...]
    rows: tuple[tuple[int, ...], ...]
    own: tuple[tuple[int, ...], ...]
    places: tuple[tuple[tuple[Place, ...], ...], ...]

    @classmethod
    def of(cls, items: Sequence[InRows]) -> Batch[InRows]:
        """One batch out of items. A row that several of them have is in it once.

        Args:
            items: What to ask.
        """
        number: dict[tuple[int, ...], int] = {}
        own = tuple(tuple(number.setdefault(row, len(number)) for row in item.rows()) for item in items)
        places = tuple(
            tuple(tuple(replace(place, row=rows[place.row]) for place in answer) for answer in item.places())
            for item, rows in zip(items, own, strict=True)
        )
        return cls(tuple(items), tuple(number), own, places)

    def padded(self, device: Any) -> tuple[Int[Tensor, "row position"], Int[Tensor, "row position"]]:
        """The rows padded on the right to equal length, and their attention mask.

        Args:
            device: Where to.
        """
        length = max(map(len, self.rows))
        tokens = torch.zeros((len(self.rows), length), dtype=torch.long)
        mask = torch.zeros_like(tokens)
        for i, row in enumerate(self.rows):
            tokens[i, : len(row)] = torch.tensor(row)
            mask[i, : len(row)] = 1
        return tokens.to(device), mask.to(device)


def batches(items: Sequence[InRows], rows_at_once: int) -> list[Batch[InRows]]:
    """Items in batches, those of like length together.

    Args:
        items: What to ask.
        rows_at_once: How many token rows a batch has at most; an item with more has a batch of its own.
    """
    ordered = sorted(items, key=lambda item: max(map(len, item.rows())))
    found: list[Batch[InRows]] = []
    waiting: list[InRows] = []
    rows = 0
    for item in ordered:
        count = len(item.rows())
        if waiting and rows + count > rows_at_once:
            found.append(Batch[InRows].of(waiting))
            waiting, rows = [], 0
        waiting.append(item)
        rows += count
    return [*found, Batch[InRows].of(waiting)] if waiting else found


def score_items(
    model: TransformerBridge,
    task: Task[Asked],
    items: Sequence[Asked],
    tree: PrefixTree,
    rows_at_once: int = 32,
    advance: Advance = lambda ticks: None,
) -> Iterator[Record]:
    """Score every item under every route, as the task does it.

    Args:
        model: A TransformerBridge that the task can be asked of.
        task: What the items belong to.
        items: The items.
        tree: The routes.
        rows_at_once: How many token rows go through the model together.
        advance: Called with the number of items that were asked under a route, as it goes.

    Yields:
        Flat records, as `Task.records` describes them.
    """
    return task.records(model, items, tree, rows_at_once, advance)


def score_at_places(
    model: TransformerBridge,
    task: PlaceTask[AtPlaces],
    items: Sequence[AtPlaces],
    tree: PrefixTree,
    rows_at_once: int,
    advance: Advance,
) -> Iterator[Record]:
    """The records of a `PlaceTask`: sweeps for the logits at its items' places.

    Args:
        model: A TransformerBridge with an unembedding.
        task: What the items belong to.
        items: The items.
        tree: The routes.
        rows_at_once: How many token rows go through the model together.
        advance: Called after each route of each batch, with the number of its items.

    Yields:
        A record for each item and route.
    """

    def scored(batch: Batch[AtPlaces], tree: PrefixTree) -> Iterator[tuple[Route, list[Record]]]:
        tokens, mask = batch.padded(model.cfg.device)
        positions, index, targets = _selection(batch, tokens)
        for route, logprobs, greedy in _foreseen(Sweep(model, tokens, tree, mask, positions), index, targets):
            yield route, list(_records(task, batch, str(route), logprobs, greedy))

    for batch in batches(items, rows_at_once):
        yield from swept(batch, tree, scored, advance)


def swept(
    batch: Batch[InRows],
    tree: PrefixTree,
    score: Callable[[Batch[InRows], PrefixTree], Iterator[tuple[Route, list[Record]]]],
    advance: Advance,
) -> Iterator[Record]:
    """The records of a batch. Where memory does not suffice, what is left of its routes is done with half the batch.

    Args:
        batch: What is asked.
        tree: The routes.
        score: Sweeps a batch over routes: gives each with its records.
        advance: Called after each route of each batch, with the number of its items.

    Yields:
        All records that `score` gives.
    """
    done: set[Route] = set()
    try:
        for route, records in score(batch, tree):
            yield from records
            advance(len(batch.items))
            done.add(route)
        return
    except Exception as error:
        if len(batch.items) == 1 or not is_out_of_memory(error):
            raise
    # out of the `except`, for what it holds holds tensors
    let_go_of_memory()
    left = PrefixTree(route for route in tree.routes if route not in done)
    half = len(batch.items) // 2
    for items in (batch.items[:half], batch.items[half:]):
        yield from swept(Batch[InRows].of(items), left, score, advance)


def _selection(
    batch: Batch[AtPlaces], tokens: Tensor
) -> tuple[Bool[Tensor, "row position"], Int[Tensor, " place"], Int[Tensor, " place"]]:
    """The positions that are scored; and for each place, which of them it is and the token it asks for."""
    places = [place for item in batch.places for answer in item for place in answer]
    distinct = sorted({(place.row, place.position) for place in places})
    number = {where: i for i, where in enumerate(distinct)}
    positions = torch.zeros_like(tokens, dtype=torch.bool)
    for row, position in distinct:
        positions[row, position] = True
    index = torch.tensor([number[place.row, place.position] for place in places], device=tokens.device)
    targets = torch.tensor([place.token for place in places], device=tokens.device)
    return positions, index, targets


def _foreseen(
    sweep: Sweep, index: Int[Tensor, " place"], targets: Int[Tensor, " place"]
) -> Iterator[tuple[Route, list[float], list[bool]]]:
    """For every route the log-probability of each place's token, and whether it was the likeliest.

    By `log_softmax` in float32, as lm-eval does it and most others: over Gemma's 262,144 tokens it is off by some 3e-5
    nats a token, and what rounds less would give other numbers than theirs.
    """
    logprobs = torch.zeros(len(targets), device=targets.device)
    greedy = torch.zeros(len(targets), dtype=torch.bool, device=targets.device)
    left = 0
    for route, positions, logits in sweep.blocks():
        left = left or len(targets)
        logits = logits.float().to(targets.device)
        here = (index >= positions.start) & (index < positions.stop)
        at, asked = index[here] - positions.start, targets[here]
        greedy[here] = logits.argmax(dim=-1)[at] == asked
        logprobs[here] = logits.log_softmax(dim=-1)[at, asked]
        left -= len(asked)
        if not left:
            yield route, cast(Any, logprobs).tolist(), cast(Any, greedy).tolist()


def _records(
    task: PlaceTask[AtPlaces], batch: Batch[AtPlaces], route: str, logprobs: list[float], greedy: list[bool]
) -> Iterator[Record]:
    at = 0
    for item, places in zip(batch.items, batch.places, strict=True):
        sums: list[float] = []
        guessed: list[tuple[bool, ...]] = []
        for answer in places:
            sums.append(sum(logprobs[at : at + len(answer)]))
            guessed.append(tuple(greedy[at : at + len(answer)]))
            at += len(answer)
        outcome = Outcome(tuple(sums), tuple(guessed))
        score, metrics = task.judge(item, outcome) if outcome.finite else (float("nan"), "")
        yield {
            "task": str(task),
            "item": item.name,
            "route": route,
            "score": score,
            "logprob": float("nan") if item.answer is None else sums[item.answer],
            "tokens": 0 if item.answer is None else len(guessed[item.answer]),
            "finite": outcome.finite,
            "metrics": metrics,
        }
