"""Reading every stage of a route through a lens."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias, cast

import torch
from jaxtyping import Float
from torch import Tensor

from mechpaint.engine.attach import attach
from mechpaint.engine.tail import Tail
from mechpaint.errors import HookSetError, InputError
from mechpaint.hooks import ReadStream
from mechpaint.lenses.answers import chosen_positions, one_token
from mechpaint.lenses.readout import LensReadout
from mechpaint.lenses.stages import stage_names
from mechpaint.models.comparison import relative_difference, tolerance
from mechpaint.models.loading import require_language_model
from mechpaint.models.token_text import one_row, token_texts
from mechpaint.routes.hookset import HookSet
from mechpaint.routes.route import Route

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge

Translate: TypeAlias = Callable[[int, Tensor], Tensor]
"""What a lens makes of the residual streams of a stage, `[position, d_model]`, before the model's tail reads them."""
MOST_LOGITS = 2**24
"""How many logits are held at once."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What a lens is asked: see `logit_lens`."""

    answer: str | int | None
    positions: int | Sequence[int] | None
    top: int
    keep_logits: bool


def read_through(
    lens: str,
    model: TransformerBridge,
    text: object,
    hook_set: HookSet,
    settings: Settings,
    translation: Callable[[Route], Translate],
) -> LensReadout:
    """Run a model on a text and read every stage through a lens."""
    require_language_model(model, f"the {lens}")
    tokens = one_row(model, cast(Any, text))
    places = chosen_positions(settings.positions, tokens.shape[1])
    answer = None if settings.answer is None else one_token(model, settings.answer)
    with torch.no_grad(), attach(model, hook_set + ReadStream()) as session:
        logits = cast(Tensor, model(tokens))[0, list(places)]
    if not 1 <= settings.top <= logits.shape[-1]:
        raise InputError(f"expected from 1 to {logits.shape[-1]:,} most likely tokens, got top={settings.top}")
    translate = translation(session.route)
    streams = torch.stack([stream[0, list(places)] for stream in session.stream])
    tail = Tail(model)
    _check_last(tail, streams[-1], logits)
    read = _Read(tail, translate, settings.top, answer, settings.keep_logits)
    with torch.no_grad():
        parts = [read.positions(some) for some in _split(streams, logits.shape[-1], 1)]
    joined = {name: torch.cat([part[name] for part in parts], dim=1) for name in parts[0]}
    seen = cast("list[int]", joined["top"].unique().tolist())
    named: list[int] = sorted({*seen, *([] if answer is None else [answer])})
    texts = dict(zip(named, token_texts(model, torch.tensor(named)), strict=True))
    words = token_texts(model, tokens[0, list(places)])
    return LensReadout(
        lens, session.route, stage_names(session.route), places, tuple(words), texts=texts, answer=answer, **joined
    )


def _check_last(tail: Tail, last: Tensor, logits: Tensor) -> None:
    """Refuse a model whose logits are not what its tail makes of the final stream: a hook is in between."""
    with torch.no_grad():
        found = torch.cat([tail.logits(rows) for rows in _split(last, logits.shape[-1])])
    if not logits.isfinite().any():
        raise InputError("the logits are not numbers: nothing can be read")
    if not relative_difference(found, logits) <= tolerance(logits.dtype):
        raise HookSetError(
            "the logits are not what the final norm and the unembedding make of the final residual stream: something "
            "changes them after the layers. Expected hook sets that act within layers, and a model without hooks there"
        )


def _split(streams: Tensor, each: int, axis: int = 0) -> tuple[Tensor, ...]:
    """Streams in parts whose logits are not too many at once; each along the axis has so many."""
    return torch.split(streams, max(1, MOST_LOGITS // each), dim=axis)


@dataclass(frozen=True, slots=True)
class _Read:
    """Reads all stages at some positions."""

    tail: Tail
    translate: Translate
    top: int
    answer: int | None
    keep_logits: bool

    def positions(self, streams: Float[Tensor, "stage position d_model"]) -> dict[str, Tensor]:
        """Everything that is kept of them, `[stage, position, …]`, on the CPU."""
        moved = torch.stack([self.translate(stage, some) for stage, some in enumerate(streams)])
        last = self._logits(moved[-1:]).double().log_softmax(-1)[0]
        parts = [self._stages(self._logits(some), last) for some in _split(moved, last.numel())]
        return {name: torch.cat([part[name] for part in parts]).cpu() for name in parts[0]}

    def _logits(self, streams: Float[Tensor, "stage position d_model"]) -> Float[Tensor, "stage position vocab"]:
        return self.tail.logits(streams.flatten(0, 1)).reshape(*streams.shape[:2], -1)

    def _stages(
        self, logits: Float[Tensor, "stage position vocab"], last: Float[Tensor, "position vocab"]
    ) -> dict[str, Tensor]:
        log_p = logits.double().log_softmax(-1)
        likely = log_p.topk(self.top)
        kept = {
            "top": likely.indices,
            "probabilities": likely.values.exp().float(),
            "entropy": -_weighted(log_p, log_p).float(),
            "kl": _weighted(last, last - log_p).clamp(min=0).float(),
        }
        if self.answer is not None:
            own = log_p[..., self.answer, None]
            kept["answer_rank"] = 1 + (log_p > own).sum(-1)
            kept["answer_probability"] = own[..., 0].exp().float()
        return kept | ({"logits": logits.float()} if self.keep_logits else {})


def _weighted(log_p: Tensor, values: Tensor) -> Tensor:
    """The mean of values under a distribution; a token without probability adds nothing."""
    return (log_p.exp() * values).nan_to_num(nan=0.0).sum(-1)
