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

from torch import nn
from transformer_lens.model_bridge import TransformerBridge

from mechpaint.engine.agreement import added, close
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
    if not getattr(whole, "_supports_sdpa", False) or any(kind != "eager" for kind in implementations(whole.config)):
        return False
    if whole not in _ALIKE:
        _ALIKE[whole] = _alike(runner, layers)
    return _ALIKE[whole]


def implementations(config: Any) -> list[str | None]:
    """The attention of a model, and of the models that it is made of."""
    configs = [config, *[getattr(config, name, None) for name in getattr(config, "sub_configs", {})]]
    return [part._attn_implementation for part in configs if part is not None]


def _alike(runner: RouteRunner, layers: Sequence[nn.Module]) -> bool:
    """Compare what every layer adds to the residual stream, on a whole row and on a padded one."""
    eager = added(runner, layers)
    try:
        with fused_attention(runner.model):
            fused = added(runner, layers)
    except (ValueError, RuntimeError, NotImplementedError, TypeError):  # what the kernels refuse, such as softcaps
        return False
    return close(eager, fused)
