"""Induction heads written down, before and after the first position is mended."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from mechpaint.analyses.memories.measuring import accuracies, recalls
from mechpaint.analyses.memories.records import Setting, cost
from mechpaint.analyses.memories.sources import batches
from mechpaint.statistics.results import Advance, Record
from mechpaint.toy.construction import construct, mend_first_position
from mechpaint.toy.simplified import SimplifiedConfig, SimplifiedTransformer

CONSTRUCTION, SHARPNESS = "construction", "sharpness"
CONSTRUCTED, MENDED = "constructed", "mended"
MENDING = 0.5
"""The sharpness of the mending, as a share of the construction's: enough, and adds less cross-talk than all of it."""


@dataclass(frozen=True)
class Construction:
    """The paper's head and the mended one, in one random model.

    Fixed triggers are the only tokens that W_K² stores, as in the paper; where any token may be one, it stores all.

    Args:
        kind: `CONSTRUCTION`, or `SHARPNESS` where several are compared.
        setting: The model and its data.
        sharpnesses: β, one head each.
        tokens: How many held-out tokens to test on.
    """

    kind: str
    setting: Setting
    sharpnesses: tuple[float, ...]
    tokens: int

    @property
    def label(self) -> str:
        """What it is called."""
        return f"{self.kind} {self.setting}"

    @property
    def ticks(self) -> int:
        """Ten a batch, times its cost: a test takes longer than a step, as two layers are asked at many places."""
        count = batches(-(-self.tokens // self.setting.length), self.setting.length)
        return 20 * len(self.sharpnesses) * count * cost(self.setting.dim)

    def measure(self, advance: Advance) -> Iterator[Record]:
        """Accuracies and recalls, before and after mending."""
        at = self.setting
        model = SimplifiedTransformer(SimplifiedConfig(dim=at.dim, length=at.length, seed=at.seed))
        tests = at.source.held_out(self.tokens, at.length, at.seed)
        stored = at.source.task.fixed_triggers or None
        for sharpness in self.sharpnesses:
            construct(model, sharpness, stored)
            for stage in (CONSTRUCTED, MENDED):
                if stage == MENDED:
                    mend_first_position(model, MENDING * sharpness, stored)
                found = accuracies(model, tests, lambda: advance(10 * cost(at.dim))) | recalls(model, tests)
                for probe, value in found.items():
                    yield at.record(self.kind, "", sharpness, stage, probe, value)
