"""The training experiments of "Birth of a Transformer: A Memory Viewpoint" (arXiv 2306.00802)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from mechpaint.analysis import Experiment
from mechpaint.errors import AnalysisError
from mechpaint.statistics.results import Advance, Columns, Record

if TYPE_CHECKING:
    import pandas as pd

    from mechpaint.report import Report

__all__ = ["AnalysisError", "Birth"]


@dataclass(frozen=True)
class Birth(Experiment):
    """Train two-layer transformers on the in-context bigram task and probe the induction head as it forms.

    Args:
        seeds: Models of each kind.
        steps: Training steps of each.
        freeze_until: The step until which a matrix is frozen, in figure 3.
    """

    name: ClassVar[str] = "birth"
    question: ClassVar[str] = "Birth of a Transformer: what is learned when, and what speeds it up or slows it down?"
    columns: ClassVar[Columns] = {
        "group": str,
        "condition": str,
        "seed": int,
        "step": int,
        "probe": str,
        "value": float,
    }

    seeds: int = field(default=3, metadata={"help": "Models of each kind.", "selects_only": True})
    steps: int = field(default=300, metadata={"help": "Training steps of each."})
    freeze_until: int = field(default=100, metadata={"help": "The step until which a matrix is frozen, in figure 3."})

    def __post_init__(self) -> None:
        if self.seeds < 1 or self.steps < 20 or not 0 < self.freeze_until < self.steps:
            raise AnalysisError(
                "expected 1 seed or more, 20 steps or more, and freezing until a step before the last, got "
                f"seeds={self.seeds}, steps={self.steps}, freeze_until={self.freeze_until}"
            )

    def settings(self) -> dict[str, Any]:
        """All fields and a digest of every condition, so that stored results of other conditions are not reused."""
        from mechpaint.analyses.birth.conditions import digest

        return {**super().settings(), "conditions": digest(self)}

    def trials(self) -> Mapping[str, int]:
        """One trial for each condition and seed; a tick is a training step."""
        from mechpaint.analyses.birth.conditions import conditions

        return {
            f"{name}, seed {seed}": made.training.steps
            for seed in range(self.seeds)
            for name, made in conditions(self, seed).items()
        }

    def measure(self, label: str, advance: Advance) -> Iterable[Record]:
        """Train one model; a record for each probe and probed step."""
        from mechpaint.analyses.birth.conditions import measure

        name, _, seed = label.rpartition(", seed ")
        return measure(self, name, int(seed), advance)

    def report(self, table: pd.DataFrame) -> Report:
        """Figures 3 and 4, one against two layers, and which of the paper's claims held."""
        from mechpaint.analyses.birth.report import report

        return report(self, table)
