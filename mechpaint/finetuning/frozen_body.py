"""Logits of a classifier along a route, from the whole model or from its head on cached features.

A frozen body gives the same features for an example every time, so they are computed once, for many routes together.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from typing import Any, Literal, TypeAlias, cast

import torch
from jaxtyping import Float, Int
from torch import Tensor
from transformer_lens.model_bridge import TransformerBridge

from mechpaint.engine.layer_inputs import LayerInputs
from mechpaint.engine.route_runner import RouteRunner
from mechpaint.engine.sweep import Sweep
from mechpaint.finetuning.encoding import Rows
from mechpaint.routes.prefix_tree import PrefixTree
from mechpaint.routes.route import Route

Logits: TypeAlias = Float[Tensor, "example label"]
Answer: TypeAlias = Callable[[Rows, Int[Tensor, " example"]], Logits]
"""From indices of rows to their logits."""

Place: TypeAlias = Literal["first", "last"]

ROWS_AT_ONCE = 32
"""Batch size without gradients."""


@contextmanager
def whole_model(model: TransformerBridge, route: Route) -> Generator[Answer]:
    """Answer with a classifier along a route."""

    def answer(rows: Rows, chosen: Int[Tensor, " example"]) -> Logits:
        inputs = rows.batch(chosen, model.cfg.device)
        return cast(Any, model.original_model)(**inputs).logits.float()

    with RouteRunner(model).run_along(route):
        yield answer


@contextmanager
def head_alone(
    model: TransformerBridge, features: Sequence[tuple[Rows, Float[Tensor, "_ d_model"]]]
) -> Generator[Answer]:
    """Answer with a classifier's head on cached features."""
    by_rows = {id(rows): tensor for rows, tensor in features}
    current: list[Tensor] = []

    def answer(rows: Rows, chosen: Int[Tensor, " example"]) -> Logits:
        current[:] = [by_rows[id(rows)][chosen.to(model.cfg.device)]]
        token = _some_token(rows.pad)
        tokens = torch.full((len(chosen), 1), token, device=model.cfg.device)
        return cast(Any, model.original_model)(input_ids=tokens).logits.float()

    # in a sequence of one token, the first is also the last
    with RouteRunner(model).intercept(lambda recording: current[0][:, None]):
        yield answer


def place_read(model: TransformerBridge, pad: int) -> Place | None:
    """Find the token that a classifier's head reads; None if it reads several."""
    tokens = torch.full((1, 4), _some_token(pad), device=model.cfg.device)
    streams: list[Tensor] = []

    def finish(recording: LayerInputs) -> Tensor:
        noise = torch.randn(recording.embeddings.shape, generator=torch.Generator().manual_seed(0))
        streams.append(noise.to(recording.embeddings).requires_grad_())
        return streams[0]

    with RouteRunner(model).intercept(finish), torch.enable_grad():
        logits: Tensor = cast(Any, model.original_model)(input_ids=tokens).logits
        (gradient,) = torch.autograd.grad(logits.square().sum(), streams)
    read: list[int] = cast(Any, gradient[0].abs().amax(dim=-1).nonzero().flatten()).tolist()
    return "first" if read == [0] else "last" if read == [3] else None


def features(
    model: TransformerBridge, rows: Rows, tree: PrefixTree, place: Place
) -> dict[Route, Float[Tensor, "example d_model"]]:
    """Compute the residual stream at the token that the head reads, after every route."""
    lengths = rows.lengths()
    residuals: dict[Route, list[Tensor]] = {route: [] for route in tree.routes}
    order = lengths.argsort()
    batches: tuple[Tensor, ...] = torch.split(order, ROWS_AT_ONCE)
    for chosen in batches:
        inputs: dict[str, Any] = rows.batch(chosen, model.cfg.device)
        tokens, mask = inputs.pop("input_ids"), inputs.pop("attention_mask")
        at = torch.zeros_like(chosen) if place == "first" else lengths[chosen] - 1
        for route, residual in Sweep(model, tokens, tree, mask, **inputs).residuals():
            residuals[route].append(residual[torch.arange(len(chosen)), at])
    back = order.argsort().to(model.cfg.device)
    return {route: torch.cat(parts)[back] for route, parts in residuals.items()}


def _some_token(pad: int) -> int:
    return 1 if pad != 1 else 2
