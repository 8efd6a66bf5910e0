"""Hugging Face's own layers, without the hook points that a bridge has around and inside of them.

On many tokens hook points cost little. On one token, as in every step of generating, they and the bridge's own way of
computing attention take up to a third of the time. So where nobody listens the layers that the bridge has wrapped run
themselves. They have the bridge's parameters, and differ from it by rounding at most.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, TypeAlias, cast

import torch
from torch import nn
from transformer_lens.hook_points import HookPoint
from transformer_lens.model_bridge import TransformerBridge
from transformer_lens.model_bridge.generalized_components.base import GeneralizedComponent
from transformer_lens.model_bridge.generalized_components.joint_gate_up_mlp import JointGateUpMLPBridge
from transformer_lens.model_bridge.generalized_components.joint_qkv_attention import JointQKVAttentionBridge
from transformer_lens.model_bridge.generalized_components.mla_attention import MLAAttentionBridge

Hooks: TypeAlias = dict[int, object]

_HOOKABLE = (HookPoint, GeneralizedComponent)
_HOOKS = ("_forward_hooks", "_forward_pre_hooks")
_JOINT = (JointQKVAttentionBridge, JointGateUpMLPBridge)


class UnhookedLayers:
    """The bridge's layers without hook points, made on demand: shallow copies that share parameters and buffers."""

    def __init__(self, model: TransformerBridge) -> None:
        self._model = model
        self._wrapped = list(model.blocks)

    @cached_property
    def _parts(self) -> _Parts:
        return _Parts.of(self._wrapped)

    @property
    def identity(self) -> int:
        """A number that is another if something within the layers is changed that a bridge may leave out.

        A module that is replaced, added, hooked or given a forward, and a weight that the bridge has divided.
        """
        divided = [state for joint in self._parts.joint for tensor in _undivided(joint) for state in _state(tensor)]
        return hash((*self._parts.own, *divided))

    @property
    def may_be_compared(self) -> bool:
        """Tell whether the bridge's layers should compute what Hugging Face's do."""
        outline = any(parameter.is_meta for parameter in self._parts.parameters)
        return not (outline or self._model.training or self._model.original_model.training or self._is_processed())

    @property
    def divided(self) -> bool:
        """Tell whether the bridge runs with weights that it divided when it was made."""
        return bool(self._parts.joint)

    @property
    def hooked_in_vain(self) -> bool:
        """Look for torch hooks on what the bridge keeps of undivided weights, and never runs."""
        kept = [vars(part) for joint in self._parts.joint if isinstance(part := getattr(joint, "qkv", None), nn.Module)]
        hooks = [hook for state in kept for name in _HOOKS for hook in state[name].values()]
        return any(map(_is_foreign, hooks))

    def layers_or_none(self) -> list[nn.Module] | None:
        """Hugging Face's own layers, as they are now; None if they cannot be had."""
        try:
            return self._layers
        except RuntimeError:  # of parametrized modules
            return None

    @cached_property
    def _is_divided(self) -> bool:
        """Look for weights that only the bridge has: copies of parts, which may have been edited."""
        bare = _Parts.of(self._layers).parameters
        known = set(map(id, bare))
        others = [parameter for parameter in self._parts.parameters if id(parameter) not in known]
        return bool(others) and not set(map(_storage, others)) <= set(map(_storage, bare))

    @cached_property
    def _layers(self) -> list[nn.Module]:
        return [_bare(layer) for layer in self._wrapped]

    def unhooked_or_none(self) -> list[nn.Module] | None:
        """The bare layers, if running them in place of the bridge's can make no difference to anyone.

        None with a hook anywhere in a layer, with gradients or in training, after TransformerLens has processed the
        weights or copied parts of them, for latent attention, of which a bridge caches something else, and for a model
        that accelerate has spread over devices: then the bridge's layers have to run.
        """
        if torch.is_grad_enabled() or self._model.training or self._is_processed():
            return None
        if self._parts.latent or self._parts.patched or self._is_divided or any(self._listeners()):
            return None
        return self._layers

    def has_user_hooks(self) -> bool:
        """Look for hooks in the layers that are not TransformerLens's own."""
        return any(_is_foreign(_asked_for(hook)) for hook in self._listeners())

    def _is_processed(self) -> bool:
        settings, state = self._model.cfg, vars(self._model)
        return any(
            (state.get("compatibility_mode"), state.get("_weights_processed"), vars(settings).get("layer_norm_folding"))
        )

    def _listeners(self) -> Iterator[object]:
        """Hooks on what bare layers leave out: nothing else of theirs is another object than the bridge's."""
        for hooks, pre_hooks in self._parts.hooks:
            if hooks:
                yield from hooks.values()
            if pre_hooks:
                yield from filter(_is_foreign, pre_hooks.values())


