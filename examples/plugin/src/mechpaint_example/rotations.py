"""`rotations`: where does it matter which of a few neighbouring layers runs first?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

from mechpaint.analysis import Results, RouteAnalysis
from mechpaint.errors import InputError
from mechpaint.routes.hookset import HookSet
from mechpaint_example.rotate import Rotate

if TYPE_CHECKING:
    from mechpaint.report import Figure, Report
    from mechpaint.statistics import Estimate


@dataclass(frozen=True)
class Rotations(RouteAnalysis):
    """Rotate every stretch of `width` layers by one, so that its first layer runs last."""

    name: ClassVar[str] = "rotations"
    question: ClassVar[str] = "Where does it matter which of a few neighbouring layers runs first?"
    tasks: ClassVar[tuple[str, ...]] = ("weekdays",)

    width: int = field(default=3, metadata={"help": "Layers to rotate."})

    def __post_init__(self) -> None:
        if self.width < 2:
            raise InputError(f"expected 2 layers or more to rotate, got {self.width}")

    def hook_sets(self, n_layers: int) -> Mapping[str, HookSet]:
        """Rotate each stretch of the model."""
        if self.width > n_layers:
            raise InputError(f"cannot rotate {self.width} layers of {n_layers}; expected a smaller width")
        return {f"from {i}": Rotate(i, i + self.width - 1) for i in range(n_layers - self.width + 1)}

    def report(self, results: Results) -> Report:
        """Show scores against the first layer of the stretch, as a figure and a table."""
        from mechpaint.report import Report, Table
        from mechpaint.statistics import Scores

        scores = Scores(results)
        scored = {t.name: {label: scores.score(t.name, label) for label in results.routes} for t in results.tasks}
        rows = [
            (label, str(route), *(str(scored[t][label]) for t in scored)) for label, route in results.routes.items()
        ]
        caption = "Scores with 95 % intervals over items."
        table = Table("rotations", "Every stretch", caption, ("rotated", "route", *scored), rows)
        summary = f"Each stretch of {self.width} layers of {results.model} was rotated by one."
        return Report(f"Rotations of {results.model}", [summary, *map(_worst, scored.items())], [_draw(scored), table])


def _worst(task_scores: tuple[str, Mapping[str, Estimate]]) -> str:
    task, scores = task_scores
    label = min(scores, key=lambda label: scores[label].value)
    return f"{task}: {scores['baseline']} unchanged; lowest {label}, {scores[label]}."


def _draw(scored: Mapping[str, Mapping[str, Estimate]]) -> Figure:
    from mechpaint.display.figures import COLOURS, axes, legend, style
    from mechpaint.report import Figure

    drawing, (ax,) = axes()
    for i, (task, scores) in enumerate(scored.items()):
        values = [score.value for label, score in scores.items() if label != "baseline"]
        ax.plot(range(len(values)), values, label=task, **style(i))
        ax.axhline(scores["baseline"].value, color=COLOURS[i], linestyle=":")
    ax.set_xlabel("first layer of the stretch")
    ax.set_ylabel("score")
    legend(ax)
    caption = "Dotted: the unchanged model."
    alt = "Line chart of scores against the first layer of the rotated stretch, one line a task."
    return Figure("scores", "Where the order matters", caption, alt, drawing)
