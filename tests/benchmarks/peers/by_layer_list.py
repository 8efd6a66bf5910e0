"""Plain transformers, with the model's list of layers made anew for every route. Gemma 3 only."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import Gemma3ForCausalLM
from transformers.masking_utils import create_causal_mask, create_sliding_window_causal_mask

from mechpaint.routes.route import Route
from tests.benchmarks.peers.weights import gemma


class Parallel(nn.Module):
    """Layers that read the same residual stream; their outputs are averaged.

    Args:
        layers: The layers.
        handed: What each of them is handed: its own mask and rotary embedding, not those of its place in the list.
    """

    def __init__(self, layers: list[nn.Module], handed: list[dict[str, Any]]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)
        self.handed = handed

    def forward(self, stream: Tensor, **kwargs: Any) -> Tensor:
        """The mean of the layers' outputs."""
        total = None
        for layer, own in zip(self.layers, self.handed, strict=True):
            output = layer(stream, **{**kwargs, **own})
            total = output if total is None else total.add_(output)
        return total.div_(len(self.layers))


class LayerList:
    """A Gemma 3 whose list of layers is replaced.

    Args:
        model: The model, which is changed.
    """

    name = "layer list"
    package = "transformers"
    settings = "sdpa (its default), `logits_to_keep=1`, `use_cache=False`"
    by_hand = (
        "the list; its length and the kinds of its layers in the configuration, for the model picks masks and rotary "
        "embeddings by place; a module that averages, with the masks and embeddings of both kinds of layers"
    )

    def __init__(self, model: Gemma3ForCausalLM) -> None:
        self.model = model
        self.layers = list(model.model.layers)
        self.kinds = list(model.config.layer_types)

    @classmethod
    def load(cls, folder: Path) -> LayerList:
        """See `Peer`."""
        return cls(gemma(folder))

    def cannot(self, route: Route) -> str | None:
        """It can."""
        return None

    def last_logits(self, route: Route, tokens: Tensor) -> Tensor:
        """See `Peer`."""
        groups = [step.layers for step in route.steps]
        handed = self._handed(tokens) if max(map(len, groups)) > 1 else {}
        made = [
            self.layers[group[0]]
            if len(group) == 1
            else Parallel([self.layers[i] for i in group], [handed[self.kinds[i]] for i in group])
            for group in groups
        ]
        self.model.model.layers = nn.ModuleList(made)
        self.model.config.num_hidden_layers = len(made)
        self.model.config.layer_types = [self.kinds[group[0]] for group in groups]
        return self.model(tokens, logits_to_keep=1, use_cache=False).logits[:, -1]

    def _handed(self, tokens: Tensor) -> dict[str, dict[str, Any]]:
        """What the model hands the layers of each kind, by its own functions."""
        body = self.model.model
        embeddings = body.embed_tokens(tokens)
        places = torch.arange(tokens.shape[1], device=tokens.device)[None]
        common = {
            "config": body.config, "inputs_embeds": embeddings, "attention_mask": None, "past_key_values": None,
            "position_ids": places,
        }  # fmt: skip
        masks = {
            "full_attention": create_causal_mask(**common),
            "sliding_attention": create_sliding_window_causal_mask(**common),
        }
        return {
            kind: {"attention_mask": mask, "position_embeddings": body.rotary_emb(embeddings, places, kind)}
            for kind, mask in masks.items()
            if kind in self.kinds
        }
