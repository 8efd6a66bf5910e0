"""What a configuration says layer by layer, put into another order, and the model that its class makes of that.

A model is built anew by its own class, from its configuration with another number of layers; settings that are given
layer by layer are put into the new order. What a class makes of a layer's place besides (GPT-2 can scale attention by
it, DeepSeek's first layers are dense) shows when its layers are compared with the original's, and is refused.
"""

from __future__ import annotations

import copy
from collections.abc import Collection, Sequence
from typing import Any, cast

import torch
from torch import nn
from transformers import PreTrainedModel

from mechpaint.errors import InputError, first_line
from mechpaint.routes.route import Route

_BY_LAYER = (
    "layer_types",
    "mlp_layer_types",
    "num_attention_heads_per_layer",
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


def without_weights(
    original: PreTrainedModel, path: str, order: Sequence[int], kind: str, error: type[InputError]
) -> tuple[PreTrainedModel, tuple[str, ...]]:
    """A model on the meta device with the layers of another in a new order, and the settings that have changed.

    Args:
        original: The model whose class and configuration it is built from.
        path: Where it keeps its layers.
        order: The layers.
        kind: What is being made, for the error of a layer that cannot stand in its new place.
        error: That error.
    """
    config: Any = copy.deepcopy(original.config)
    rearranged = _rearrange(config.get_text_config(), order)
    before = _skeleton(type(original), original.config)
    try:
        after = _skeleton(type(original), config)
    except Exception as problem:  # of a setting by layer that is not known here
        raise error(
            f"{type(original).__name__} cannot be built with other layers ({type(problem).__name__}: "
            f"{first_line(problem)}): mechpaint.attach runs such a route"
        ) from problem
    different = _difference(before, after, path, order)
    if different is not None:
        layer, place, trait, old, new = different
        raise error(
            f"{type(original).__name__} makes its layers by their place: layer {layer} has {trait} {old}, and as layer "
            f"{place} of {kind} it would have {new}. Its configuration cannot say that layer by layer; "
            "mechpaint.attach runs such a route"
        )
    if getattr(original, "generation_config", None) is not None:
        after.generation_config = copy.deepcopy(original.generation_config)
    return after.eval(), rearranged


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


def _difference(
    before: nn.Module, after: nn.Module, path: str, order: Sequence[int]
) -> tuple[int, int, str, str | None, str | None] | None:
    """The first layer that its class makes another one in its new place: layer, place, what differs, both values."""
    for place, layer in enumerate(order):
        old, new = (_traits(m.get_submodule(f"{path}.{i}")) for m, i in ((before, layer), (after, place)))
        for trait in {**old, **new}:
            if old.get(trait) != new.get(trait):
                return layer, place, trait, old.get(trait), new.get(trait)
    return None


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


def single_layers(route: Route, refused: type[Exception], why: str) -> tuple[int, ...]:
    """A route's layers one after another; a group is refused, with why it cannot be in such a list."""
    group = next((step for step in route.steps if len(step.layers) > 1), None)
    if group is not None:
        done = "averaged" if group.merge == "mean" else "added"
        raise refused(f"the outputs of the group {group} on the route {route} are {done}. {why}")
    return tuple(step.layers[0] for step in route.steps)
