"""Induction heads: which heads copy from context, and which layers they depend on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

from mechpaint.analyses.induction.labels import FULL, TWICE, WITHOUT
from mechpaint.analysis import ModelAnalysis
from mechpaint.errors import AnalysisError
from mechpaint.hooks import Duplicate, Skip
from mechpaint.routes.hookset import HookSet
from mechpaint.statistics.results import Columns, ModelFacts, Record

if TYPE_CHECKING:
    import pandas as pd
    from transformer_lens.model_bridge import TransformerBridge

    from mechpaint.report import Report, Section

__all__ = ["AnalysisError", "Induction"]


@dataclass(frozen=True)
class Induction(ModelAnalysis):
    """Score every head, show the best, and skip or repeat each layer to see which ones copying needs.

    Args:
        sequences: Sequences of repeated random tokens.
        period: Tokens before each sequence repeats.
        heads: Heads whose attention is shown, at most 8.
        seed: Random seed of the tokens.
        layers: Layers to skip and to run twice; None for all.
    """

    name: ClassVar[str] = "induction"
    question: ClassVar[str] = "Induction heads: which heads copy from context, and which layers do they need?"
    applies_edits: ClassVar[bool] = True
    model: ClassVar[str] = "toy-induction"
    columns: ClassVar[Columns] = {
        "kind": str,
        "name": str,
        "sequence": int,
        "layer": int,
        "head": int,
        "query": int,
        "key": int,
        "value": float,
    }

    sequences: int = field(default=32, metadata={"help": "Sequences of repeated random tokens."})
    period: int = field(default=24, metadata={"help": "Tokens before each sequence repeats."})
    heads: int = field(default=4, metadata={"help": "Heads whose attention is shown, at most 8."})
    seed: int = field(default=0, metadata={"help": "Random seed of the tokens."})
    layers: tuple[int, ...] | None = field(
        default=None,
        metadata={"help": "Layers to skip and to run twice, such as 0,1; by default all.", "selects_only": True},
    )

    def __post_init__(self) -> None:
        if self.sequences < 1 or not 1 <= self.heads <= 8 or not 0 <= self.seed < 2**63:
            raise AnalysisError(
                "expected 1 sequence or more, 1 to 8 heads and a seed from 0 to 2^63 - 1, got "
                f"sequences={self.sequences}, heads={self.heads}, seed={self.seed}"
            )

    def hook_sets(self, n_layers: int) -> Mapping[str, HookSet]:
        """The full model; each layer skipped, unless it is the only one; each layer run twice."""
        layers = range(n_layers) if self.layers is None else self.layers
        skips = {WITHOUT.format(i): Skip(i, i) for i in layers if n_layers > 1}
        repeats = {TWICE.format(i): Duplicate(i, 2) for i in layers}
        return {FULL: HookSet(), **skips, **repeats}

    def measure(self, model: TransformerBridge, label: str, hook_set: HookSet) -> Iterable[Record]:
        """Score the route; for the full model also every head, and the patterns of the best heads on one sequence."""
        from mechpaint.analyses.induction.measures import measure

        return measure(self, model, hook_set, look=label == FULL)

    def report(self, table: pd.DataFrame, facts: ModelFacts) -> Report:
        """Head scores, attention patterns (figure 2 of arXiv 2306.00802), and the accuracy that each layer is worth."""
        from mechpaint.analyses.induction.report import report

        return report(self, table, facts)

    def beside(self, tables: Sequence[tuple[pd.DataFrame, ModelFacts]]) -> Sequence[Section]:
        """Accuracy and loss of every run, and the heads that do most."""
        from mechpaint.analyses.induction.comparison import beside

        return beside(tables)
