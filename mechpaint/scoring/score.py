"""From a task's items to records, one for each item and route, by sweeps over batches of token rows."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any, TypeVar, cast

import torch
from jaxtyping import Bool, Int
from torch import Tensor
from transformer_lens.model_bridge import TransformerBridge

from mechpaint.engine.sweep import Sweep
from mechpaint.routes.prefix_tree import PrefixTree
from mechpaint.routes.route import Route
from mechpaint.scoring.batches import Batch, Watch, batches, sweep_batch
from mechpaint.scoring.items import Evaluator, Named, Outcome, Placed, Scorer, record
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
    """Score every item under every route, as the task does.

    Args:
        model: A TransformerBridge that the task accepts.
        task: The task the items belong to.
        items: The items.
        tree: The routes.
        batch_size: The largest number of token rows that go through the model together.
        advance: Called with the number of items that were scored under a route, as it goes.

    Yields:
        Flat records, as `Task.records` describes them.
    """
    return task.records(model, items, tree, batch_size, advance)


def score_at_places(
    model: TransformerBridge,
    task: Evaluator[AtPlaces],
    items: Sequence[AtPlaces],
    tree: PrefixTree,
    batch_size: int,
    advance: Advance,
) -> Iterator[Record]:
    """Score the items of a `PlaceTask` by the logits at their places."""

    def scored(batch: Batch[AtPlaces], tree: PrefixTree, watch: Watch) -> Iterator[tuple[Route, list[Record]]]:
        tokens, mask = batch.padded(model.cfg.device)
        positions, index, targets = _selection(batch, tokens)
        sweep = Sweep(model, tokens, tree, mask, positions)
        sweep.watch = watch
        for route, logprobs, greedy in _predicted(sweep, index, targets):
            yield route, list(_records(task, batch, route, logprobs, greedy))

    for batch in batches(items, batch_size):
        yield from sweep_batch(batch, tree, scored, advance)


def _selection(
    batch: Batch[AtPlaces], tokens: Tensor
) -> tuple[Bool[Tensor, "row position"], Int[Tensor, " place"], Int[Tensor, " place"]]:
    """The mask of scored positions; and for each place, the index of its position and its token."""
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
    """For every route, each place's log-probability, and whether its token had the highest logit.

    `log_softmax` in float32, as in lm-eval: over Gemma's 262,144 tokens its error is about 3e-5 nats a token, and a
    more exact sum would give other numbers than lm-eval's.
    """
    logprobs = torch.zeros(len(targets), device=targets.device)
    greedy = torch.zeros(len(targets), dtype=torch.bool, device=targets.device)
    left = 0
    for route, rows, logits in sweep.distinct_blocks():
        left = left or len(targets)
        logits = logits.float().to(targets.device)
        places = rows.to(targets.device)[index]
        here = places >= 0
        at, asked = places[here], targets[here]
        greedy[here] = logits.argmax(dim=-1)[at] == asked
        logprobs[here] = logits.log_softmax(dim=-1)[at, asked]
        left -= len(asked)
        if not left:
            yield route, cast(Any, logprobs).tolist(), cast(Any, greedy).tolist()


def _records(
    task: Evaluator[AtPlaces], batch: Batch[AtPlaces], route: Route, logprobs: list[float], greedy: list[bool]
) -> Iterator[Record]:
    at = 0
    for item, places in zip(batch.items, batch.places, strict=True):
        sums: list[float] = []
        firsts: list[tuple[bool, ...]] = []
        for answer in places:
            sums.append(sum(logprobs[at : at + len(answer)]))
            firsts.append(tuple(greedy[at : at + len(answer)]))
            at += len(answer)
        outcome = Outcome(tuple(sums), tuple(firsts))
        score, metrics = task.evaluate(item, outcome) if outcome.finite else (math.nan, "")
        logprob, tokens = (math.nan, 0) if item.answer is None else (sums[item.answer], len(firsts[item.answer]))
        yield record(task, item.name, route, score, outcome.finite, metrics, logprob, tokens)
