"""How routes are timed: which, in which order, on what."""

from __future__ import annotations

import pytest

from mechpaint.engine import latency
from mechpaint.engine.latency import LATENCY_PASSES, latencies
from mechpaint.engine.route_runner import RouteRunner
from mechpaint.routes.route import Route


def test_routes_are_timed_in_turn_after_a_pass_each_that_is_not(llama, monkeypatch):
    """The clock stands still but for one millisecond a layer call."""
    now, ran = 0.0, []
    run = RouteRunner.run

    def counted(self, route, layer_inputs):
        nonlocal now
        now += route.layer_calls / 1000
        ran.append((str(route), tuple(layer_inputs.embeddings.shape[:2])))
        return run(self, route, layer_inputs)

    monkeypatch.setattr(RouteRunner, "run", counted)
    monkeypatch.setattr(latency.time, "perf_counter", lambda: now)
    routes = [Route.parse(text, 6) for text in ("0-5", "0-2 (3-5)", "0 5")]
    milliseconds = latencies(llama, routes)
    assert milliseconds == {route: pytest.approx([route.layer_calls] * LATENCY_PASSES) for route in routes}
    length = min(64, llama.cfg.n_ctx)
    assert ran == [(str(route), (1, length)) for route in routes] * (1 + LATENCY_PASSES)
