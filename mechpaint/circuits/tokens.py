"""Token by token: how surprising each was, or how likely, as coloured text that needs no script."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import torch
from jaxtyping import Float, Int
from torch import Tensor

from mechpaint.display.sanitize import safe
from mechpaint.engine.arguments import Routing
from mechpaint.engine.attach import attach
from mechpaint.errors import DrawingError
from mechpaint.models.loading import require_language_model
from mechpaint.models.token_text import one_row, token_texts, visible_token

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge

_WHITE, _DARK = (255, 255, 255), (240, 150, 60)


@dataclass(frozen=True)
class Tokens:
    """Tokens, each with a value under it and a shade for it. It shows itself at the end of a notebook's cell.

    Args:
        tokens: As text.
        values: One a token; None where there is none, as for the first token's loss.
        what: What the values are, with their unit.
        most: What is shaded darkest; 0 is white.

    Raises:
        DrawingError: Not as many values as tokens, none at all, or a value that is not a number.
    """

    tokens: Sequence[str]
    values: Sequence[float | None]
    what: str
    most: float

    def __post_init__(self) -> None:
        if len(self.tokens) != len(self.values) or not self.tokens:
            raise DrawingError(f"expected a value for each token, got {len(self.values)} for {len(self.tokens)}")
        if not all(value is None or math.isfinite(value) for value in (*self.values, self.most)):
            raise DrawingError(f"cannot show a {self.what} that is not a number")

    @property
    def html(self) -> str:
        """A `<figure>`: every token with its value, so that nothing depends on seeing colours."""
        shown = "".join(
            f'<span style="{_TOKEN};background:{self._shade(value)}" title="{safe(repr(token))}">'
            f'<span style="white-space:pre">{safe(visible_token(token))}</span><br>'
            f"<small>{_digits(value)}</small></span>"
            for token, value in zip(self.tokens, self.values, strict=True)
        )
        return (
            f'<figure style="margin:.5rem 0;padding:.6rem;background:#fff;color:#1c1e21;border-radius:8px;'
            f'line-height:1.15"><div>{shown}</div><figcaption style="padding-top:.4rem">{safe(self.what)}: '
            f"white is 0, darkest {_digits(self.most)}.</figcaption></figure>"
        )

    def _repr_html_(self) -> str:
        return self.html

    def __str__(self) -> str:
        return " ".join(
            f"{visible_token(token)}[{_digits(value)}]" for token, value in zip(self.tokens, self.values, strict=True)
        )

    def _shade(self, value: float | None) -> str:
        share = min(1.0, max(0.0, (value or 0.0) / self.most)) if self.most > 0 else 0.0
        return "#" + "".join(f"{round(a + (b - a) * share):02x}" for a, b in zip(_WHITE, _DARK, strict=True))


_TOKEN = (
    "display:inline-block;margin:1px;padding:2px 3px;border:1px solid #c9ced6;border-radius:4px;text-align:center;"
    "max-width:100%;overflow:hidden"
)


def token_losses(
    model: TransformerBridge,
    text: str | Int[Tensor, "position"] | Int[Tensor, "1 position"],
    hook_set: Routing | None = None,
) -> Tokens:
    """How surprising each token is to a causal model: its loss in nats, given what stands before it.

    Args:
        model: The bridge.
        text: What it reads, or its token ids.
        hook_set: A hook set, a route or a text of either to run it under; by default nothing.

    Raises:
        DrawingError: Fewer than two tokens, or a model that reads in both directions: nothing is foreseen then.
        LoadError: The model has no language-modelling head.
    """
    tokens, log_probabilities = _log_probabilities(model, text, hook_set)
    losses = cast("list[float]", (-log_probabilities).tolist())
    return Tokens(token_texts(model, tokens), [None, *losses], "loss of each token (nats)", max(losses))


def token_probabilities(
    model: TransformerBridge,
    text: str | Int[Tensor, "position"] | Int[Tensor, "1 position"],
    hook_set: Routing | None = None,
) -> Tokens:
    """How likely each token is to a causal model, given what stands before it: from 0 to 1.

    Args:
        model: The bridge.
        text: What it reads, or its token ids.
        hook_set: A hook set, a route or a text of either to run it under; by default nothing.

    Raises:
        DrawingError: Fewer than two tokens, or a model that reads in both directions: nothing is foreseen then.
        LoadError: The model has no language-modelling head.
    """
    tokens, log_probabilities = _log_probabilities(model, text, hook_set)
    likely = cast("list[float]", log_probabilities.exp().tolist())
    return Tokens(token_texts(model, tokens), [None, *likely], "probability of each token", 1.0)


def _log_probabilities(
    model: TransformerBridge,
    text: str | Int[Tensor, "position"] | Int[Tensor, "1 position"],
    hook_set: Routing | None,
) -> tuple[Int[Tensor, "position"], Float[Tensor, "predicted"]]:
    require_language_model(model, "a token's probability")
    if model.cfg.attention_dir != "causal":
        raise DrawingError("this model sees what comes after a token, too, and foresees none: expected a causal model")
    tokens = one_row(model, text)
    if tokens.shape[1] < 2:
        raise DrawingError("got a single token, before which nothing stands: expected two or more")
    with torch.no_grad(), attach(model, hook_set or ""):
        logits = cast(Tensor, model(tokens))[0, :-1]
    log_probabilities = logits.double().log_softmax(-1).gather(-1, tokens[0, 1:, None])[:, 0]
    return tokens[0], log_probabilities


def _digits(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"
