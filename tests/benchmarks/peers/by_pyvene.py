"""pyvene, by interventions on the inputs and outputs of layers."""

from __future__ import annotations

from pathlib import Path

import pyvene
from torch import Tensor
from transformers import PreTrainedModel

from mechpaint.routes.route import Route
from tests.benchmarks.peers.rewiring import Function, cannot, rewired
from tests.benchmarks.peers.weights import gemma


class Pyvene:
    """A model, around which each route gets an `IntervenableModel`.

    Args:
        model: The model.
    """

    name = "pyvene"
    package = "pyvene"
    settings = (
        "`IntervenableModel` on `model.layers[i].input` and `.output`, sdpa (the model's default), "
        "`logits_to_keep=1`, `use_cache=False`"
    )
    by_hand = "the same functions, as interventions"

    def __init__(self, model: PreTrainedModel) -> None:
        self.model = model

    @classmethod
    def load(cls, folder: Path) -> Pyvene:
        """See `Peer`."""
        return cls(gemma(folder))

    def cannot(self, route: Route) -> str | None:
        """See `rewiring`."""
        return cannot(route)

    def last_logits(self, route: Route, tokens: Tensor) -> Tensor:
        """See `Peer`."""
        made = rewired(route)
        where = [(f"model.layers[{i}].input", function) for i, function in made.beginnings.items()]
        where += [(f"model.layers[{i}].output", function) for i, function in made.ends.items()]
        interventions = [{"component": place, "intervention": _intervention(function)} for place, function in where]
        intervenable = pyvene.IntervenableModel(interventions, model=self.model)
        untouched, changed = intervenable({"input_ids": tokens, "logits_to_keep": 1, "use_cache": False})
        return (changed if interventions else untouched).logits[:, -1]


def _intervention(function: Function):
    return lambda base, source: function(base)
