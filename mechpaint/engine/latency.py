"""How long routes take, each by itself, on the machine that this runs on."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

from mechpaint.engine.route_runner import RouteRunner
from mechpaint.routes.route import Route

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge

LATENCY_TOKENS = 64
"""How long the text is."""
LATENCY_PASSES = 5
"""How often it is timed."""


def latencies(model: TransformerBridge, routes: Sequence[Route]) -> dict[Route, list[float]]:
    """How long the layers of a route take for one text of 64 tokens, without embeddings and what comes after.

    Each route runs once untimed. Then all are timed in turn, five times, so that what slows the machine down for a
    while slows down all of them."""
    runner = RouteRunner(model)
    length = min(LATENCY_TOKENS, int(model.cfg.n_ctx))
    drawn = torch.randint(0, int(model.cfg.d_vocab), (1, length), generator=torch.Generator().manual_seed(0))
    milliseconds_of: dict[Route, list[float]] = {route: [] for route in routes}
    with torch.no_grad():
        layer_inputs = runner.record(drawn.to(model.cfg.device))

        def milliseconds(route: Route) -> float:
            began = time.perf_counter()
            runner.run(route, layer_inputs)[0, 0, 0].item()  # waits for an accelerator to be done
            return 1000 * (time.perf_counter() - began)

        for route in routes:
            milliseconds(route)
        for _ in range(LATENCY_PASSES):
            for route, passes in milliseconds_of.items():
                passes.append(milliseconds(route))
    return milliseconds_of
