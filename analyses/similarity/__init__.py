"""Similarity of the residual stream between layers: cosine similarity, angular distance, and variance."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

from mechpaint.analyses.painters.variants import Variant
from mechpaint.analyses.similarity.labels import FULL, REPEAT, SKIP, usual_start
from mechpaint.analysis import ModelAnalysis
from mechpaint.errors import AnalysisError
from mechpaint.routes.hookset import HookSet
from mechpaint.statistics.results import Columns, ModelFacts, Record

if TYPE_CHECKING:
    import pandas as pd
    from transformer_lens.model_bridge import TransformerBridge

    from mechpaint.report import Report, Section

__all__ = ["AnalysisError", "Similarity"]


@dataclass(frozen=True)
class Similarity(ModelAnalysis):
    """Compare the residual stream before the first layer and after each, on windows of a text.

    Figures 3, 14 and 15 of "Transformer Layers as Painters" (arXiv 2407.09298), and the angular distance of "The
    Unreasonable Ineffectiveness of the Deeper Layers" (arXiv 2403.17887).

    Args:
        text: The source of the windows, as for the task `text`; None for the text bundled with Python.
        windows: The number of windows.
        window: Tokens per window, including a beginning-of-text token if the model has one.
        seed: Random seed of the choice of windows.
        start_layers: Start layers N of skip and middle repeat; None for figure 15's 13 of 32 layers, scaled.
    """

    name: ClassVar[str] = "similarity"
    question: ClassVar[str] = "Hidden states: which layers share a space, and does it survive skipping and repeating?"
    applies_edits: ClassVar[bool] = True
    columns: ClassVar[Columns] = {"measure": str, "window": int, "first": int, "second": int, "value": float}

    text: str | None = field(
        default=None,
        metadata={"help": "A file or data set with text; by default the text bundled with Python."},
    )
    windows: int = field(default=64, metadata={"help": "Windows of the text."})
    window: int = field(default=64, metadata={"help": "Tokens per window."})
    seed: int = field(default=0, metadata={"help": "Random seed of the choice of windows."})
    start_layers: tuple[int, ...] | None = field(
        default=None,
        metadata={
            "help": "Start layers N of skip and middle repeat; by default figure 15's, scaled.",
            "selects_only": True,
        },
    )

    def __post_init__(self) -> None:
        if self.windows < 2 or self.window < 2 or self.seed < 0:
            raise AnalysisError(
                "expected 2 windows or more of 2 tokens or more and a seed of 0 or more, got "
                f"windows={self.windows}, window={self.window}, seed={self.seed}"
            )

    def starts(self, n_layers: int) -> tuple[int, ...]:
        """The start layers N for a model of `n_layers`; none for a single layer, which has no middle."""
        if self.start_layers is not None:
            return tuple(dict.fromkeys(self.start_layers))
        return (usual_start(n_layers),) if n_layers > 1 else ()

    def hook_sets(self, n_layers: int) -> Mapping[str, HookSet]:
        """The full model, then skip and middle repeat, as in figure 15."""
        made = {FULL: HookSet()}
        for start in self.starts(n_layers):
            made[SKIP.format(start)] = Variant("skip", start).hook_set(n_layers)
            made[REPEAT.format(start)] = Variant("middle_repeat", start).hook_set(n_layers)
        return made

    def check(self, model: TransformerBridge) -> None:
        """Refuse windows that the text does not have, or the model has no place for."""
        from mechpaint.analyses.similarity.states import windows

        windows(self, model)

    def measure(self, model: TransformerBridge, label: str, hook_set: HookSet) -> Iterable[Record]:
        """Measure similarities and angular distances of all pairs of states, and variances, per window."""
        from mechpaint.analyses.similarity.measures import measure

        return measure(self, model, hook_set)

    def report(self, table: pd.DataFrame, facts: ModelFacts) -> Report:
        """The painters' claims, tested; figures 3 and 15, and angular distances."""
        from mechpaint.analyses.similarity.report import report

        return report(self, table, facts)

    def beside(self, tables: Sequence[tuple[pd.DataFrame, ModelFacts]]) -> Sequence[Section]:
        """Figure 14: the similarity matrices of several models, and the three spaces of each."""
        from mechpaint.analyses.similarity.comparison import beside

        return beside(tables)
