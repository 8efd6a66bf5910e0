"""The time of a model's layer calls here, by their tokens: timed once, and shared by all tasks of a plan."""

from __future__ import annotations

import math
import statistics
import time
import weakref
from collections.abc import Hashable
from typing import TYPE_CHECKING

import torch

from mechpaint.engine.fused_attention import fastest_attention
from mechpaint.engine.route_runner import RouteRunner
from mechpaint.scoring.encoding import context

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge

_STEP = 4
"""Calls of 1, 4, 16, … tokens are timed, and others are on the line between two of them."""

_SHORT = 64
"""Rows of up to so many tokens take as long per token: what attention adds to a layer is little."""

_ENOUGH = 0.2
"""A timing that takes more seconds is steady, and is not repeated."""

_TOO_LONG = 1.0
"""One that would take more seconds is not made: a shorter one's is taken in proportion."""

_KNOWN: weakref.WeakKeyDictionary[TransformerBridge, dict[Hashable, float]] = weakref.WeakKeyDictionary()
"""What was timed of each model. If the machine was faster or slower then, tasks' own timings correct it."""


class CallTimings:
    """Seconds of a layer call: the mean of three layers, timed where first asked for."""

    def __init__(self, model: TransformerBridge) -> None:
        self._runner = runner = RouteRunner(model)
        self._layers = sorted({0, runner.n_layers // 2, runner.n_layers - 1})
        with torch.no_grad():
            self._real = runner.fastest()
            self._attention = fastest_attention(runner, self._real)
        self._how = (model.cfg.device, model.cfg.dtype, torch.get_num_threads(), self._real is runner.layers)
        self._known = _KNOWN.setdefault(model, {})

    def seconds(self, tokens: int, length: int) -> float:
        """Seconds of a call with so many tokens, in rows of about this length."""
        length = self._like(length)
        few = _STEP ** int(math.log(tokens, _STEP) + 1e-9)
        short, span = self._at(few, length), few * (_STEP - 1)
        if few >= length and short * _STEP * len(self._layers) > _TOO_LONG:
            return short * tokens / few
        if tokens == few:
            return short
        return short + (self._at(few * _STEP, length) - short) * (tokens - few) / span

    def _like(self, length: int) -> int:
        """The power of two whose rows stand for those of a length."""
        like = max(_SHORT, 2 ** round(math.log2(length)))
        while like > context(self._runner.model):
            like //= 2
        return like

    def _at(self, tokens: int, length: int) -> float:
        key = (*self._how, tokens, length)
        if key not in self._known:
            self._known[key] = self._timed(max(1, tokens // length), min(tokens, length))
        return self._known[key]

    def _timed(self, rows: int, length: int) -> float:
        """The median of a few timings, on rows of one token."""
        tokens = torch.zeros((rows, length), dtype=torch.long, device=self._runner.model.cfg.device)
        with torch.no_grad(), self._attention():
            inputs = self._runner.record(tokens, torch.ones_like(tokens))

            def call() -> float:
                began = time.perf_counter()
                for layer in self._layers:
                    self._runner.call(layer, inputs.embeddings, inputs.layers[layer], self._real[layer])
                return time.perf_counter() - began

            first = call()  # the slowest
            return statistics.median([call(), *(call() for _ in range(0 if first > _ENOUGH else 3))]) / len(
                self._layers
            )
