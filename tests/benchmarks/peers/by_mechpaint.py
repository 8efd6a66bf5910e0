"""This library, to be timed like its peers; many routes at once are a sweep."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor
from transformer_lens.model_bridge import TransformerBridge

import mechpaint as mp
from mechpaint.routes.route import Route
from tests.benchmarks.peers.weights import gemma


class Mechpaint:
    """`mp.sweep`, also for a single route.

    Args:
        model: The bridge.
    """

    name = "mechpaint"
    package = "mechpaint"
    settings = '`mp.sweep(model, tokens, routes, positions="last")`'
    by_hand = "nothing"

    def __init__(self, model: TransformerBridge) -> None:
        self.model = model

    @classmethod
    def load(cls, folder: Path) -> Mechpaint:
        """See `Peer`."""
        return cls(mp.load(gemma(folder)))

    def cannot(self, route: Route) -> str | None:
        """It can."""
        return None

    def last_logits(self, route: Route, tokens: Tensor) -> Tensor:
        """See `Peer`."""
        ((_, logits),) = self.sweep([route], tokens)
        return logits

    def sweep(self, routes: list[Route], tokens: Tensor) -> mp.Sweep:
        """All routes, with what they share done once."""
        return mp.sweep(self.model, tokens, routes, positions="last")
