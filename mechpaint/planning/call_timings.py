"""The time of a model's layer calls and logits here: timed once, and shared by all tasks of a plan."""

from __future__ import annotations

import math
import statistics
import time
import weakref
from collections.abc import Callable, Hashable
from typing import TYPE_CHECKING

import torch

from mechpaint.engine.fused_attention import fastest_attention
from mechpaint.engine.route_runner import RouteRunner
from mechpaint.engine.sweep import TAIL_BYTES
from mechpaint.scoring.encoding import context

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge

_STEP = 4
"""1, 4, 16, … tokens are timed, and other numbers are on the line between two of them."""

_SHORT = 64
"""Rows of up to so many tokens take as long per token: what attention adds to a layer is little."""

_ENOUGH = 0.2
"""A timing that takes more seconds is steady, and is not repeated."""

_TOO_LONG = 1.0
"""One that would take more seconds is not made: a shorter one's is taken in proportion."""

_KNOWN: weakref.WeakKeyDictionary[TransformerBridge, dict[Hashable, float]] = weakref.WeakKeyDictionary()
"""What was timed of each model. If the machine was faster or slower then, tasks' own timings correct it."""


class CallTimings:
    """Seconds of a layer call, the mean of three layers', and of logits; each timed where first asked for."""

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
        like = self._like(length)
        return self._between(tokens, like, lambda many: self._call(max(1, many // like), min(many, like)))

    def tails(self, routes: int, scored: int) -> float:
        """Seconds of the logits and log-probabilities of some positions under some routes, in a sweep's blocks."""
        if not scored or not self._runner.by_position:
            return 0.0
        most = max(1, TAIL_BYTES // (4 * max(1, int(getattr(self._runner.model.cfg, "d_vocab", 0) or 0))))
        if scored > most:
            blocks, left = divmod(scored, most)
            return routes * (blocks * self._logits(most) + self._logits(left))
        together = most // scored
        blocks, left = divmod(routes, together)
        return blocks * self._logits(together * scored) + self._logits(left * scored)

    def _logits(self, rows: int) -> float:
        return self._between(rows, 0, self._tail) if rows else 0.0

    def _between(self, amount: int, length: int, timed: Callable[[int], float]) -> float:
        """What an amount takes, from the powers below and above it."""
        few = _STEP ** int(math.log(amount, _STEP) + 1e-9)
        short = self._at(few, length, timed)
        if amount == few:
            return short
        if few >= length and short * _STEP > _TOO_LONG:
            return short * amount / few
        more = self._at(few * _STEP, length, timed)
        return short + (more - short) * (amount - few) / (few * (_STEP - 1))

    def _like(self, length: int) -> int:
        """The power of two whose rows stand for those of a length."""
        like = max(_SHORT, 2 ** round(math.log2(length)))
        while like > context(self._runner.model):
            like //= 2
        return like

    def _at(self, amount: int, length: int, timed: Callable[[int], float]) -> float:
        key = (*self._how, amount, length)
        if key not in self._known:
            self._known[key] = timed(amount)
        return self._known[key]

    def _call(self, rows: int, length: int) -> float:
        """Time calls on rows of one token."""
        tokens = torch.zeros((rows, length), dtype=torch.long, device=self._runner.model.cfg.device)
        with torch.no_grad(), self._attention():
            inputs = self._runner.record(tokens, torch.ones_like(tokens))

            def call() -> None:
                for layer in self._layers:
                    self._runner.call(layer, inputs.embeddings, inputs.layers[layer], self._real[layer])

            return _median(call) / len(self._layers)

    def _tail(self, rows: int) -> float:
        """Time what scoring does with residual streams."""
        weight = next(self._runner.model.original_model.parameters())
        width = int(self._runner.model.cfg.d_model)
        streams = torch.zeros((rows, width), dtype=weight.dtype, device=self._runner.model.cfg.device)

        def score() -> None:
            logits = self._runner.tail(streams).float()
            logits.argmax(dim=-1)
            logits.log_softmax(dim=-1)

        with torch.no_grad():
            return _median(score)


def _median(work: Callable[[], None]) -> float:
    """The median of a few timings after a first one, which is the slowest."""

    def once() -> float:
        began = time.perf_counter()
        work()
        return time.perf_counter() - began

    first = once()
    return statistics.median(once() for _ in range(1 if first > _ENOUGH else 3))
