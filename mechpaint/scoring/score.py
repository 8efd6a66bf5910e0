"""From a task's items to records: one for every item and route, by way of sweeps over batches of token rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, TypeVar, cast

import torch
from jaxtyping import Bool, Int
from torch import Tensor
from transformer_lens.model_bridge import TransformerBridge

from mechpaint.engine.sweep import Sweep
from mechpaint.routes.prefix_tree import PrefixTree
from mechpaint.routes.route import Route
from mechpaint.scoring.batches import Batch, batches, swept
from mechpaint.scoring.items import Judge, Named, Outcome, Placed, Scorer
from mechpaint.statistics.results import Advance, Record

Asked = TypeVar("Asked", bound=Named)
AtPlaces = TypeVar("AtPlaces", bound=Placed)


def score_items(
    model: TransformerBridge,
    task: Scorer[Asked],
    items: Sequence[Asked],
    tree: PrefixTree,
    batch_size: int = 32,
    advance: Advance = lambda ticks: None,
) -> Iterator[Record]:
    """Score every item under every route, as the task does it.

    Args:
        model: A TransformerBridge that the task can be asked of.
        task: What the items belong to.
        items: The items.
        tree: The routes.
        batch_size: How many token rows go through the model together.
        advance: Called with the number of items that were asked under a route, as it goes.

    Yields:
        Flat records, as `Task.records` describes them.
    """
    return task.records(model, items, tree, batch_size, advance)


def score_at_places(
    model: TransformerBridge,
    task: Judge[AtPlaces],
    items: Sequence[AtPlaces],
    tree: PrefixTree,
    batch_size: int,
    advance: Advance,
) -> Iterator[Record]:
    """The records of a `PlaceTask`: sweeps for the logits at its items' places.

    Args:
        model: A TransformerBridge with an unembedding.
        task: What the items belong to.
        items: The items.
        tree: The routes.
        batch_size: How many token rows go through the model together.
        advance: Called after each route of each batch, with the number of its items.

    Yields:
        A record for each item and route.
    """

    def scored(batch: Batch[AtPlaces], tree: PrefixTree) -> Iterator[tuple[Route, list[Record]]]:
        tokens, mask = batch.padded(model.cfg.device)
        positions, index, targets = _selection(batch, tokens)
        for route, logprobs, greedy in _predicted(Sweep(model, tokens, tree, mask, positions), index, targets):
            yield route, list(_records(task, batch, str(route), logprobs, greedy))

    for batch in batches(items, batch_size):
        yield from swept(batch, tree, scored, advance)


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


def _predicted(
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
    task: Judge[AtPlaces], batch: Batch[AtPlaces], route: str, logprobs: list[float], greedy: list[bool]
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
