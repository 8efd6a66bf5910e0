"""A layer norm or RMS norm with its scale held as it was: what is left is linear, and divides among what is added.

The weights are read off the norm's outputs, whatever its class calls them or adds to them, and compared with it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from mechpaint.errors import InputError
from mechpaint.models.comparison import relative_difference, tolerance

_FAR = 100.0
"""Beside the square of this, what norms add to a variance is nothing."""


@dataclass(frozen=True)
class FrozenNorm:
    """A norm at one residual stream x: (x - mean) * weight / scale + bias.

    Args:
        weight: `[d_model]`.
        bias: `[d_model]`.
        scale: What x was divided by.
        centred: Whether the mean is taken off, as a layer norm does and an RMS norm does not.
    """

    weight: Float[Tensor, "d_model"]
    bias: Float[Tensor, "d_model"]
    scale: float
    centred: bool

    @classmethod
    def of(cls, norm: Callable[[Tensor], Tensor], at: Float[Tensor, "d_model"], what: str) -> FrozenNorm:
        """Freeze a function of rows at one of them, or raise InputError if it is no such norm."""
        signs = torch.ones_like(at)
        signs[1::2] = -1
        probes = torch.stack([torch.zeros_like(at), torch.full_like(at, _FAR), signs * _FAR, at])
        given = norm(probes)
        if given.shape != probes.shape:
            raise InputError(f"{what} changes the width of the residual stream, so it cannot be divided among visits")
        bias, same, signed, expected = given.double()
        centred = bool(((same - bias).abs() <= 1e-3 * (signed - bias).abs().max()).all())
        spread = _centred(probes[2].double(), centred)
        weight = (signed - bias) * spread.square().mean().sqrt() / spread
        direction = _centred(at.double(), centred) * weight
        along = float(direction @ (expected - bias))
        made = cls(weight, bias, float(direction @ direction) / along if along else 1.0, centred)
        if not relative_difference(made.linear(at.double()) + bias, expected) <= tolerance(at.dtype):
            raise InputError(
                f"{what} is neither a layer norm nor an RMS norm, so what is added before it cannot be told apart after"
            )
        return made

    def linear(self, parts: Float[Tensor, "*parts d_model"]) -> Float[Tensor, "*parts d_model"]:
        """What becomes of parts of the stream; of all of them together, the norm's output without its bias."""
        return _centred(parts.double(), self.centred) * self.weight / self.scale


def _centred(parts: Tensor, centred: bool) -> Tensor:
    return parts - parts.mean(-1, keepdim=True) if centred else parts
