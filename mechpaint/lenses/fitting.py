"""Fitting a tuned lens: least squares first, then a few steps down the divergence itself."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import torch
from jaxtyping import Float, Int
from torch import Tensor

from mechpaint.data import read_text
from mechpaint.display.progress import ticking
from mechpaint.engine.arguments import Routing, as_hook_set
from mechpaint.engine.attach import attach
from mechpaint.engine.tail import Tail
from mechpaint.errors import InputError
from mechpaint.hooks import ReadStream
from mechpaint.lenses.tuned import TunedLens, probe
from mechpaint.models.loading import require_language_model
from mechpaint.routes.hookset import HookSet
from mechpaint.routes.route import Route

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge

_HELD_OUT = 8
"""One in so many windows is held out."""
_RIDGE = 1e-3
"""How strongly least squares are held to changing nothing, beside the mean square of a stream's entries."""
_RATE = 3e-4
_MOST_TESTED = 128
"""The rows held out that are compared: each has logits over the whole vocabulary."""
_WINDOWS_AT_ONCE = 8


def fit_tuned_lens(
    model: TransformerBridge,
    hook_set: Routing | None = None,
    *,
    text: str | None = None,
    windows: int = 64,
    length: int = 128,
    steps: int = 20,
    rows: int = 64,
    seed: int = 0,
    advance: Callable[[int], None] | None = None,
) -> TunedLens:
    """Fit an affine translator for every stage of a route, so that each predicts what the last stage does.

    First by least squares from a stage's stream to the last one (as Din et al. 2023, arXiv 2303.09435), each position
    weighed so that all last streams have the same length, held slightly to changing nothing. Then by `steps` steps of
    Adam on the divergence of Belrose et al. 2023, KL(last ‖ stage). The model stays as it is. A stage for which the fit
    is no better than the logit lens on windows held out, one in eight, keeps it.

    Args:
        model: A bridge with a language-modelling head.
        hook_set: A hook set or route, or the text of either; the lens is for this route. None for the model's own.
        text: What the windows are of, a source as for the task `text`; None for the text that comes with Python.
        windows: How many, 8 or more; together with several times as many tokens as the model has dimensions.
        length: Their length in tokens.
        steps: Steps of Adam for every stage; 0 for least squares alone.
        rows: Positions that each step looks at.
        seed: Random seed of the choice of rows.
        advance: Told of every stage that is fitted; None for a progress bar on a terminal.

    Returns:
        The lens, with the divergences before and after by stage.

    Raises:
        InputError: Numbers that are too small, or a text with too few windows.
        LoadError: A model without a language-modelling head or tokenizer.
    """
    if windows < _HELD_OUT or length < 2 or steps < 0 or rows < 1:
        raise InputError(
            f"expected {_HELD_OUT} windows or more of 2 tokens or more, 0 steps or more and 1 row or more, got "
            f"windows={windows}, length={length}, steps={steps}, rows={rows}"
        )
    require_language_model(model, "the tuned lens")
    tokens = _windows(model, text, windows, length)
    route, streams = _streams(model, as_hook_set(hook_set or ""), tokens)
    held = torch.arange(windows).repeat_interleave(length) % _HELD_OUT == 0
    fit = _Fit(Tail(model), streams[-1], held, steps, rows, seed)
    found: list[_Fitted] = []
    with ticking("fitting a tuned lens", len(streams) - 1, advance) as tick:
        for stream in streams[:-1]:
            found.append(fit.stage(stream))
            tick(1)
    return TunedLens(
        route,
        torch.stack([one.weight for one in found]),
        torch.stack([one.bias for one in found]),
        probe(model),
        before=(*(one.before for one in found), 0.0),
        after=(*(one.after for one in found), 0.0),
    )


