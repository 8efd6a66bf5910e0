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
    """An accelerator as its vendor describes it.

    Args:
        name: What it is called.
        peak: The highest rate of dense matrix products by precision, in floating-point operations a second. In
            float32 that of float32 itself: torch does not round to TF32 unless it is told to.
        bandwidth: Of its memory, in bytes a second.
        memory: How many bytes it has.
        source: Where the vendor says so.
    """

    name: str
    peak: Mapping[str, float]
    bandwidth: float
    memory: float
    source: str


@dataclass(frozen=True)
class Efficiency:
    """What an operation is taken to reach of an accelerator. Assumptions, which nothing here has measured.

    Args:
        compute: Which share of the peak rate matrix products run at.
        bandwidth: Which share of the memory's bandwidth operations move their operands and results at.
        launch: The least time that an operation takes, in seconds: torch launches one after the other from Python.

    Raises:
        PlanError: Shares that are not above 0 and at most 1, or a time below 0.
    """

    compute: float = 0.5
    bandwidth: float = 0.7
    launch: float = 10e-6

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
    """How fast operations are on an accelerator: each is bound by arithmetic, by memory, or by being launched.

    Args:
        where: The accelerator.
        dtype: The precision that it computes in.
        reached: How much of its rates is reached.

    Raises:
        PlanError: It does not have that precision.
    """

    where: Accelerator
    dtype: str
    reached: Efficiency = Efficiency()

    def __post_init__(self) -> None:
        if self.dtype not in self.where.peak:
            known = ", ".join(self.where.peak)
            raise PlanError(f"{self.where.name} does not compute in {self.dtype}: expected --dtype {known}")

    def seconds(self, flops: int, moved: int) -> float:
        """How long an operation takes."""
        computing = flops / (self.where.peak[self.dtype] * self.reached.compute)
        moving = moved / (self.where.bandwidth * self.reached.bandwidth)
        return max(computing, moving, self.reached.launch)

    def devices(self, split: int, whole: int) -> int:
        """How many of them hold a model, the layers divided among them. A tenth of each is left free."""
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
