"""How long routes take, each by itself, on the machine that this runs on."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

from mechpaint.route import Route
from mechpaint.sweeping import Sweep

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge

LATENCY_TOKENS = 64
"""How long the text is."""
LATENCY_PASSES = 5
"""How often it is timed."""


def latencies(model: TransformerBridge, routes: Sequence[Route]) -> dict[Route, list[float]]:
    """How long one text of 64 tokens takes along each of some routes: embeddings and layers, without what comes after.

    Each route runs once untimed. Then all are timed in turn, five times, so that what slows the machine down for a
    while slows down all of them.

    Args:
        model: A TransformerBridge.
        routes: The routes. None shares its work with another.

    Returns:
        Milliseconds, of each route and pass.
    """
    vocabulary = int(model.cfg.d_vocab)
    length = min(LATENCY_TOKENS, int(model.cfg.n_ctx))
    drawn = torch.randint(0, vocabulary, (1, length), generator=torch.Generator().manual_seed(0))
    tokens = drawn.to(model.cfg.device)
    for route in routes:
        _milliseconds(model, tokens, route)
    found: dict[Route, list[float]] = {route: [] for route in routes}
    for _ in range(LATENCY_PASSES):
        for route, passes in found.items():
            passes.append(_milliseconds(model, tokens, route))
    return found


def _milliseconds(model: TransformerBridge, tokens: torch.Tensor, route: Route) -> float:
    began = time.perf_counter()
    for _, residual in Sweep(model, tokens, [route]).residuals():
        residual[0, 0, 0].item()  # waits for an accelerator to be done
    return 1000 * (time.perf_counter() - began)