@dataclass(slots=True)
class _Parts:
    """The facts about layers and all their parts, from one walk: they are more than a thousand.

    torch's own walks build names too, and several of them would take as long as a layer call on few tokens.
    """

    hooks: list[tuple[Hooks, Hooks]] = field(default_factory=list[tuple[Hooks, Hooks]])
    """After and before what bare layers leave out. They are torch's own, so they hold what is hooked later, too."""
    parameters: list[nn.Parameter] = field(default_factory=list[nn.Parameter])
    latent: bool = False
    """True if there is a latent attention."""
    patched: bool = False
    """True if a module is parametrized, which cannot be copied, or has a forward of its own, as accelerate gives it."""
    joint: list[nn.Module] = field(default_factory=list[nn.Module])
    """Components that run with weights divided when they were made."""
    own: list[int] = field(default_factory=list[int])
    """Which modules there are, how many hooks they have, and whether a forward of their own."""

    @classmethod
    def of(cls, layers: list[nn.Module]) -> _Parts:
        parts, seen, waiting = cls(), set[int](), [*layers]
        while waiting:
            module = waiting.pop()
            if id(module) not in seen:
                seen.add(id(module))
                parts._add(module)
                waiting.extend(part for part in vars(module)["_modules"].values() if part is not None)
        return parts

    def _add(self, module: nn.Module) -> None:
        state = vars(module)
        if isinstance(module, _HOOKABLE):
            self.hooks.append((state["_forward_hooks"], state["_forward_pre_hooks"]))
        else:
            hooked = len(state["_forward_hooks"]) + len(state["_forward_pre_hooks"])
            self.own += (id(module), hooked, "forward" in state)
        if isinstance(module, _JOINT):
            self.joint.append(module)
        if state["_parameters"]:
            self.parameters.extend(p for p in state["_parameters"].values() if p is not None)
        self.latent = self.latent or isinstance(module, MLAAttentionBridge)
        self.patched = self.patched or "forward" in state or "parametrizations" in state["_modules"]


def has_foreign_hooks(module: nn.Module) -> bool:
    """Look for hooks on a module and its parts that are not TransformerLens's own."""
    states = [vars(part) for part in module.modules()]
    return any(_is_foreign(_asked_for(hook)) for state in states for name in _HOOKS for hook in state[name].values())


def _is_foreign(hook: object) -> bool:
    """Recognise a hook that is not one of TransformerLens's own on its components."""
    return not str(getattr(hook, "__module__", "")).startswith("transformer_lens.")


def _asked_for(hook: object) -> object:
    """The function given to `HookPoint.add_hook`, if this hook was made of one; torch has no public way to it."""
    return inspect.getclosurevars(hook).nonlocals.get("hook", hook) if inspect.isfunction(hook) else hook


def _undivided(joint: nn.Module) -> Iterator[nn.Parameter]:
    """The weights that a component has divided, which it does not run with."""
    parts = [
        part for name in ("q", "k", "v", "gate", "in") if isinstance(part := getattr(joint, name, None), nn.Module)
    ]
    run = {id(parameter) for part in parts for parameter in part.parameters()}
    yield from (parameter for parameter in joint.parameters() if id(parameter) not in run)


def _state(tensor: torch.Tensor) -> tuple[int, int]:
    """Where a tensor is, and how often it was written into; torch does not count that in inference mode."""
    return tensor.data_ptr(), 0 if tensor.is_inference() else tensor._version


def _storage(parameter: nn.Parameter) -> int:
    return parameter.untyped_storage().data_ptr()


def unwrapped(module: nn.Module) -> nn.Module:
    """Hugging Face's own module, in which parts may still be wrapped."""
    while isinstance(module, GeneralizedComponent) and module.original_component is not None:
        module = module.original_component
    return module


def _bare(module: nn.Module) -> nn.Module:
    """A module in which nothing is wrapped. Its parameters, buffers and hooks are those of what was wrapped."""
    module = unwrapped(module)
    children = cast(dict[str, Any], vars(module)["_modules"])
    if not children:
        return module
    bare = copy.copy(module)
    vars(bare)["_modules"] = {name: child if child is None else _bare(child) for name, child in children.items()}
    return bare
