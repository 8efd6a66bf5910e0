"""The best number of iterations for layers in parallel: figure 10 of "Transformer Layers as Painters"."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

from mechpaint.analyses.painters.variants import Variant
from mechpaint.analysis import RouteAnalysis
from mechpaint.errors import AnalysisError
from mechpaint.routes.hookset import HookSet
from mechpaint.statistics.results import Results

if TYPE_CHECKING:
    from mechpaint.report import Report

__all__ = ["Loops"]


@dataclass(frozen=True)
class Loops(RouteAnalysis):
    """Run the middle layers in parallel, averaged, for every size of the middle and number of iterations.

    Args:
        iterations: The most iterations; None for the paper's choice, the number of layers minus four.
        start_layers: Start layers N, which give group sizes T - 2N - 1; None for all.
    """

    name: ClassVar[str] = "loops"
    question: ClassVar[str] = "Looped parallel: how often should a group of layers run, given its size?"
    tasks: ClassVar[tuple[str, ...]] = ("facts", "hops", "induction", "counting", "arithmetic", "text")

    iterations: int | None = field(
        default=None, metadata={"help": "The most iterations; by default the number of layers minus four."}
    )
    start_layers: tuple[int, ...] | None = field(
        default=None, metadata={"help": "Start layers N, such as 1,3,5; by default all."}
    )

    def __post_init__(self) -> None:
        if self.iterations is not None and self.iterations < 1:
            raise AnalysisError(f"expected 1 iteration or more, got {self.iterations}")

    def counts(self, n_layers: int) -> range:
        """The numbers of iterations to run on a model of `n_layers`."""
        return range(1, (self.iterations or max(1, n_layers - 4)) + 1)

    def starts(self, n_layers: int) -> list[int]:
        """The start layers that leave a group in a model of `n_layers`, smallest group first.

        Raises:
            AnalysisError: There are none.
        """
        given = range(n_layers // 2) if self.start_layers is None else set(self.start_layers)
        starts = sorted((start for start in given if n_layers - 2 * start - 1 != 0), reverse=True)
        if not starts:
            raise AnalysisError(f"expected start layers N that leave a middle of {n_layers} layers, got none")
        return starts

    def hook_sets(self, n_layers: int) -> Mapping[str, HookSet]:
        """The hook set of each cell of the grid."""
        grid = [Variant("loop_parallel", n, k) for n in self.starts(n_layers) for k in self.counts(n_layers)]
        return {str(variant): variant.hook_set(n_layers) for variant in grid}

    def report(self, results: Results) -> Report:
        """Figure 10, the best number of iterations for each size, and a linear fit."""
        from mechpaint.analyses.loops.report import report

        return report(self, results)
