"""TransformerLens, by hooks at the beginnings and ends of blocks: `run_with_hooks`."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor
from transformer_lens.model_bridge import TransformerBridge

import mechpaint as mp
from mechpaint.routes.route import Route
from tests.benchmarks.peers.rewiring import Function, cannot, rewired
from tests.benchmarks.peers.weights import gemma


class HookPoints:
    """A bridge and its hook points.

    Args:
        model: The bridge.
    """

    name = "TransformerLens hooks"
    package = "transformer-lens"
    settings = "`run_with_hooks` on a bridge, its own attention, `logits_to_keep=1`, `use_cache=False`"
    by_hand = (
        "for each skipped layer a hook that keeps what it was handed and one that hands it on; for a group, hooks that "
        "feed its members, collect their outputs and hand on the mean"
    )

    def __init__(self, model: TransformerBridge) -> None:
        self.model = model

    @classmethod
    def load(cls, folder: Path) -> HookPoints:
        """See `Peer`."""
        return cls(mp.load(gemma(folder)))

    def cannot(self, route: Route) -> str | None:
        """See `rewiring`."""
        return cannot(route)

    def last_logits(self, route: Route, tokens: Tensor) -> Tensor:
        """See `Peer`."""
        made = rewired(route)
        hooks = [(f"blocks.{i}.hook_in", _hook(function)) for i, function in made.beginnings.items()]
        hooks += [(f"blocks.{i}.hook_out", _hook(function)) for i, function in made.ends.items()]
        return self.model.run_with_hooks(tokens, fwd_hooks=hooks, logits_to_keep=1, use_cache=False)[:, -1]


def _hook(function: Function):
    return lambda stream, hook: function(stream)
