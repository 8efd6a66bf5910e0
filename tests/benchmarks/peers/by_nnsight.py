"""nnsight: every layer is skipped, and the last one's place is taken by what the layers give when called in order."""

from __future__ import annotations

from pathlib import Path

import nnsight
import torch
from torch import Tensor
from transformers import PreTrainedModel

from mechpaint.routes.route import Route
from tests.benchmarks.peers.weights import gemma


class Nnsight:
    """A model inside nnsight's wrapper.

    Args:
        model: The model.
    """

    name = "nnsight"
    package = "nnsight"
    settings = "`NNsight(model)`, sdpa (the model's default), `logits_to_keep=1`, `use_cache=False`"
    by_hand = (
        "the loop over the steps within a trace: all layers skipped, what each is handed kept, layers called with it, "
        "outputs averaged"
    )

    def __init__(self, model: PreTrainedModel) -> None:
        self.model = nnsight.NNsight(model)

    @classmethod
    def load(cls, folder: Path) -> Nnsight:
        """See `Peer`."""
        return cls(gemma(folder))

    def cannot(self, route: Route) -> str | None:
        """It can."""
        return None

    def last_logits(self, route: Route, tokens: Tensor) -> Tensor:
        """See `Peer`."""
        with self.model.trace(tokens, logits_to_keep=1, use_cache=False):
            layers = self.model.model.layers
            embeddings = layers[0].input
            handed = []
            for layer in layers[:-1]:
                handed.append(layer.inputs[1])
                layer.skip(embeddings)
            handed.append(layers[-1].inputs[1])
            stream = embeddings
            for step in route.steps:
                outputs = [layers[i](stream, **handed[i]) for i in step.layers]
                stream = outputs[0] if len(outputs) == 1 else torch.stack(outputs).mean(0)
            layers[-1].skip(stream)
            logits = self.model.output.logits.save()
        return logits[:, -1]
