"""Cost estimates of fine-tuning: time one batch here, and scale up."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import torch
from jaxtyping import Int
from torch import Tensor
from transformer_lens.model_bridge import TransformerBridge

from mechpaint.engine.route_runner import RouteRunner
from mechpaint.finetuning.benchmarks import Labelled
from mechpaint.finetuning.classification import prepare
from mechpaint.finetuning.encoding import Rows, encode
from mechpaint.finetuning.frozen_body import ROWS_AT_ONCE, Answer, features, head_alone, place_read, whole_model
from mechpaint.finetuning.model_copies import classifier
from mechpaint.finetuning.settings import FineTuning
from mechpaint.planning.calibration import timed
from mechpaint.planning.cost import Cost, Memory, weights
from mechpaint.routes.prefix_tree import PrefixTree
from mechpaint.routes.route import Route


def of_training(model: TransformerBridge, data: Labelled, trees: Sequence[PrefixTree], settings: FineTuning) -> Cost:
    """Estimate the cost of fine-tuning along every route of some trees."""
    train, validation = (encode(model, split, settings.max_length) for split in (data.train, data.validation))
    route = Route.identity(RouteRunner(model).n_layers)
    copy = classifier(model, data.benchmark.labels)
    learning = prepare(copy, route, settings.learns)
    copy.eval()  # dropout would draw random numbers
    memory = _memory(copy, train, settings, sum(p.numel() * p.element_size() for p in learning))
    place = place_read(copy, train.pad) if settings.learns == "head" else None
    rows = _typical(train, ROWS_AT_ONCE if place else settings.batch)
    asked, updates = -(-len(validation) // ROWS_AT_ONCE), settings.updates(len(train))
    if place is None:
        with whole_model(copy, route) as answer:
            update, forward = timed(lambda: _update(answer, rows)), timed(lambda: _ask(answer, rows))
        by_part = [sum(route.layer_calls for route in tree.routes) for tree in trees]
        a_call = (updates * update + asked * forward) / len(route.steps)
        batches = sum(len(tree.routes) for tree in trees) * (updates + asked)
        calls = sum(by_part) * (updates + asked)
        return Cost(batches, calls, calls, None, tuple(each * a_call for each in by_part), memory)
    one = PrefixTree([route])
    body = timed(lambda: features(model, rows, one, place)) / len(route.steps)
    with head_alone(copy, [(rows, features(model, rows, one, place)[route])]) as answer:
        update = timed(lambda: _update(answer, rows))
    passes = asked + -(-len(train) // ROWS_AT_ONCE)
    calls = sum(tree.layer_calls for tree in trees)
    unshared = sum(tree.layer_calls_unshared for tree in trees)
    seconds = tuple(passes * tree.layer_calls * body + len(tree.routes) * updates * update for tree in trees)
    return Cost(passes * len(trees), passes * calls, passes * unshared, None, seconds, memory)


def _typical(rows: Rows, count: int) -> Rows:
    """Choose rows of middle length."""
    order = rows.lengths().argsort()
    first = max(0, (len(order) - count) // 2)
    return rows.some(order[first : first + count])


def _ask(answer: Answer, rows: Rows) -> Tensor:
    with torch.no_grad():
        return answer(rows, _all(rows))


def _update(answer: Answer, rows: Rows) -> None:
    """Run an update without the optimiser, whose cost is small."""
    with torch.enable_grad():
        cast(Any, answer(rows, _all(rows)).square().mean()).backward()


def _all(rows: Rows) -> Int[Tensor, " example"]:
    return torch.arange(len(rows))


def _memory(copy: TransformerBridge, rows: Rows, settings: FineTuning, learning: int) -> Memory:
    """Estimate peak memory."""
    tokens = settings.batch * int(rows.lengths().max())
    # activations are kept for the gradient
    kept = 1 if settings.learns == "head" else len(copy.blocks)
    activations = 4 * tokens * int(copy.cfg.d_model) * 24 * kept
    # copies of weights, gradients, and two running means of AdamW
    return Memory(weights(copy) + 4 * learning, activations, 0)
