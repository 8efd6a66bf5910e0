"""A TransformerBridge on a module of Hugging Face's, compared with it when it is made."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

from mechpaint.errors import LoadError, first_line

if TYPE_CHECKING:
    from torch import nn
    from transformer_lens.model_bridge import TransformerBridge
    from transformers import PreTrainedTokenizerBase

_STORED = "mechpaint_stored"
_BRIDGE = "mechpaint_bridge"


def bridge_of(module: Any, tokenizer: Any, name: str, *, compare: bool = True) -> TransformerBridge:
    """A bridge on a Hugging Face model, in evaluation mode; compared with it unless it has no numbers."""
    from transformer_lens.model_bridge.sources._bridge_builder import build_bridge_from_module

    from mechpaint.engine.agreement import remember
    from mechpaint.models.comparison import check_same, observe
    from mechpaint.models.headless import fitted_architecture

    _check_wrapped(module)
    config = getattr(module, "config", None)
    if config is None:
        raise LoadError(
            f"cannot wrap a {type(module).__name__}: expected a Hugging Face model (with a `config`) or a bridge; "
            "for a module of your own register a TransformerLens adapter and use build_bridge_from_module"
        )
    if hasattr(module, "set_attn_implementation"):
        module.set_attn_implementation("eager")
    module.eval()
    observed = observe(module) if compare else None
    try:
        bridge = build_bridge_from_module(
            module,
            fitted_architecture(module) or type(module).__name__,
            hf_config=config,
            tokenizer=_usable(tokenizer),
            model_name=name,
        )
    except Exception as error:
        raise LoadError(
            f"TransformerLens cannot wrap a {type(module).__name__}: {first_line(error)}. Expected a language model "
            "that it has, or the body of one, bare or with a head for classification"
        ) from error
    bridge.eval()
    _tell_devices(bridge, module)
    _keep_positions(bridge)
    if observed is not None:
        check_same(bridge, module, observed)
    remember(bridge)
    vars(module)[_BRIDGE] = bridge
    return bridge


def _check_wrapped(module: Any) -> None:
    """Refuse what is wrapped around a Hugging Face model, with the way to it."""
    name = type(module).__name__
    if hasattr(module, "_orig_mod"):
        raise LoadError(f"cannot wrap a compiled module ({name}): load the one it was made of, module._orig_mod")
    if type(module).__module__.partition(".")[0] == "peft":
        raise LoadError(
            f"cannot wrap a {name}: merge its adapters into the weights and load that, "
            "mechpaint.load(model.merge_and_unload())"
        )


def _tell_devices(bridge: TransformerBridge, module: Any) -> None:
    """Write down in the bridge's configuration where tokens go, and over how many devices the model is spread."""
    from transformer_lens.utilities import multi_gpu

    places: Mapping[str, Any] | None = getattr(module, "hf_device_map", None)
    if not places:
        if str(bridge.cfg.device) == "meta":  # accelerate brings weights to where they are needed
            bridge.cfg.device = "cpu"
        return
    if multi_gpu.is_mixed_offload_gpu(places.values()):
        raise LoadError(
            f"the device map {dict(places)} keeps some weights on accelerators and others in main memory or on disk, "
            "which TransformerLens does not support: expected accelerators alone, or none"
        )
    wrong: list[tuple[str, object, object]] = cast(Any, multi_gpu).find_misplaced_modules(module)
    if wrong:
        name, expected, got = wrong[0]
        raise LoadError(
            f"the device map puts {name} on {expected}, and it is on {got}: it shares its weights with a module that "
            "is elsewhere. Put both on one device"
        )
    first = multi_gpu.find_embedding_device(module)
    # where weights are on disk they have no device; layers run on the CPU then
    bridge.cfg.device = "cpu" if first is None or first.type == "meta" else str(first)
    bridge.cfg.n_devices = multi_gpu.count_unique_devices(module)


def _keep_positions(bridge: TransformerBridge) -> None:
    """Leave the positions of an encoder's tokens to its module, which counts padding.

    TransformerLens counts the tokens that are not masked, as Hugging Face does for models that generate.
    """
    config = bridge.original_model.config
    if bridge.cfg.attention_dir == "bidirectional" and not getattr(config, "is_decoder", False):
        # it has no public switch for that; this is what it found out, by module
        vars(bridge)["_derived_position_ids_ok"] = (bridge.original_model, False)


def _usable(tokenizer: Any) -> Any:
    """A copy that TransformerLens does not reload from where it came from: there may be no such place."""
    if tokenizer is None:
        return None
    own = copy.deepcopy(tokenizer)
    own.init_kwargs = {"name_or_path": "", **own.init_kwargs, "add_bos_token": True}
    setattr(own, _STORED, tokenizer)
    return own


def bridge_around(module: nn.Module) -> TransformerBridge | None:
    """The bridge that was made of a module before: a second one would take the hook points of the first."""
    from transformer_lens.model_bridge.generalized_components.base import GeneralizedComponent

    made: TransformerBridge | None = vars(module).get(_BRIDGE)
    if made is None and any(isinstance(part, GeneralizedComponent) for part in module.modules()):
        raise LoadError(f"this {type(module).__name__} is wrapped by a bridge already: give mechpaint.load that bridge")
    return made


def stored_tokenizer(model: TransformerBridge) -> PreTrainedTokenizerBase | None:
    """The model's tokenizer as it was before TransformerLens gave it special tokens and a padding side.

    Only `load` keeps it; a bridge that was made elsewhere has its tokenizer as it is.
    """
    return getattr(model.tokenizer, _STORED, model.tokenizer)
