"""The cost of asking a model: layer calls, floating-point operations, memory, and time, here or elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from mechpaint.engine.sweep import TAIL_BYTES
from mechpaint.errors import PlanError
from mechpaint.models.meta_device import is_meta
from mechpaint.planning.accelerators import Roofline
from mechpaint.planning.calibration import measured
from mechpaint.planning.flops import Work
from mechpaint.planning.layer_calls import Shapes, Sweeps, calls_of, visits_per_call
from mechpaint.routes.prefix_tree import PrefixTree
from mechpaint.routes.schedule import OPEN_A_PLACE
from mechpaint.scoring.batches import Batch, batches

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge

    from mechpaint.scoring.items import Part, Scorer

_ACCELERATOR = torch.device("cuda")


@dataclass(frozen=True)
class Memory:
    """Bytes at the peak.

    Attributes:
        weights: The model's parameters.
        activations: Residual streams that wait, and what one layer makes on the way.
        logits: A block of logits, and what scoring makes of it.
    """

    weights: int
    activations: int
    logits: int

    @property
    def whole(self) -> int:
        """All of it."""
        return self.weights + self.activations + self.logits


@dataclass(frozen=True)
class Cost:
    """The cost of asking a model.

    Attributes:
        batches: How many batches go through the model.
        layer_calls: How many times a layer runs on one.
        layer_calls_unshared: How many times it would if every route ran alone.
        flops: Floating-point operations of its matrix products, a multiplication and an addition being two; None
            where they are not counted.
        parts: About how many seconds each part takes that can be done on its own.
        memory: About how much it takes.
    """

    batches: int
    layer_calls: int
    layer_calls_unshared: int
    flops: int | None
    parts: tuple[float, ...]
    memory: Memory

    @property
    def seconds(self) -> float:
        """About how long all of it takes, one part after the other."""
        return sum(self.parts)


def of_rows(
    model: TransformerBridge, task: Scorer[Any], parts: Sequence[Part[Any]], batch_size: int, on: Roofline | None
) -> Cost:
    """The cost of a task whose items are rows of tokens, which sweeps take through the model."""
    sweeps = [(part.tree, batches(part.items, batch_size)) for part in parts]
    work, shapes = Work(model), Shapes(model)
    if on is None:
        if is_meta(model):
            raise PlanError("a model without weights cannot be measured: expected random ones, or an accelerator")
        pace = measured(model, task, sweeps, batch_size, shapes)
        seconds = [sum(pace.seconds(tree, batch) for batch in some) for tree, some in sweeps]
    else:
        seconds = [_on(on, work, shapes, tree, some) for tree, some in sweeps]
    return Cost(
        batches=sum(len(some) for _, some in sweeps),
        layer_calls=sum(len(some) * tree.layer_calls for tree, some in sweeps),
        layer_calls_unshared=sum(len(some) * tree.layer_calls_unshared for tree, some in sweeps),
        flops=flops(work, shapes, sweeps),
        parts=tuple(seconds),
        memory=memory(work, shapes, sweeps, torch.device(str(model.cfg.device)) if on is None else _ACCELERATOR),
    )


def flops(work: Work, shapes: Shapes, sweeps: Sweeps) -> int:
    """Floating-point operations of sweeps."""
    return sum(
        times * each.flops
        for tree, some in sweeps
        for batch in some
        for times, each in work.sweep(tree, shapes.rows(batch), shapes.length(batch), shapes.scored(batch))
    )


def memory(work: Work, shapes: Shapes, sweeps: Sweeps, device: torch.device) -> Memory:
    """The memory of sweeps at their peak, in the model's own precision."""
    every = [(tree, batch) for tree, some in sweeps for batch in some]
    largest = max(every, key=lambda one: shapes.tokens(one[1]) * visits_per_call(shapes.tokens(one[1]), device))
    activations = _activations(work, shapes, *largest, device)
    # a block of logits, and in float32 what log-softmax makes of it
    model = shapes.model
    row = 4 * int(getattr(model.cfg, "d_vocab", 0) or 0)
    block = max(min(TAIL_BYTES, row * len(tree.routes) * shapes.scored(batch)) for tree, batch in every)
    return Memory(weights(model), activations, 2 * max(row, block) if block else 0)


def _activations(work: Work, shapes: Shapes, tree: PrefixTree, batch: Batch[Any], device: torch.device) -> int:
    """The activations of one call, and the residual streams that wait for theirs."""
    dtype: Any = shapes.model.cfg.dtype
    visits = visits_per_call(shapes.tokens(batch), device)
    residual = shapes.tokens(batch) * int(shapes.model.cfg.d_model) * int(dtype.itemsize)
    peaks = [
        work.layer(layer, together * shapes.rows(batch), shapes.length(batch)).peak
        for layer, together in calls_of(tree, visits)
    ]
    return max(peaks) + min(OPEN_A_PLACE * visits, len(tree.routes)) * residual


def weights(model: TransformerBridge) -> int:
    """Bytes of a model's parameters."""
    return sum(p.numel() * p.element_size() for p in model.original_model.parameters())


def _on(on: Roofline, work: Work, shapes: Shapes, tree: PrefixTree, some: Sequence[Batch[Any]]) -> float:
    return sum(
        times * each.seconds(on)
        for batch in some
        for visits in [visits_per_call(shapes.tokens(batch), _ACCELERATOR)]
        for times, each in work.sweep(tree, shapes.rows(batch), shapes.length(batch), shapes.scored(batch), visits)
    )