def _windows(model: TransformerBridge, source: str | None, windows: int, length: int) -> Int[Tensor, "window position"]:
    """Windows of a text without overlap, spread over all of it, each begun as the model's texts are."""
    tokenizer = model.tokenizer
    if tokenizer is None:
        raise InputError("this model has no tokenizer, so no lens can be fitted on a text: load it with tokenizer=...")
    if length > int(model.cfg.n_ctx):
        raise InputError(f"the model takes {int(model.cfg.n_ctx):,} tokens: expected a length of at most that")
    bos = cast("int | None", tokenizer.bos_token_id)
    first = [bos] if bos is not None and model.cfg.default_prepend_bos else []
    ids = cast("list[int]", tokenizer(read_text(source), add_special_tokens=False, verbose=False)["input_ids"])
    own = length - len(first)
    there = len(ids) // own
    if there < windows:
        raise InputError(
            f"the text has {there} windows of {length} tokens, expected {windows}: ask for fewer, or shorter"
        )
    starts = [own * (i * there // windows) for i in range(windows)]
    return torch.tensor([[*first, *ids[start : start + own]] for start in starts], device=model.cfg.device)


def _streams(model: TransformerBridge, hook_set: HookSet, tokens: Tensor) -> tuple[Route, list[Tensor]]:
    """The route, and each stage's streams of all windows, `[row, d_model]`."""
    read: list[list[Tensor]] = []
    with torch.no_grad(), attach(model, hook_set + ReadStream()) as session:
        for rows in torch.split(tokens, _WINDOWS_AT_ONCE):
            model(rows, return_type=None)
            read.append([stream.flatten(0, 1) for stream in session.stream])
    return session.route, [torch.cat(parts) for parts in zip(*read, strict=True)]


@dataclass(frozen=True, slots=True)
class _Fitted:
    """A translator, with the divergence before and after."""

    weight: Float[Tensor, "d_model d_model"]
    bias: Float[Tensor, "d_model"]
    before: float
    after: float


class _Fit:
    """Fits one stage after the other to the last streams of some rows."""

    def __init__(self, tail: Tail, last: Tensor, held: Tensor, steps: int, rows: int, seed: int) -> None:
        self._tail, self._last, self._steps, self._rows = tail, last, steps, rows
        self._generator = torch.Generator().manual_seed(seed)
        self._train, test = torch.nonzero(~held)[:, 0], torch.nonzero(held)[:, 0]
        self._test = test[torch.randperm(len(test), generator=self._generator)[:_MOST_TESTED]]
        self._weights = 1 / last[self._train].double().square().sum(-1, keepdim=True).clamp(min=1e-30)

    def stage(self, stream: Float[Tensor, "row d_model"]) -> _Fitted:
        """The best translator of a stage on the rows held out: none, least squares', or after Adam."""
        none = torch.zeros_like(stream[0].float())
        tried = [(none.repeat(len(none), 1), none), self._least_squares(stream)]
        if self._steps:
            tried.append(self._descended(stream, *tried[1]))
        found = [self._tested(stream, weight, bias) for weight, bias in tried]
        best = min(range(len(found)), key=lambda i: (not math.isfinite(found[i]), found[i]))
        weight, bias = tried[best]
        return _Fitted(weight.cpu(), bias.cpu(), found[0], found[best])

    def _least_squares(self, stream: Tensor) -> tuple[Tensor, Tensor]:
        """Weighted ridge regression of what is missing to the last stream."""
        x, y = stream[self._train].double(), self._last[self._train].double()
        share = self._weights / self._weights.sum()
        middle, missing = (share * x).sum(0), (share * (y - x)).sum(0)
        x, y = x - middle, y - x - missing
        gram = (share * x).T @ x
        gram += torch.diag(_RIDGE * gram.diagonal() + 1e-12 * gram.diagonal().mean())
        weight = cast(Tensor, torch.linalg.solve(gram, (share * x).T @ y))
        return weight.float(), (missing - middle @ weight).float()

    def _descended(self, stream: Tensor, weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
        """The translator after some steps of Adam, in units in which streams have entries of size one."""
        size = stream[self._train].float().std(0).clamp(min=1e-12)[:, None]
        out = self._last[self._train].float().square().mean().sqrt()
        scaled, shift = (weight * size / out).requires_grad_(), (bias / out).requires_grad_()
        descent = torch.optim.Adam([scaled, shift], lr=_RATE)
        schedule = torch.optim.lr_scheduler.LinearLR(descent, 1.0, 0.1, self._steps)
        for _ in range(self._steps):
            chosen = self._train[torch.randint(len(self._train), (self._rows,), generator=self._generator)]
            with torch.enable_grad():
                loss = self._divergence(stream, chosen, scaled * out / size, shift * out).mean()
                scaled.grad, shift.grad = torch.autograd.grad(loss, [scaled, shift])
            descent.step()
            schedule.step()
        return (scaled * out / size).detach(), (shift * out).detach()

    def _tested(self, stream: Tensor, weight: Tensor, bias: Tensor) -> float:
        """The mean divergence on the rows held out."""
        with torch.no_grad():
            return float(self._divergence(stream, self._test, weight, bias).mean())

    def _divergence(self, stream: Tensor, rows: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        """KL(last ‖ stage) of some rows, in nats."""
        with torch.no_grad():
            wanted = self._tail.logits(self._last[rows]).float().log_softmax(-1)
        given = stream[rows].float()
        read = self._tail.logits((given + given @ weight + bias).to(stream.dtype)).float().log_softmax(-1)
        return (wanted.exp() * (wanted - read)).sum(-1)
