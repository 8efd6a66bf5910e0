"""Hugging Face's own layers, without the hook points that a bridge has around and inside of them.

On many tokens hook points cost little. On one token, as in every step of generating, they and the bridge's own way of
computing attention take up to a third of the time. So where nobody listens the layers that the bridge has wrapped run
themselves. They have the bridge's parameters, and differ from it by rounding at most.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Iterator
from functools import cached_property
from typing import Any, cast

import torch
from torch import nn
from transformer_lens.hook_points import HookPoint
from transformer_lens.model_bridge import TransformerBridge
from transformer_lens.model_bridge.generalized_components.base import GeneralizedComponent
from transformer_lens.model_bridge.generalized_components.mla_attention import MLAAttentionBridge


class BareLayers:
    """The bare layers of one bridge, made when they are first asked for.

    Args:
        model: The bridge. It is left as it is: what is bare are shallow copies that share its parameters and buffers.
    """

    def __init__(self, model: TransformerBridge) -> None:
        self._model = model
        self._wrapped = list(model.blocks)

    @cached_property
    def _parts(self) -> list[nn.Module]:
        return [part for layer in self._wrapped for part in layer.modules()]

    @cached_property
    def _hookable(self) -> list[nn.Module]:
        return [part for part in self._parts if isinstance(part, HookPoint | GeneralizedComponent)]

    @cached_property
    def _is_latent(self) -> bool:
        return any(isinstance(part, MLAAttentionBridge) for part in self._parts)

    @cached_property
    def _is_patched(self) -> bool:
        """Whether a module has a forward of its own, as accelerate gives it; a copy's would be the original's."""
        return any("forward" in vars(part) for part in self._parts)

    @cached_property
    def _is_divided(self) -> bool:
        """Whether the bridge has weights that the bare layers have not: copies of parts, which may have been edited."""
        own = {_storage(p) for layer in self._layers for p in layer.parameters()}
        return any(_storage(p) not in own for layer in self._wrapped for p in layer.parameters())

    @cached_property
    def _layers(self) -> list[nn.Module]:
        return [_bare(layer) for layer in self._wrapped]

    def unheard(self) -> list[nn.Module] | None:
        """The bare layers, if running them in place of the bridge's can make no difference to anyone.

        None with a hook anywhere in a layer, with gradients or in training, after TransformerLens has processed the
        weights or copied parts of them, for latent attention, of which a bridge caches something else, and for a model
        that accelerate has spread over devices: then the bridge's layers have to run.
        """
        if torch.is_grad_enabled() or self._model.training or self._is_processed() or self._is_latent:
            return None
        return None if self._is_patched or self._is_divided or any(self._listeners()) else self._layers

    def heard(self) -> bool:
        """Whether anybody but TransformerLens itself has a hook in a layer."""
        return any(_is_foreign(_asked_for(hook)) for hook in self._listeners())

    def _is_processed(self) -> bool:
        settings, state = self._model.cfg, vars(self._model)
        return any(
            (state.get("compatibility_mode"), state.get("_weights_processed"), vars(settings).get("layer_norm_folding"))
        )

    def _listeners(self) -> Iterator[object]:
        """Hooks on what bare layers leave out: nothing else of theirs is another object than the bridge's."""
        for part in map(vars, self._hookable):
            yield from cast(dict[int, object], part["_forward_hooks"]).values()
            yield from filter(_is_foreign, cast(dict[int, object], part["_forward_pre_hooks"]).values())


def _is_foreign(hook: object) -> bool:
    """Whether a hook is somebody else's than TransformerLens's, which has some on its components."""
    return not str(getattr(hook, "__module__", "")).startswith("transformer_lens.")


def _asked_for(hook: object) -> object:
    """What was given to `HookPoint.add_hook`, if it has made a hook of it; there is no public way to it."""
    return inspect.getclosurevars(hook).nonlocals.get("hook", hook) if inspect.isfunction(hook) else hook


def _storage(parameter: nn.Parameter) -> int:
    return parameter.untyped_storage().data_ptr()


def _bare(module: nn.Module) -> nn.Module:
    """A module in which nothing is wrapped. Its parameters, buffers and hooks are those of what was wrapped."""
    while isinstance(module, GeneralizedComponent) and module.original_component is not None:
        module = module.original_component
    children = cast(dict[str, Any], vars(module)["_modules"])
    if not children:
        return module
    bare = copy.copy(module)
    vars(bare)["_modules"] = {name: child if child is None else _bare(child) for name, child in children.items()}
    return bare
