"""The time that routes take, each run alone, on this machine."""

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
"""The length of the text."""
LATENCY_PASSES = 5
"""The number of timed passes."""


def latencies(model: TransformerBridge, routes: Sequence[Route]) -> dict[Route, list[float]]:
    """Milliseconds of the layers on one text of 64 tokens, by route and pass; routes take turns, to share noise."""
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
