"""A bridge computes what its module computes: compared once, when it is made, on a few tokens."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn
from transformer_lens.model_bridge import TransformerBridge

from mechpaint.errors import LoadError, first_line
from mechpaint.models.linear_outputs import LinearOutputs

_TOKENS = 4
_FAMILIAR = ("torch", "transformers")


@dataclass(frozen=True, slots=True)
class Observed:
    """What a module computed before it was wrapped, and which of its unusual parts ran."""

    tokens: Tensor
    logits: Tensor
    ran: dict[int, str]
    linear_outputs: LinearOutputs


def observe(module: Any) -> Observed | None:
    """Run a Hugging Face module on a few tokens; None if it takes no tokens alone, or gives no numbers for them."""
    config = module.config.get_text_config() if hasattr(module.config, "get_text_config") else module.config
    takes = getattr(module, "main_input_name", "input_ids")
    if getattr(module.config, "is_encoder_decoder", False) or takes != "input_ids":
        return None
    vocabulary = int(getattr(config, "vocab_size", 0) or 0)
    tokens = (torch.arange(1, _TOKENS + 1) % max(2, vocabulary))[None].to(_device_of(module))
    parts = module.named_modules()
    unusual = {id(part): f"{name} ({type(part).__name__})" for name, part in parts if _is_unusual(part, module)}
    linear_outputs = LinearOutputs(module)
    with torch.no_grad(), linear_outputs.reused(), _running(module, unusual) as ran:
        try:
            logits = _logits(module(input_ids=tokens))
        except Exception as error:  # a model that needs more than tokens
            dtypes = {str(p.dtype) for p in module.parameters() if p.is_floating_point()}
            if len(dtypes) > 1 and isinstance(error, RuntimeError):
                raise LoadError(
                    f"this {type(module).__name__} does not run, with weights in {' and '.join(sorted(dtypes))}: "
                    f"{first_line(error)}. Expected one precision, as module.to(torch.float32) gives"
                ) from error
            return None
    if logits is None or not logits.isfinite().all():
        return None
    return Observed(tokens, logits, {part: unusual[part] for part in ran}, linear_outputs)


def check_same(bridge: TransformerBridge, module: nn.Module, observed: Observed) -> None:
    """Raise `LoadError` if the bridge leaves out a part that ran, or gives other logits than by rounding."""
    name = type(module).__name__
    with torch.no_grad(), observed.linear_outputs.reused(), _running(module, observed.ran) as ran:
        try:
            logits = _logits(bridge(observed.tokens))
        except Exception as error:
            raise LoadError(
                f"TransformerLens's bridge of this {name} does not run: {type(error).__name__}: "
                f"{first_line(error)}. Expected a model whose parts can be wrapped: load its plain "
                "form, with weights in memory, unquantised and without wrappers"
            ) from error
    left_out = [path for part, path in observed.ran.items() if part not in ran]
    if left_out:
        raise LoadError(
            f"TransformerLens's bridge of this {name} leaves out {left_out[0]}: what an adapter, a hook or a "
            "wrapper adds there would be lost. Merge adapters into the weights (PEFT: model.merge_and_unload()), or "
            "remove what was added, and load again"
        )
    difference = relative_difference(logits, observed.logits) if logits is not None else float("inf")
    if not difference <= tolerance(observed.logits.dtype):
        raise LoadError(
            f"TransformerLens's bridge of this {name} does not compute what the module computes: logits differ by "
            f"{difference:.2g} of their size on {_TOKENS} tokens. Merge adapters into the weights, remove hooks and "
            "wrappers, or use another architecture"
        )


def relative_difference(found: Tensor, expected: Tensor) -> float:
    """The root mean square of a difference, over that of what was expected."""
    if found.shape != expected.shape:
        return float("inf")
    found, expected = found.double(), expected.double()
    size = float(expected.square().sum())
    return (float((found - expected).square().sum()) / (size or 1.0)) ** 0.5


def tolerance(dtype: torch.dtype) -> float:
    """The relative difference that rounding may make: the square root of a dtype's precision."""
    return float(torch.finfo(dtype).eps) ** 0.5


def _is_unusual(part: nn.Module, whole: nn.Module) -> bool:
    """Recognise a part that does not compute what its class says, or is of another family than the model."""
    state, families = vars(part), (*_FAMILIAR, type(whole).__module__.partition(".")[0])
    moved = "_hf_hook" in state  # by accelerate: it computes the same
    patched = state["_forward_hooks"] or state["_forward_pre_hooks"] or ("forward" in state and not moved)
    return part is not whole and bool(patched or type(part).__module__.partition(".")[0] not in families)


@contextmanager
def _running(module: nn.Module, parts: dict[int, str]) -> Generator[set[int]]:
    """The parts that run within this context, by identity."""
    ran: set[int] = set()

    def note(part: nn.Module, args: object) -> None:
        ran.add(id(part))

    here = [part for part in module.modules() if id(part) in parts] if parts else []
    hooks = [part.register_forward_pre_hook(note) for part in here]
    try:
        yield ran
    finally:
        for hook in hooks:
            hook.remove()


def _device_of(module: nn.Module) -> torch.device:
    embeddings: Any = cast(Any, module).get_input_embeddings() if hasattr(module, "get_input_embeddings") else None
    weight = getattr(embeddings, "weight", None)
    device = weight.device if isinstance(weight, Tensor) else next(module.parameters()).device
    return torch.device("cpu") if device.type == "meta" else device  # weights on disk run on the CPU


def _logits(output: Any) -> Tensor | None:
    """The first tensor that a model gives: logits, or a last hidden state."""
    if isinstance(output, Tensor):
        return output
    first: Any = getattr(output, "logits", None)
    if first is None and len(output) > 0:
        first = output[0]
    return first if isinstance(first, Tensor) else None
