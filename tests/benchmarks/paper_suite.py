"""The routes of the paper's suite."""

from __future__ import annotations

from mechpaint.analyses.painters import suite
from mechpaint.routes.route import Route

EXTRAS = ("pairs", "repeat_sequence")  # not in the count of 1,748 layer calls


def paper_suite(n_layers: int) -> list[Route]:
    """The paper's variants, ten seeds, single skips and switches, and the plain model."""
    variants = [v for v in suite(n_layers) if v.method not in EXTRAS]
    return [Route.identity(n_layers), *(v.hook_set(n_layers).route(n_layers) for v in variants)]
