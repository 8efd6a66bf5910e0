"""The merging of outputs of layers that ran in parallel."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from mechpaint.routes.steps import Step


class GroupMerge:
    """Merges a group's outputs in one buffer: "mean" of arXiv 2407.09298, section 3.5, "sum" of arXiv 2502.02790.

    Half precision is added up in float32 and cast back at the end: a sum overflows where the mean would not.
    """

    def __init__(self, step: Step, incoming: Float[Tensor, "batch position d_model"]) -> None:
        self.step = step
        self.incoming = incoming
        self._total: Tensor | None = None
        self._waiting = len(step.layers)

    def add(self, output: Float[Tensor, "batch position d_model"]) -> None:
        """Take in one member's output, its residual connection included; from another device, if it ran there."""
        output = output.to(self.incoming.device)
        self._waiting -= 1
        if self._total is None:
            self._total = output
        elif self._waiting == len(self.step.layers) - 2:
            self._total = _exact(self._total) + output  # the first output may still be needed by others
        else:
            self._total += output

    @property
    def complete(self) -> bool:
        """True once every member's output is in."""
        return self._waiting == 0

    def merged(self) -> Float[Tensor, "batch position d_model"]:
        """The group's output, once every member is in."""
        if self._total is None or self._waiting:
            raise RuntimeError(f"group {self.step} is incomplete: {self._waiting} of its members have not run")
        members = len(self.step.layers)
        if members == 1:
            return self._total
        if self.step.merge == "mean":
            self._total /= members  # of two outputs or more, so nobody else has it
        else:
            self._total -= (members - 1) * _exact(self.incoming)
        return self._total.to(self.incoming.dtype)


def _exact(stream: Tensor) -> Tensor:
    """A stream with at least the precision of float32."""
    return stream.to(torch.promote_types(stream.dtype, torch.float32))
