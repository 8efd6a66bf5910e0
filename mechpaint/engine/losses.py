"""`losses`: what each token costs under many routes, without keeping any route's logits."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional
from transformer_lens.model_bridge import TransformerBridge

from mechpaint.engine.arguments import Routing, Text
from mechpaint.engine.sweep import Sweep
from mechpaint.engine.sweep_inputs import checked_tokens
from mechpaint.errors import InputError
from mechpaint.routes.prefix_tree import PrefixTree
from mechpaint.routes.route import Route


def losses(
    model: TransformerBridge,
    tokens: Text,
    routes: Routing | Iterable[Routing] | PrefixTree,
    attention_mask: Int[Tensor, "batch position"] | None = None,
) -> Iterator[tuple[Route, Float[Tensor, "batch position"]]]:
    """The loss of every token but the first under many routes, with all the work shared that can be.

    Logits are made in blocks of bounded memory, and of each only its token's is kept.

    Args:
        model: A TransformerBridge of a causal language model.
        tokens: `[batch, position]` token ids, two positions or more; or a text, or several.
        routes: As for `mechpaint.sweep`.
        attention_mask: `[batch, position]`, 1 at real tokens.

    Yields:
        `(route, losses)`, in the order in which they are done: nats, `losses[:, i]` of token i + 1 given those before
        it; NaN where that token, or the one before it, is padding. Float32, on the model's device.

    Raises:
        InputError: Rows of a single token, or what `mechpaint.sweep` refuses.
        CannotReroute: This model's layers cannot be rerouted, or it has no logits at single positions.

    >>> for route, nats in mp.losses(model, "To be or not to be", ["0-29", "0-12 17-29"]):  # doctest: +SKIP
    ...     print(route, nats.mean())
    """
    tokens, mask = checked_tokens(model, tokens, attention_mask)
    if tokens.shape[1] < 2:
        raise InputError("a single token has no loss: expected rows of two tokens or more")
    if model.cfg.attention_dir == "bidirectional":
        raise InputError(
            f"{type(model.original_model).__name__} reads a token before it predicts it: losses need a causal model"
        )
    real = torch.ones_like(tokens, dtype=torch.bool) if mask is None else mask.bool()
    scored = torch.zeros_like(real)
    scored[:, :-1] = real[:, :-1] & real[:, 1:]
    if not scored.any():
        raise InputError("no row has two real tokens in a row: there is nothing to predict")
    targets = torch.roll(tokens, -1, dims=1)[scored]
    sweep = Sweep(model, tokens, routes, attention_mask=mask, positions=scored)
    parts: list[Tensor] = []
    for route, positions, logits in sweep.blocks():
        wanted = targets[positions].to(logits.device)
        parts.append(functional.cross_entropy(logits.float(), wanted, reduction="none"))
        if positions.stop == len(targets):
            nats = torch.full(tokens.shape, torch.nan, device=tokens.device)
            nats[scored] = torch.cat([part.to(tokens.device) for part in parts])
            parts = []
            yield route, nats[:, :-1]
