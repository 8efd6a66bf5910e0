"""Hugging Face models whose layers are another model's in a different order, to be written.

A model is built anew by its own class, and every weight is looked up under the name that the class gives it. No model
code is copied.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from jaxtyping import Float, Int
from safetensors import SafetensorError
from torch import Tensor, nn
from transformer_lens.model_bridge import TransformerBridge
from transformer_lens.model_bridge.generalized_components.base import GeneralizedComponent
from transformers import PreTrainedModel

from mechpaint.engine.compatibility import layer_path
from mechpaint.errors import CannotExport
from mechpaint.models.quiet import without_bars
from mechpaint.models.rearranged import without_weights


@dataclass(frozen=True)
class Checkpoint:
    """A Hugging Face model with the layers of another one, in another order. Make it with `Checkpoint.of`.

    Attributes:
        module: The model. Weights of layers that occur once are the original's own tensors.
        rearranged: The settings of the configuration that go layer by layer and have changed.
    """

    module: PreTrainedModel
    rearranged: tuple[str, ...]

    @classmethod
    def of(cls, model: TransformerBridge, order: Sequence[int]) -> Checkpoint:
        """The checkpoint of a model whose layers are `order`."""
        original = _hugging_face(model)
        path = layer_path(model)
        after, rearranged = without_weights(original, path, order, "a checkpoint", CannotExport)
        after.load_state_dict(_weights(original, after, path, order), assign=True)
        after.tie_weights()
        return cls(after, rearranged)

    @property
    def window(self) -> int:
        """The number of tokens that its longest sliding window spans; 0 without any."""
        config: Any = cast(Any, self.module.config).get_text_config()
        spans = [getattr(config, name, None) for name in _WINDOWS]
        return max([0, *(span for span in spans if isinstance(span, int))])

    @property
    def positions(self) -> int | None:
        """The number of positions, if its configuration says so."""
        return getattr(cast(Any, self.module.config).get_text_config(), "max_position_embeddings", None)

    def save(self, folder: Path) -> None:
        """Write it as `save_pretrained` does, with weights as safetensors."""
        try:
            with without_bars():
                self.module.save_pretrained(folder)
        except SafetensorError as error:
            code = re.search(r"os error ([0-9]+)", str(error))
            number = int(code[1]) if code else errno.EIO
            raise OSError(number, os.strerror(number)) from error
        except ValueError as error:
            raise CannotExport(f"Hugging Face does not write this model: {error}") from error

    def output(self, folder: Path, tokens: Int[Tensor, "1 position"]) -> Float[Tensor, "1 *rest"]:
        """Plain Hugging Face's output from the folder: `[1, position, vocab]`, `[1, labels]` or last hidden state."""
        options: dict[str, Any] = {"dtype": self.module.dtype, "attn_implementation": "eager"}
        with without_bars():
            loaded, report = cast(Any, type(self.module)).from_pretrained(folder, output_loading_info=True, **options)
        wrong = {kind: names for kind, names in report.items() if names}
        if wrong:
            raise CannotExport(f"{type(loaded).__name__} does not take back its own weights: {wrong}")
        with torch.no_grad():
            output = loaded.to(tokens.device).eval()(tokens)
        return output.logits if hasattr(output, "logits") else output.last_hidden_state


_WINDOWS = ("sliding_window", "window_size", "attention_chunk_size", "local_attention")
"""Settings that say how far a layer with local attention looks back."""


def _hugging_face(model: TransformerBridge) -> PreTrainedModel:
    """The Hugging Face model in a bridge, if there is one that can be written."""
    original: Any = model.original_model
    name = type(original).__name__
    if not isinstance(original, PreTrainedModel):
        raise CannotExport(f"{name} is no Hugging Face model, so there is no checkpoint that plain transformers loads")
    if not type(original).__module__.startswith("transformers.models."):
        raise CannotExport(f"the code of {name} is not part of transformers, and model code is never copied")
    if getattr(original.config, "quantization_config", None) is not None:
        raise CannotExport(f"this {name} is quantised: load it with its weights in float32, bfloat16 or float16")
    if model.compatibility_mode:
        raise CannotExport(
            "this model is in TransformerLens's compatibility mode, which changes its weights; export it as "
            "mechpaint.load gives it"
        )
    if model.training:
        raise CannotExport("this model is in training mode, where dropout changes every result: model.eval() first")
    return original


def _weights(original: nn.Module, after: nn.Module, path: str, order: Sequence[int]) -> Mapping[str, Tensor]:
    """The original's tensors under the names of the new model; a layer's second and later copies are of their own."""
    weights: dict[str, Tensor] = {}
    seen: set[int] = set()
    for name in after.state_dict():
        place = re.match(rf"{re.escape(path)}\.([0-9]+)\.", name)
        source = f"{path}.{order[int(place[1])]}.{name[place.end() :]}" if place else name
        tensor = _find(original, source)
        weights[name] = tensor.detach().clone() if place and id(tensor) in seen else tensor.detach()
        seen.add(id(tensor))
    return weights


def _find(module: Any, name: str) -> Tensor:
    """A tensor by its Hugging Face name, where TransformerLens has put modules of its own around Hugging Face's."""
    tensor = module
    for part in name.split("."):
        while isinstance(tensor, GeneralizedComponent):
            tensor = cast(Any, tensor).original_component
        tensor = getattr(tensor, part, None)
    if not isinstance(tensor, Tensor):
        raise CannotExport(f"this {type(module).__name__} has no weight {name!r}, which its class has")
    return tensor
