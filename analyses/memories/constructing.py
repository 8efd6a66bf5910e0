"""Constructed induction heads, before and after the first position is mended."""

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
"""The sharpness of the mending relative to the construction's: enough, with less cross-talk than at full sharpness."""


@dataclass(frozen=True)
class Construction:
    """The paper's head and the mended one in one random model, at each sharpness β.

    As in the paper, W_K² stores only the fixed triggers; where any token may be a trigger, it stores all.
    """

    kind: str
    setting: Setting
    sharpnesses: tuple[float, ...]
    tokens: int

    @property
    def label(self) -> str:
        """The name of the trial."""
        return f"{self.kind} {self.setting}"

    @property
    def ticks(self) -> int:
        """Twenty ticks a batch, times its cost: a test reads two layers at many positions."""
        count = batches(-(-self.tokens // self.setting.length), self.setting.length)
        return 20 * len(self.sharpnesses) * count * cost(self.setting.dim)

    def measure(self, advance: Advance) -> Iterator[Record]:
        """Measure accuracies and recalls, before and after mending."""
        at = self.setting
        model = SimplifiedTransformer(SimplifiedConfig(dim=at.dim, length=at.length, seed=at.seed))
        tests = at.source.held_out(self.tokens, at.length, at.seed)
        stored = at.source.task.fixed_triggers or None
        for sharpness in self.sharpnesses:
            construct(model, sharpness, stored)
            for stage in (CONSTRUCTED, MENDED):
                if stage == MENDED:
                    mend_first_position(model, MENDING * sharpness, stored)
                probes = accuracies(model, tests, lambda: advance(10 * cost(at.dim))) | recalls(model, tests)
                for probe, value in probes.items():
                    yield at.record(self.kind, "", sharpness, stage, probe, value)
