"""Quantised models in one GGUF file, dequantised to float32."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

from mechpaint.display.progress import waiting
from mechpaint.models.quiet import without_bars


def dequantised(file: Path, target: Path, name: str) -> None:
    """Write the model of a GGUF file, with its tokenizer, as `save_pretrained` does: safetensors in float32."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    with without_bars(), waiting(f"{name}: converting, once"):
        quantised: Any = AutoModelForCausalLM.from_pretrained(file.parent, gguf_file=file.name, dtype=torch.float32)
        tokenizer = cast(Any, AutoTokenizer).from_pretrained(file.parent, gguf_file=file.name)
        config: Any = quantised.config
        if hasattr(config, "quantization_config"):
            del config.quantization_config
        plain = type(quantised)(config)
        plain.load_state_dict(quantised.state_dict())
        plain.save_pretrained(target)
        tokenizer.save_pretrained(target)
