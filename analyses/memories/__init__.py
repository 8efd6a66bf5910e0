"""Memories, constructed and learned by gradient steps: "Birth of a Transformer" (arXiv 2306.00802), §4.2 and §6."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from mechpaint.analysis import Experiment
from mechpaint.errors import AnalysisError
from mechpaint.statistics.results import Advance, Columns, Record

if TYPE_CHECKING:
    import pandas as pd

    from mechpaint.report import Report

__all__ = ["AnalysisError", "Memories"]


@dataclass(frozen=True)
class Memories(Experiment):
    """Construct an induction head without training, and look for its memories in single gradient steps.

    Args:
        dims: Widths d of the residual stream, for constructed heads and for the first gradient step.
        lengths: Sequence lengths on which constructed heads are tested. Gradient steps use the shortest.
        seeds: Models of each kind, each tested on its own sequences.
        sharpness: β of the constructed heads: the margin of right answers over others.
        test_tokens: Held-out tokens that each model is tested on.
        first_sequences: Sequences for the first gradient step alone.
        step_dims: Widths of the models that take three gradient steps.
        step_sequences: Sequences for each of the three steps.
    """

    name: ClassVar[str] = "memories"
    question: ClassVar[str] = (
        "Birth of a Transformer: is the head a sum of outer products, and do gradient steps find it?"
    )
    columns: ClassVar[Columns] = {
        "kind": str,
        "data": str,
        "triggers": str,
        "dim": int,
        "length": int,
        "variant": str,
        "seed": int,
        "sharpness": float,
        "stage": str,
        "probe": str,
        "value": float,
    }

    dims: tuple[int, ...] = field(
        default=(128, 256, 512, 1024), metadata={"help": "Widths of constructed heads, such as 128,512."}
    )
    lengths: tuple[int, ...] = field(
        default=(64, 128, 256), metadata={"help": "Sequence lengths to test them on. Gradient steps use the shortest."}
    )
    seeds: int = field(default=3, metadata={"help": "Models of each kind."})
    sharpness: float = field(
        default=30.0, metadata={"help": "Margin by which a constructed head's right answers score above others."}
    )
    test_tokens: int = field(default=16_384, metadata={"help": "Held-out tokens that each model is tested on."})
    first_sequences: int = field(default=16_384, metadata={"help": "Sequences for the first gradient step alone."})
    step_dims: tuple[int, ...] = field(
        default=(128, 512), metadata={"help": "Widths of the models that take three gradient steps."}
    )
    step_sequences: int = field(default=4096, metadata={"help": "Sequences for each of these three steps."})

    def __post_init__(self) -> None:
        for name, least in (("dims", 2), ("lengths", 8), ("step_dims", 2)):
            given: tuple[int, ...] = getattr(self, name)
            if not given or min(given) < least or len(set(given)) < len(given):
                raise AnalysisError(
                    f"{name} must be one or more different numbers from {least} up, got "
                    f"{', '.join(map(str, given)) or 'none'}"
                )
        for name in ("seeds", "first_sequences", "step_sequences"):
            if getattr(self, name) < 1:
                raise AnalysisError(f"{name} must be 1 or more, got {getattr(self, name)}")
        if self.test_tokens < max(self.lengths):
            raise AnalysisError(
                f"test_tokens must hold a sequence of each length, so {max(self.lengths)} or more, got "
                f"{self.test_tokens}"
            )
        if not 0 < self.sharpness < math.inf:
            raise AnalysisError(f"sharpness must be a number above 0, such as 30, got {self.sharpness}")

    def trials(self) -> Mapping[str, int]:
        """One trial per model and kind of data; ticks are rough costs."""
        from mechpaint.analyses.memories.trials import suite

        return {label: trial.ticks for label, trial in suite(self).items()}

    def settings_of(self, label: str) -> dict[str, Any]:
        """The settings of one trial; some cover a single width and seed, others all."""
        from mechpaint.analyses.memories.trials import suite

        return {"analysis": self.name, "trial": repr(suite(self)[label])}

    def measure(self, label: str, advance: Advance) -> Iterable[Record]:
        """Run one trial."""
        from mechpaint.analyses.memories.trials import suite

        return suite(self)[label].measure(advance)

    def report(self, table: pd.DataFrame) -> Report:
        """The paper's claims, then tables and figures of constructed heads and gradient steps."""
        from mechpaint.analyses.memories.report import report

        return report(self, table)
