"""Fused attention where nobody reads attention patterns: torch's kernels, which never have a whole pattern in memory.

TransformerLens loads models with the attention that Hugging Face calls eager, in which there is a pattern to hook.
Where unhooked layers run nobody needs it, and Hugging Face's own switch is turned to fused attention while masks are
made and layers run. Some models ignore the switch, and some add what the kernels leave out, so each model's layers are
compared once.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from transformer_lens.model_bridge import TransformerBridge

from mechpaint.engine.ownership import owned
from mechpaint.engine.route_runner import RouteRunner

_ALIKE: WeakKeyDictionary[nn.Module, bool] = WeakKeyDictionary()
"""The answers so far: comparing takes two calls of every layer."""


@contextmanager
def fused_attention(model: TransformerBridge) -> Generator[None]:
    """Within this context Hugging Face makes masks for fused attention, and its layers use it; before it, eager one."""
    config: Any = model.original_model.config
    with owned(model.original_model):
        config._attn_implementation = "sdpa"
        try:
            yield
        finally:
            config._attn_implementation = "eager"


def fastest_attention(runner: RouteRunner, layers: Sequence[nn.Module]) -> Callable[[], AbstractContextManager[None]]:
    """Makes contexts for recording and for running layers: with fused attention if they can have it."""
    if layers is runner.layers or not can_fuse(runner, layers):
        return nullcontext
    return lambda: fused_attention(runner.model)


def can_fuse(runner: RouteRunner, layers: Sequence[nn.Module]) -> bool:
    """Check that a model's attention is eager, and can be fused with the same results but for rounding."""
    whole: Any = runner.model.original_model
    if not getattr(whole, "_supports_sdpa", False) or any(kind != "eager" for kind in _implementations(whole.config)):
        return False
    if whole not in _ALIKE:
        _ALIKE[whole] = _alike(runner, layers)
    return _ALIKE[whole]


def _implementations(config: Any) -> list[str | None]:
    """Of a model, and of the models that it is made of."""
    configs = [config, *[getattr(config, name, None) for name in getattr(config, "sub_configs", {})]]
    return [part._attn_implementation for part in configs if part is not None]


@torch.no_grad()
def _alike(runner: RouteRunner, layers: Sequence[nn.Module]) -> bool:
    """Compare what every layer adds to the residual stream, on a whole row and on a padded one."""
    real = torch.tensor([[1, 1, 1, 1, 1, 1], [0, 0, 1, 1, 1, 1]], device=runner.model.cfg.device)
    eager = _added(runner, layers, real)
    try:
        with fused_attention(runner.model):
            fused = _added(runner, layers, real)
    except (ValueError, RuntimeError, NotImplementedError, TypeError):  # what the kernels refuse, such as softcaps
        return False
    eps = torch.finfo(eager[0].dtype).eps
    return all(_square(b - a) <= eps * _square(a) for a, b in zip(eager, fused, strict=True))


def _square(added: Tensor) -> float:
    return float(added.float().square().sum())


def _added(runner: RouteRunner, layers: Sequence[nn.Module], real: Tensor) -> list[Tensor]:
    tokens = torch.arange(real.numel(), device=real.device).reshape(real.shape) % runner.model.cfg.d_vocab
    layer_inputs = runner.record(tokens, real)
    start = layer_inputs.embeddings
    outputs = [runner.call(i, start, layer_inputs.layers[i], layer) for i, layer in enumerate(layers)]
    return [(output - start.to(output.device))[real.bool().to(output.device)] for output in outputs]
