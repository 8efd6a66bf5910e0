"""Losses and probabilities of tokens, as coloured text without scripts."""

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
    """Tokens with a value and a shade each; displays itself in notebooks.

    Args:
        tokens: The tokens as text.
        values: One value per token; None if it has none, such as the first token's loss.
        what: Name of the values, with their unit.
        most: The value with the darkest shade; 0 is white.

    Raises:
        DrawingError: Numbers of values and tokens that differ or are 0, or a value that is NaN.
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
        """A `<figure>` of tokens with their values, readable without colours."""
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
    """Compute the loss of each token in nats, given the tokens before it, under a causal model.

    Args:
        model: The bridge.
        text: A text, or its token ids.
        hook_set: A hook set or route, or the text of either, to run the model under; None for neither.

    Returns:
        The tokens with their values; the first has none.

    Raises:
        DrawingError: Fewer than two tokens, or a bidirectional model.
        LoadError: A model without a language-modelling head.
    """
    tokens, log_probabilities = _log_probabilities(model, text, hook_set)
    losses = cast("list[float]", (-log_probabilities).tolist())
    return Tokens(token_texts(model, tokens), [None, *losses], "loss of each token (nats)", max(losses))


def token_probabilities(
    model: TransformerBridge,
    text: str | Int[Tensor, "position"] | Int[Tensor, "1 position"],
    hook_set: Routing | None = None,
) -> Tokens:
    """Compute the probability of each token, given the tokens before it, under a causal model.

    Args:
        model: The bridge.
        text: A text, or its token ids.
        hook_set: A hook set or route, or the text of either, to run the model under; None for neither.

    Returns:
        The tokens with their values; the first has none.

    Raises:
        DrawingError: Fewer than two tokens, or a bidirectional model.
        LoadError: A model without a language-modelling head.
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
        raise DrawingError(
            "this model also sees the tokens after each one, so it does not predict any: expected a causal model"
        )
    tokens = one_row(model, text)
    if tokens.shape[1] < 2:
        raise DrawingError("got a single token, with nothing before it: expected two or more")
    with torch.no_grad(), attach(model, hook_set or ""):
        logits = cast(Tensor, model(tokens))[0, :-1]
    log_probabilities = logits.double().log_softmax(-1).gather(-1, tokens[0, 1:, None])[:, 0]
    return tokens[0], log_probabilities


def _digits(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"
