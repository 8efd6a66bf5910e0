"""Hugging Face models whose layers are another model's in a different order. Knows what a configuration says by layer.

A model is built anew by its own class, from its configuration with another number of layers; settings that are given
layer by layer are put into the new order, and every weight is looked up under the name that the class gives it. No
model code is copied. What a class makes of a layer's place besides (GPT-2 can scale attention by it, DeepSeek's first
layers are dense) shows when its layers are compared with the original's, and is refused.
"""

from __future__ import annotations

import copy
import errno
import os
import re
from collections.abc import Collection, Mapping, Sequence
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
        config: Any = copy.deepcopy(original.config)
        rearranged = _rearrange(config.get_text_config(), order)
        path = layer_path(model)
        before, after = (_skeleton(type(original), each) for each in (original.config, config))
        _check_same_layers(before, after, path, order)
        after.load_state_dict(_weights(original, after, path, order), assign=True)
        after.tie_weights()
        if getattr(original, "generation_config", None) is not None:
            after.generation_config = copy.deepcopy(original.generation_config)
        return cls(after.eval(), rearranged)

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

_BY_LAYER = (
    "layer_types",
    "mlp_layer_types",
    "layers_block_type",
    "attention_layers",
    "no_rope_layers",
    "indexer_types",
    "sliding_windows",
)
"""Settings with one value for each layer."""
_LAYER_NUMBERS = ("mlp_only_layers", "moe_layers", "full_attn_idxs", "attn_layer_indices")
"""Settings that list the numbers of some layers."""
_PLACES = ("layer_idx", "layer_id", "layer_number", "layer_index")
"""The names by which modules call their own layer's number."""


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


def _rearrange(config: Any, order: Sequence[int]) -> tuple[str, ...]:
    """Put all that a configuration says layer by layer into a new order; gives the names of what has changed."""
    if list(order) == list(range(config.num_hidden_layers)):
        return ()
    old = cast(dict[str, Any], vars(config))
    new: dict[str, Any] = {
        **{name: [old[name][i] for i in order] for name in _BY_LAYER if _one_each(old.get(name), config)},
        **{name: _places(old[name], order) for name in _LAYER_NUMBERS if old.get(name) is not None},
    }
    if "attention_layers" in new:  # GPT-Neo computes them from these
        new["attention_types"] = [[[kind], 1] for kind in new["attention_layers"]]
    if "mlp_only_layers" in new and old.get("decoder_sparse_step"):  # every so many layers one has experts
        dense = {*old["mlp_only_layers"], *(i for i in order if (i + 1) % old["decoder_sparse_step"])}
        new |= {"mlp_only_layers": _places(dense, order), "decoder_sparse_step": 1}
    changed = tuple(name for name, value in new.items() if value != old[name])
    for name in changed:
        setattr(config, name, new[name])
    config.num_hidden_layers = len(order)
    return changed


def _one_each(values: Any, config: Any) -> bool:
    return isinstance(values, (list, tuple)) and len(cast(Sequence[Any], values)) == config.num_hidden_layers


def _places(layers: Collection[int], order: Sequence[int]) -> list[int]:
    """Where some layers are in an order."""
    return [place for place, layer in enumerate(order) if layer in layers]


def _skeleton(kind: type[PreTrainedModel], config: Any) -> PreTrainedModel:
    """A model without memory for its weights."""
    with torch.device("meta"):
        return cast(Any, kind)(copy.deepcopy(config))


def _check_same_layers(before: nn.Module, after: nn.Module, path: str, order: Sequence[int]) -> None:
    """Refuse a layer that its class makes another one in its new place."""
    for place, layer in enumerate(order):
        old, new = (_traits(m.get_submodule(f"{path}.{i}")) for m, i in ((before, layer), (after, place)))
        for trait in {**old, **new}:
            if old.get(trait) != new.get(trait):
                raise CannotExport(
                    f"{type(before).__name__} makes its layers by their place: layer {layer} has {trait} "
                    f"{old.get(trait)}, and as layer {place} of a checkpoint it would have {new.get(trait)}. Its "
                    "configuration cannot say that layer by layer; mechpaint.attach runs such a route"
                )


def _traits(layer: nn.Module) -> dict[str, str]:
    """All that a layer is made of, by name: kinds of modules, shapes of weights, and plain settings."""
    modules: dict[str, nn.Module] = dict(cast(Any, layer).named_modules())
    traits = {name or "kind": type(module).__name__ for name, module in modules.items()}
    traits |= {name: str(tuple(tensor.shape)) for name, tensor in (*layer.named_parameters(), *layer.named_buffers())}
    for name, module in modules.items():
        settings = {key: value for key, value in vars(module).items() if key[0] != "_" and key not in _PLACES}
        plain = {key: value for key, value in settings.items() if isinstance(value, (int, float, str, type(None)))}
        traits |= {f"{name}.{key}".lstrip("."): repr(value) for key, value in plain.items()}
    return traits


def _weights(original: nn.Module, after: nn.Module, path: str, order: Sequence[int]) -> Mapping[str, Tensor]:
    """The original's tensors under the names of the new model; a layer's second and later copies are of their own."""
    weights: dict[str, Tensor] = {}
    seen: set[str] = set()
    for name in after.state_dict():
        place = re.match(rf"{re.escape(path)}\.([0-9]+)\.", name)
        source = f"{path}.{order[int(place[1])]}.{name[place.end() :]}" if place else name
        tensor = _find(original, source).detach()
        weights[name] = tensor.clone() if source in seen else tensor
        seen.add(source)
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
