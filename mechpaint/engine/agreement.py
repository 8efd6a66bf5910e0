"""Layers without hook points compute what the bridge's do: compared once, and again where a model was changed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn, Protocol, runtime_checkable
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from transformer_lens.model_bridge import TransformerBridge

from mechpaint.engine.compatibility import silenced
from mechpaint.engine.layer_inputs import LayerArguments, LayerInputs, Residual
from mechpaint.engine.unhooked_layers import UnhookedLayers
from mechpaint.errors import CannotReroute

_REAL = [[1, 1, 1, 1, 1, 1], [0, 0, 1, 1, 1, 1]]
"""A whole row and a padded one."""


@runtime_checkable
class Runs(Protocol):
    """What is needed of a `RouteRunner`."""

    model: TransformerBridge
    layers: list[nn.Module]
    harmless: set[int]
    """Layers that were seen not to write into what they are handed."""

    def record(self, tokens: Tensor, attention_mask: Tensor | None = None) -> LayerInputs:
        """The inputs that a forward pass hands its layers."""
        ...

    def call(
        self, layer: int, residual: Residual, arguments: LayerArguments, block: nn.Module | None = None
    ) -> Residual:
        """One layer's output."""
        ...


@dataclass(frozen=True, slots=True)
class _Compared:
    parts: int
    agree: bool | None
    """None: the bridge computes what its module does, and other layers were not compared yet."""


_COMPARED: WeakKeyDictionary[nn.Module, _Compared] = WeakKeyDictionary()
"""The answers so far, and of which parts: comparing takes two calls of every layer."""


def remember(model: TransformerBridge) -> None:
    """Note the parts of a model that has just been compared with its module."""
    if "blocks" in (model.adapter.component_mapping or {}):
        _COMPARED[model.original_model] = _Compared(UnhookedLayers(model).identity, None)


def known_to_agree(model: TransformerBridge, parts: int) -> bool:
    """Tell whether the layers without hook points of a model were compared, and agreed."""
    before = _COMPARED.get(model.original_model)
    return before is not None and before.parts == parts and before.agree is True


def agree(runner: Runs, layers: Sequence[nn.Module], parts: int) -> bool:
    """Tell whether layers compute what the runner's own do; `parts` says which modules they are made of.

    Raises:
        CannotReroute: They did, and the model was changed since then.
    """
    module = runner.model.original_model
    before = _COMPARED.get(module)
    if before is None or before.parts != parts or before.agree is None:
        alike = _alike(runner, layers)
        if alike is False and before is not None and before.parts != parts:
            _refuse_changed(module)
        before = _COMPARED[module] = _Compared(parts, alike is True)
    return bool(before.agree)


def check_unchanged(runner: Runs, bare: UnhookedLayers) -> None:
    """Refuse a model that was changed after it was loaded in a way that its bridge leaves out.

    Raises:
        CannotReroute: The bridge's layers compute something else than Hugging Face's do now.
    """
    if bare.hooked_in_vain:
        _refuse_changed(runner.model.original_model)
    before = _COMPARED.get(runner.model.original_model)
    if before is None or before.parts == bare.identity or not bare.may_be_compared:
        return
    layers = bare.layers_or_none()
    with silenced(runner.model):
        alike = None if layers is None else _alike(runner, layers)
    if alike is False or (alike is None and bare.divided):
        _refuse_changed(runner.model.original_model)
    _COMPARED[runner.model.original_model] = _Compared(bare.identity, None)


def _refuse_changed(module: nn.Module) -> NoReturn:
    raise CannotReroute(
        f"this {type(module).__name__} was changed after it was loaded (an adapter, a hook, a weight, another part), "
        "and its bridge leaves that out: load it again, mechpaint.load(module) of a module that is not wrapped"
    )


def _alike(runner: Runs, layers: Sequence[nn.Module]) -> bool | None:
    """None where they cannot be compared: then the run itself says why."""
    try:
        return close(added(runner, runner.layers), added(runner, layers))
    except Exception:  # of layers, and of hooks within them
        return None


def close(expected: Sequence[Tensor], found: Sequence[Tensor]) -> bool:
    """Tell whether what layers add is the same but for rounding."""
    eps = torch.finfo(expected[0].dtype).eps
    return all(square(b - a) <= eps * square(a) for a, b in zip(expected, found, strict=True))


def square(values: Tensor) -> float:
    """The sum of the squares."""
    return float(values.float().square().sum())


@torch.no_grad()
def added(runner: Runs, layers: Sequence[nn.Module]) -> list[Tensor]:
    """What every layer adds to the embeddings of a few tokens, some of them padded."""
    real = torch.tensor(_REAL, device=runner.model.cfg.device)
    vocabulary = int(runner.model.cfg.d_vocab)
    tokens = torch.arange(real.numel(), device=real.device).reshape(real.shape) % vocabulary
    layer_inputs, seen = runner.record(tokens, real), set(runner.harmless)
    outputs = [output[real.bool().to(output.device)] for output in additions(runner, layers, layer_inputs)]
    runner.harmless.intersection_update(seen)  # a real run may hand layers more than this
    return outputs


def additions(runner: Runs, layers: Sequence[nn.Module], layer_inputs: LayerInputs) -> Iterator[Tensor]:
    """What every layer adds to the embeddings."""
    start = layer_inputs.embeddings
    for i, layer in enumerate(layers):
        output: Any = runner.call(i, start, layer_inputs.layers[i], layer)
        yield output - start.to(output.device)
