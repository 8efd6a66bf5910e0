"""The experiments of "Transformer Layers as Painters" (arXiv 2407.09298), on any model and tasks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

from mechpaint.analyses.painters.variants import METHODS, Variant, suite, variant
from mechpaint.analysis import RouteAnalysis
from mechpaint.errors import AnalysisError
from mechpaint.routes.hookset import HookSet
from mechpaint.statistics.results import Results

if TYPE_CHECKING:
    from mechpaint.report import Report, Section

__all__ = ["METHODS", "AnalysisError", "Painters", "Variant", "suite", "variant"]


@dataclass(frozen=True)
class Painters(RouteAnalysis):
    """Skip, reverse, shuffle, repeat, average and loop the middle layers; skip and switch single ones.

    Args:
        start_layers: Which start layers N; None for all.
        seeds: How many random orders for each start layer.
        loops: How often looped parallel loops; 1 is always included.
    """

    name: ClassVar[str] = "painters"
    question: ClassVar[str] = "Transformer Layers as Painters: what happens when the middle layers run otherwise?"
    tasks: ClassVar[tuple[str, ...]] = ("facts", "ioi", "induction", "arithmetic", "text")

    start_layers: tuple[int, ...] | None = field(
        default=None, metadata={"help": "Start layers N, such as 1,3,5; by default all."}
    )
    seeds: int = field(default=10, metadata={"help": "Random orders for each start layer."})
    loops: tuple[int, ...] = field(default=(3,), metadata={"help": "How often looped parallel loops."})

    def __post_init__(self) -> None:
        if self.seeds < 1 or not all(times >= 1 for times in self.loops):
            raise AnalysisError(f"expected 1 seed or more and loops of 1 or more, got {self.seeds} and {self.loops}")

    def variants(self, n_layers: int) -> tuple[Variant, ...]:
        """The experiments to run on a model of `n_layers`."""
        return suite(n_layers, self.start_layers, self.seeds, self.loops)

    def hook_sets(self, n_layers: int) -> Mapping[str, HookSet]:
        """The hook set of every experiment."""
        return {str(v): v.hook_set(n_layers) for v in self.variants(n_layers)}

    def report(self, results: Results) -> Report:
        """Figures 2, 4 to 9, 11 and 17, and which of the paper's claims held."""
        from mechpaint.analyses.painters.report import report

        return report(self, results)

    def beside(self, results: Sequence[Results]) -> Sequence[Section]:
        """Figure 12: each variant against the percentage of layers affected, a line a model."""
        from mechpaint.analyses.painters.comparison import beside

        return beside(results)
