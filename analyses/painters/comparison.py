"""Models side by side: each variant against the percentage of layers affected, as in figure 12."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float

from mechpaint.analyses.claims import Claim, claims_table, disambiguate
from mechpaint.analyses.painters.curves import CURVES, Curves, Draws
from mechpaint.analyses.painters.figures import FLOOR, scale_lines
from mechpaint.analyses.painters.variants import Variant
from mechpaint.display.figures import banded, clip_below, legend, panels, shared_legend, style
from mechpaint.report import Figure, Section, Table
from mechpaint.statistics.bootstrap import combine, estimate
from mechpaint.statistics.results import Results

ALIKE = 0.1
"""Curves whose means differ by at most this count as one common curve."""
_GRID = 101
_SKIP = "skip"


@dataclass(frozen=True)
class Model:
    """One of the runs: the unique name of its model, and scores on the tasks that all runs share."""

    name: str
    curves: Curves

    def percentages(self, curve: str) -> Float[np.ndarray, " start"]:
        """The percentage of layers affected at each start layer of a curve, ascending."""
        affected = [self.curves.affected(start) for start in self._starts(curve)]
        return 100 * np.array(affected, dtype=float) / self.curves.n_layers

    def draws(self, curve: str) -> Float[np.ndarray, "start draw"]:
        """The median over tasks at each start layer."""
        return np.stack([self.curves.median(curve, start) for start in self._starts(curve)])

    def mean(self, curve: str, low: float, high: float) -> Draws:
        """The mean of the linear interpolation between two percentages."""
        at = np.linspace(low, high, _GRID)
        xs, values = self.percentages(curve), self.draws(curve)
        return np.mean([_between(x, xs, values) for x in at], axis=0)

    def _starts(self, curve: str) -> list[int]:
        return sorted(self.curves.starts(curve), reverse=True)


def beside(results: Sequence[Results]) -> list[Section]:
    """Draw figure 12, the other variants and their means, on the tasks that every model can do.

    Empty if the runs share no such task, or no variant at two percentages or more.
    """
    models = _models(results)
    ran = [c for c in CURVES if models and all(len(m.curves.starts(c)) > 1 for m in models)]
    shared = {curve: ends for curve in ran if (ends := _range(models, curve)) is not None}
    if not shared:
        return []
    others = [curve for curve in shared if curve != _SKIP]
    sizes = {model.curves.n_layers for model in models}
    return [
        *([_claims(_one_curve(models, *shared[_SKIP]))] if _SKIP in shared and len(sizes) > 1 else []),
        *(
            [_figure(models, "figure-12", "Skipping the middle, by percentage of layers", [_SKIP])]
            if _SKIP in shared
            else []
        ),
        *(
            [_figure(models, "figure-12-others", "The other variants, by percentage of layers", others)]
            if others
            else []
        ),
        _means_table(models, shared),
    ]


def _models(results: Sequence[Results]) -> list[Model]:
    """The runs, scored on the tasks that all have and can do; empty if there are none."""
    names = disambiguate([run.model for run in results])
    tasks = [task.name for task in results[0].tasks]
    tasks = [task for task in tasks if all(task in {t.name for t in run.tasks} for run in results)]
    while tasks:  # until every model can do every remaining task
        curves = [Curves(_variants(run), _only(run, tasks)) for run in results]
        done = [task for task in tasks if all(task in {t.name for t in c.scores.tasks} for c in curves)]
        if done == tasks:
            return [Model(name, each) for name, each in zip(names, curves, strict=True)]
        tasks = done
    return []


def _variants(run: Results) -> list[Variant]:
    """The painters' experiments among the hook sets of a run."""
    return [variant for label in run.routes if (variant := Variant.parse(label)) is not None]


def _only(run: Results, tasks: list[str]) -> Results:
    """Restrict results to some tasks, in this order."""
    facts = {task.name: task for task in run.tasks}
    records = run.records[run.records["task"].isin(tasks)]
    return replace(run, records=records, tasks=tuple(facts[task] for task in tasks))


