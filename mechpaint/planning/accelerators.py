"""Accelerators by name: what their vendors say of them, and how much of that is taken to be reached.

Pure Python, for the command line's help. Nothing here was measured: the numbers are those of the vendors' data sheets,
and what is reached of them is an assumption.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

from mechpaint.errors import PlanError


@dataclass(frozen=True)
class Accelerator:
    """An accelerator as its vendor describes it."""

    name: str
    peak: Mapping[str, float]
    """Dense matrix products by precision, FLOP/s. In float32 without TF32, as torch computes unless told otherwise."""
    bandwidth: float
    """Bytes a second."""
    memory: float
    """Bytes."""
    source: str
    """Where the vendor says so."""


@dataclass(frozen=True)
class Efficiency:
    """The share of an accelerator's rates that operations reach: assumed, not measured."""

    compute: float = 0.5
    """Of the peak rate."""
    bandwidth: float = 0.7
    """Of the memory's bandwidth."""
    launch: float = 10e-6
    """The least seconds of an operation: torch launches one after the other from Python."""

    def __post_init__(self) -> None:
        for name in ("compute", "bandwidth"):
            if not 0 < getattr(self, name) <= 1:
                raise PlanError(f"the share of {name} that is reached must be in (0, 1], got {getattr(self, name)}")
        if not self.launch >= 0:
            raise PlanError(f"the time of a launch must be 0 seconds or more, got {self.launch}")


def _rates(half: float, single: float, double: float, bfloat16: bool = True) -> dict[str, float]:
    """Peak rates from TFLOP/s."""
    rates = {"float16": half, "bfloat16": half, "float32": single, "float64": double}
    return {dtype: 1e12 * rate for dtype, rate in rates.items() if bfloat16 or dtype != "bfloat16"}


_H100 = Accelerator(
    "h100",
    _rates(989.4, 66.9, 33.5),
    3.35e12,
    80e9,
    "NVIDIA H100 Tensor Core GPU, data sheet and architecture white paper: SXM5, without sparsity",
)

_A100 = Accelerator(
    "a100", _rates(312.0, 19.5, 9.7), 2.039e12, 80e9, "NVIDIA A100 Tensor Core GPU, data sheet: 80 GB, SXM"
)

ACCELERATORS: Mapping[str, Accelerator] = {
    one.name: one
    for one in (
        _H100,
        replace(
            _H100, name="h200", bandwidth=4.8e12, memory=141e9, source="NVIDIA H200 Tensor Core GPU, data sheet: SXM"
        ),
        _A100,
        replace(
            _A100,
            name="a100-40gb",
            bandwidth=1.555e12,
            memory=40e9,
            source="NVIDIA A100 Tensor Core GPU, data sheet of 2020: 40 GB, SXM",
        ),
        Accelerator("l40s", _rates(362.05, 91.6, 1.4), 864e9, 48e9, "NVIDIA L40S, data sheet: without sparsity"),
        Accelerator(
            "rtx-4090",
            _rates(165.2, 82.6, 1.3),
            1.008e12,
            24e9,
            "NVIDIA Ada GPU architecture, white paper: GeForce RTX 4090, sums in float32, without sparsity",
        ),
        Accelerator(
            "v100",
            _rates(125.0, 15.7, 7.8, bfloat16=False),
            900e9,
            32e9,
            "NVIDIA V100 Tensor Core GPU, data sheet: SXM2",
        ),
    )
}
"""From a name to what it stands for."""


@dataclass(frozen=True)
class Roofline:
    """The speed of operations on an accelerator: bound by arithmetic, by memory, or by launches."""

    where: Accelerator
    dtype: str
    reached: Efficiency = Efficiency()

    def __post_init__(self) -> None:
        if self.dtype not in self.where.peak:
            known = ", ".join(self.where.peak)
            raise PlanError(f"{self.where.name} does not compute in {self.dtype}: expected --dtype {known}")

    def seconds(self, flops: int, moved: int) -> float:
        """Seconds of an operation with so many floating-point operations and bytes moved."""
        computing = flops / (self.where.peak[self.dtype] * self.reached.compute)
        moving = moved / (self.where.bandwidth * self.reached.bandwidth)
        return max(computing, moving, self.reached.launch)

    def devices(self, split: int, whole: int) -> int:
        """The number of devices that hold a model whose layers are divided among them; a tenth of each stays free."""
        room = 0.9 * self.where.memory - whole
        if room <= 0:
            raise PlanError(
                f"activations and logits of a batch take {whole / 1e9:.1f} GB, and {self.where.name} has "
                f"{self.where.memory / 1e9:.0f}: expected a smaller --batch-size"
            )
        return max(1, math.ceil(split / room))


def accelerator(name: str) -> Accelerator:
    """An accelerator by its name."""
    if name not in ACCELERATORS:
        raise PlanError(f"there is no accelerator {name!r}: expected here, or one of {', '.join(ACCELERATORS)}")
    return ACCELERATORS[name]


def require_here(what: object, on: Roofline | None) -> None:
    """Refuse to plan for an accelerator what can only be measured."""
    if on is not None:
        raise PlanError(
            f"what the task {what} takes is measured, not counted: expected --on here, and it was {on.where.name}"
        )
