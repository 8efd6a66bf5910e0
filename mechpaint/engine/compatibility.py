"""The models that can be rerouted: where they keep their layers, and what layers return."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from transformer_lens.model_bridge import TransformerBridge

from mechpaint.errors import CannotReroute, InputError, TextTooLong


def check_reroutable(model: object) -> None:
    """Refuse a model whose layers cannot be run in another order, as far as its class and configuration say so."""
    if not isinstance(model, TransformerBridge):
        raise CannotReroute(
            f"expected a TransformerBridge, got {type(model).__name__}: mechpaint.load(model) makes one"
        )
    name = type(model.original_model).__name__
    config = getattr(model.original_model, "config", None)
    if getattr(config, "is_encoder_decoder", False):
        raise CannotReroute(f"{name} is an encoder-decoder: it has two stacks of layers, and routes need one")
    takes = getattr(model.original_model, "main_input_name", "input_ids")
    if takes != "input_ids":
        raise CannotReroute(f"{name} takes {takes}; routes are run on token ids")
    if "blocks" not in (model.adapter.component_mapping or {}):
        raise CannotReroute(f"{name} has no single stack of layers that TransformerLens knows as `blocks`")
    text = getattr(config, "text_config", None) or config
    for setting, what in _STATE_BETWEEN_LAYERS.items():
        if getattr(text, setting, None):
            raise CannotReroute(f"{name} passes {what} from layer to layer ({setting} in its configuration)")


_STATE_BETWEEN_LAYERS = {
    "num_kv_shared_layers": "keys and values",
    "altup_num_inputs": "several residual streams",
}


def layer_path(model: TransformerBridge) -> str:
    """Where Hugging Face keeps the list of layers which its forward iterates, such as `"model.layers"`."""
    return str((model.adapter.component_mapping or {})["blocks"].name)


def layer_list(model: TransformerBridge) -> tuple[nn.Module, str]:
    """The module that holds the list of layers, and its name there."""
    *parents, name = layer_path(model).split(".")
    parent = model.original_model.get_submodule(".".join(parents))
    return parent, name


class _Seen(Exception):
    """Ends the probing forward pass."""


_SEEN: WeakKeyDictionary[nn.Module, int | None] = WeakKeyDictionary()
"""The answers so far: they cannot change while the layers live, and looking takes as long as some layer calls."""


def outputs(model: TransformerBridge, layer: nn.Module) -> int | None:
    """The length of the tuple that layers return, None for no tuple: seen on one token, with all hooks silenced."""
    if layer not in _SEEN:
        _SEEN[layer] = _look(model, layer)
    return _SEEN[layer]


def _look(model: TransformerBridge, layer: nn.Module) -> int | None:
    name = type(model.original_model).__name__
    seen: list[Any] = []

    def look(module: nn.Module, args: Any, output: Any) -> None:
        seen.append(output)
        raise _Seen

    with silenced(model), torch.no_grad():
        handle = layer.register_forward_hook(look)
        try:
            model(torch.zeros((1, 1), dtype=torch.long, device=model.cfg.device), return_type=None)
        except _Seen:
            pass
        finally:
            handle.remove()
    if not seen:
        raise CannotReroute(f"{name} does not run its layers in a forward pass")
    several = isinstance(seen[0], tuple | list)
    residual: Tensor = seen[0][0] if several else seen[0]
    if residual.ndim != 3:
        raise CannotReroute(
            f"the layers of {name} hand on several residual streams, of shape {tuple(residual.shape)} for one token; "
            "routes need one, of shape [batch, position, d_model]"
        )
    return len(seen[0]) if several else None


@contextmanager
def silenced(model: TransformerBridge) -> Generator[None]:
    """Silence every hook of a bridge within this context."""
    # torch has no public way to switch hooks off for a while
    points = {id(point): vars(point) for point in model.hook_dict.values()}.values()
    hooks = [(point, point["_forward_hooks"]) for point in points]
    for point, _ in hooks:
        point["_forward_hooks"] = OrderedDict[int, Any]()
    try:
        yield
    finally:
        for point, forward in hooks:
            point["_forward_hooks"] = forward


def check_mask_values(mask: Tensor) -> None:
    """Refuse a mask that says something else than which tokens are real: positions are counted with it."""
    if not ((mask == 0) | (mask == 1)).all():
        raise InputError("attention_mask must be 1 at real tokens and 0 at padding, got other values")


def check_mask(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """The same before a forward pass, which may also have masks of another kind, or none."""
    mask = kwargs.get("attention_mask")
    if isinstance(mask, Tensor) and mask.ndim == 2:
        check_mask_values(mask)


_TABLES_WITHIN = ("GPTJForCausalLM", "CodeGenForCausalLM", "MptForCausalLM")
"""Models that keep a table of positions elsewhere than in an embedding."""


class PositionCheck:
    """A forward pre-hook of a Hugging Face model that refuses texts longer than its table of positions.

    Models without a table, those with rotary positions for one, are asked for nothing: they go beyond the length that
    they were trained on.
    """

    def __init__(self, model: TransformerBridge) -> None:
        self.name = type(model.original_model).__name__
        table = getattr(getattr(model, "pos_embed", None), "original_component", None)
        self._has_table = isinstance(table, nn.Embedding) or self.name in _TABLES_WITHIN
        config = getattr(model.original_model, "config", None)
        self._columns = int(model.cfg.n_ctx)
        self._rows = max(self._columns, getattr(config, "max_position_embeddings", 0) or 0)

    def __call__(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Raise `TextTooLong` if this forward pass needs a position that is not there."""
        given = kwargs.get("input_ids", kwargs.get("inputs_embeds", args[0] if args else None))
        if not self._has_table or not isinstance(given, Tensor) or given.ndim < 2:
            return
        cache = kwargs.get("past_key_values")
        past = 0 if cache is None else int(cache.get_seq_length())
        needed, there = given.shape[1] + past, self._columns
        if needed <= there:
            return
        positions, mask = kwargs.get("position_ids"), kwargs.get("attention_mask")
        if isinstance(positions, Tensor):
            needed, there = int(positions.max()) + 1, self._rows
        elif isinstance(mask, Tensor) and mask.ndim == 2:
            needed = int(mask.sum(-1).max())
        if needed > there:
            held = f" ({past} in the key-value cache, {given.shape[1]} new)" if past else ""
            raise TextTooLong(
                f"{self.name} has {there} positions, and this text needs {needed}{held}: "
                "give a shorter one, or generate fewer tokens"
            )