def _between(x: float, xs: Float[np.ndarray, " start"], values: Float[np.ndarray, "start draw"]) -> Draws:
    """Interpolate linearly between the two points around x."""
    right = int(np.clip(np.searchsorted(xs, x), 1, len(xs) - 1))
    share = (x - xs[right - 1]) / (xs[right] - xs[right - 1])
    return (1 - share) * values[right - 1] + share * values[right]


def _range(models: Sequence[Model], curve: str) -> tuple[float, float] | None:
    """The range of percentages that all models cover."""
    low = max(float(m.percentages(curve)[0]) for m in models)
    high = min(float(m.percentages(curve)[-1]) for m in models)
    return (low, high) if low < high else None


def _one_curve(models: Sequence[Model], low: float, high: float) -> Claim:
    """Test A.1: the distance between the means of the highest and lowest curve."""
    means = [m.mean(_SKIP, low, high) for m in models]
    apart = estimate(combine(means, np.ptp))
    decided = "held" if apart.high < ALIKE else "not held" if apart.low > ALIKE else "undecided"
    each = ", ".join(f"{m.name} {estimate(mean)}" for m, mean in zip(models, means, strict=True))
    evidence = (
        f"means from {low:.0f} % to {high:.0f} % of the layers skipped: {each}; highest minus lowest {apart} (held if "
        f"below {ALIKE})"
    )
    text = "Skipping the same percentage of layers costs the same at any model size."
    return Claim("A.1, figure 12", text, decided, evidence)


def _claims(claim: Claim) -> Table:
    caption = "Scores are medians over the tasks that all models can do, normalised for each model separately."
    return claims_table([claim], f"{caption} Intervals are 95 % bootstrap intervals.")


def _figure(models: Sequence[Model], name: str, title: str, curves: Sequence[str]) -> Figure:
    """Draw one panel per variant, one line per model."""
    columns = min(3, len(curves))
    drawing, drawn = panels(len(curves), columns, 10.0 if columns > 1 else 7.2, 4.3 if columns == 1 else 2.9)
    for at, (ax, curve) in enumerate(zip(drawn, curves, strict=True)):
        for i, model in enumerate(models):
            estimates = [estimate(draws) for draws in model.draws(curve)]
            banded(ax, model.percentages(curve).tolist(), estimates, model.name, {**style(i), "linewidth": 1.6})
        scale_lines(ax)
        ax.set_xlim(0, 100)
        if columns > 1:
            ax.set_title(curve, fontsize=10)
        if at:
            ax.sharey(drawn[0])
        if at % columns == 0:
            ax.set_ylabel("normalised score")
        if at + columns >= len(curves):
            ax.set_xlabel("layers affected, %")
    drawn[0].autoscale(axis="y")
    for ax in drawn:
        clip_below(ax, FLOOR)
    shared_legend(drawing, drawn[0], 4) if columns > 1 else legend(drawn[0])
    tasks = ", ".join(task.name for task in models[0].curves.scores.tasks)
    caption = (
        f"The {models[0].curves.value} ({tasks}) against the percentage of layers affected, {', '.join(curves)}; 0 is "
        "chance, 1 the full model. Bands: 95 % bootstrap intervals. Paper: A.1, figure 12."
    )
    alt = f"Line charts of normalised score against the percentage of affected layers, one line each: {_names(models)}."
    return Figure(name, title, caption, alt, drawing)


def _means_table(models: Sequence[Model], shared: dict[str, tuple[float, float]]) -> Table:
    rows = [
        (curve, f"{low:.0f} % to {high:.0f} %", *(estimate(m.mean(curve, low, high)) for m in models))
        for curve, (low, high) in shared.items()
    ]
    depths = ", ".join(f"{m.name} has {m.curves.n_layers} layers" for m in models)
    caption = (
        "Means of the curves over the percentages that all models cover, interpolated linearly, with 95 % bootstrap "
        f"intervals. {depths}."
    )
    columns = ("variant", "layers affected", *(m.name for m in models))
    return Table("percentages", "Means over percentages", caption, columns, rows)


def _names(models: Sequence[Model]) -> str:
    return ", ".join(m.name for m in models)
