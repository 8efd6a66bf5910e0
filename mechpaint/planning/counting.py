"""How much work routes are on a model: counted from the operations that its modules carry out, without a formula."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch
from torch import nn

from mechpaint.conductor import Conductor
from mechpaint.models import outline_of
from mechpaint.planning.calls import calls_of
from mechpaint.planning.filling import is_outline
from mechpaint.planning.operations import Counted, counted
from mechpaint.prefixtree import PrefixTree
from mechpaint.recording import Recording

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge


class Work:
    """Counts what a model's layers and its tail take, at any shape.

    It asks an outline on torch's `meta` device, which computes nothing. Where the model's code looks at numbers, as
    routers of experts do, the model itself is asked, which takes as long as running each kind of layer once.

    Args:
        model: A TransformerBridge.
    """

    def __init__(self, model: TransformerBridge) -> None:
        self._conductor = Conductor(_askable(model))
        self._device = next(self._conductor.model.original_model.parameters()).device
        self._kinds = [_kind(layer) for layer in self._conductor.layers]
        self._layers: dict[tuple[object, ...], Counted] = {}
        self._tails: dict[int, Counted] = {}
        self._recorded: tuple[tuple[int, int], Recording] | None = None

    def layer(self, layer: int, rows: int, tokens: int) -> Counted:
        """What one call of a layer takes.

        Args:
            layer: Which.
            rows: How many rows of tokens.
            tokens: How many tokens each has.
        """
        key = (self._kinds[layer], rows, tokens)
        if key not in self._layers:
            recording = self._record(rows, tokens)
            self._layers[key] = counted(
                lambda: self._conductor.call(layer, recording.embeddings, recording.layers[layer])
            )
        return self._layers[key]

    def tail(self, scored: int) -> Counted:
        """What the logits at some positions take, and their log-probabilities.

        Args:
            scored: How many positions.
        """
        if scored not in self._tails:
            weight = next(self._conductor.model.original_model.parameters())
            width = int(self._conductor.model.cfg.d_model)
            rows = torch.zeros((scored, width), dtype=weight.dtype, device=self._device)

            def score() -> None:
                logits = self._conductor.tail(rows).float()
                logits.log_softmax(dim=-1)
                logits.argmax(dim=-1)

            self._tails[scored] = counted(score)
        return self._tails[scored]

    def sweep(
        self, tree: PrefixTree, rows: int, tokens: int, scored: int, visits: int = 1
    ) -> Iterator[tuple[int, Counted]]:
        """All that a sweep of one batch does: how often, and what it takes each time.

        Args:
            tree: The routes.
            rows: How many rows the batch has.
            tokens: How many tokens each has, padding included.
            scored: At how many positions there are logits; 0 for none at all.
            visits: How many visits of a layer on several routes share a call at most.
        """
        for (layer, together), times in calls_of(tree, visits).items():
            yield times, self.layer(layer, together * rows, tokens)
        if scored:
            yield len(tree.routes), self.tail(scored)

    def _record(self, rows: int, tokens: int) -> Recording:
        if self._recorded is None or self._recorded[0] != (rows, tokens):
            ids = torch.zeros((rows, tokens), dtype=torch.long, device=self._device)
            with torch.no_grad():
                self._recorded = (rows, tokens), self._conductor.record(ids)
        return self._recorded[1]


def _kind(layer: nn.Module) -> tuple[object, ...]:
    """What layers that take the same have in common."""
    tensors = tuple((name, tensor.shape, tensor.dtype) for name, tensor in layer.named_parameters())
    return (tuple(type(part) for part in layer.modules()), tensors)


def can_be_asked(model: TransformerBridge) -> bool:
    """Whether a model's outline can be asked, which a single token in each kind of layer shows.

    Args:
        model: An outline.
    """
    token = torch.zeros((1, 1), dtype=torch.long, device="meta")
    try:
        conductor = Conductor(model)
        with torch.no_grad():
            recording = conductor.record(token)
            for layer in {_kind(layer): i for i, layer in enumerate(conductor.layers)}.values():
                conductor.call(layer, recording.embeddings, recording.layers[layer])
    except (RuntimeError, NotImplementedError):
        return False
    return True


def _askable(model: TransformerBridge) -> TransformerBridge:
    """The model's outline, if it has one that can be asked."""
    if is_outline(model):
        return model
    shape = outline_of(model)
    return shape if shape is not None and can_be_asked(shape) else model
