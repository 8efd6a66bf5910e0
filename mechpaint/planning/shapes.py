"""Models without weights to plan with: named shapes, and whatever has a configuration."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from mechpaint.models import outline
from mechpaint.planning.counting import can_be_asked
from mechpaint.planning.filling import fill

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge

_LLAMA_2: Mapping[str, Any] = {
    "vocab_size": 32000,
    "max_position_embeddings": 4096,
    "rms_norm_eps": 1e-5,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
}

SHAPES: Mapping[str, Mapping[str, Any]] = {
    "llama-2-7b": {
        **_LLAMA_2,
        "hidden_size": 4096,
        "intermediate_size": 11008,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "num_key_value_heads": 32,
    },
    "llama-2-13b": {
        **_LLAMA_2,
        "hidden_size": 5120,
        "intermediate_size": 13824,
        "num_hidden_layers": 40,
        "num_attention_heads": 40,
        "num_key_value_heads": 40,
    },
    "llama-2-70b": {
        **_LLAMA_2,
        "hidden_size": 8192,
        "intermediate_size": 28672,
        "num_hidden_layers": 80,
        "num_attention_heads": 64,
        "num_key_value_heads": 8,
    },
}
"""Configurations by name, as Meta published them with the weights of Llama 2 (Touvron et al. 2023)."""


def to_plan(model: str, dtype: str | None, *, measured: bool) -> TransformerBridge:
    """A model to plan with: its shape alone, or with random weights of one layer.

    Args:
        model: One of `SHAPES`, or whatever `mechpaint.models.outline` takes.
        dtype: Its precision; None for float32.
        measured: Whether it is to be run here. If not, it still has numbers where its own code looks at them.

    Raises:
        LoadError: No such configuration, dtype or architecture.
        CannotReroute: Its layers cannot be rerouted.
    """
    found = outline(SHAPES.get(model, model), dtype=dtype)
    if measured or not can_be_asked(found):
        fill(found, "cpu")
    return found
