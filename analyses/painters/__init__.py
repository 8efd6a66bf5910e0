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
        start_layers: Start layers N; None for all.
        seeds: Random orders per start layer.
        loops: Iterations of looped parallel; 1 is always included.
    """

    name: ClassVar[str] = "painters"
    question: ClassVar[str] = "Transformer Layers as Painters: what happens when the middle layers are rerouted?"
    tasks: ClassVar[tuple[str, ...]] = (
        "facts",
        "hops",
        "ioi",
        "induction",
        "counting",
        "arithmetic",
        "text",
    )

    start_layers: tuple[int, ...] | None = field(
        default=None, metadata={"help": "Start layers N, such as 1,3,5; by default all."}
    )
    seeds: int = field(default=10, metadata={"help": "Random orders per start layer."})
    loops: tuple[int, ...] = field(default=(3,), metadata={"help": "Iterations of looped parallel."})

    def __post_init__(self) -> None:
        if self.seeds < 1 or not all(times >= 1 for times in self.loops):
            raise AnalysisError(f"expected 1 seed or more and loops of 1 or more, got {self.seeds} and {self.loops}")

    def variants(self, n_layers: int) -> tuple[Variant, ...]:
        """The experiments to run on a model of `n_layers`."""
        return suite(n_layers, self.start_layers, self.seeds, self.loops)

    def hook_sets(self, n_layers: int) -> Mapping[str, HookSet]:
        """The hook set of each experiment."""
        return {str(v): v.hook_set(n_layers) for v in self.variants(n_layers)}

    def report(self, results: Results) -> Report:
        """The paper's claims, tested; figures 2, 4 to 9, 11 and 17."""
        from mechpaint.analyses.painters.report import report

        return report(self, results)

    def beside(self, results: Sequence[Results]) -> Sequence[Section]:
        """Figure 12: each variant against the percentage of layers affected, one line per model."""
        from mechpaint.analyses.painters.comparison import beside

        return beside(results)
