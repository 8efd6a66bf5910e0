"""The model that everyone gets."""

from __future__ import annotations

from pathlib import Path

import torch
from transformers import Gemma3ForCausalLM


def gemma(folder: Path) -> Gemma3ForCausalLM:
    """Gemma 3 in float32, with transformers' default attention, which is sdpa. Without a tokenizer: tokens are given.

    Args:
        folder: Written by `save_pretrained`.
    """
    return Gemma3ForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
