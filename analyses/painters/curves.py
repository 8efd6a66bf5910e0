"""The painters' curves: normalised scores against the number of affected layers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from mechpaint.analyses.painters.variants import Variant
from mechpaint.routes.route import Route
from mechpaint.statistics.bootstrap import HookSets, Scores
from mechpaint.statistics.random_effects import Drawn
from mechpaint.statistics.results import Results, TaskFacts

Draws = Float[np.ndarray, " draw"]

_BY_METHOD = {
    "skip": "skip",
    "middle_repeat": "middle repeat",
    "reverse": "reverse",
    "random": "random order",
    "pairs": "summed pairs",
}
CURVES = (
    *("skip", "middle repeat", "reverse", "random order", "parallel", "looped parallel"),
    *("summed pairs", "middle twice", "middle three times"),
)

MIDDLE = (
    "layers 0 to N and the last N stay in place, N being the start layer, and the M in between are affected. 0 is "
    "chance, 1 the full model."
)
"""What N, M and a normalised score are: said where they first occur."""


class Curves:
    """The curves of some variants.

    A *curve*, one of `CURVES`, is a method or one of its settings: `parallel` and `looped parallel` are
    `loop_parallel` once and at its highest repeat. `random order` is the mean over its seeds, a sample of all orders.
    """

    def __init__(self, variants: Sequence[Variant], results: Results) -> None:
        self.n_layers = results.n_layers
        self.results = results
        self.scores = Scores(results)
        most = max((v.repeat_or_seed or 1 for v in variants if v.method == "loop_parallel"), default=1)
        self.loops = most
        experiments: dict[tuple[str, int], list[Variant]] = {}
        for v in variants:
            if (curve := _curve(v, most)) is not None:
                experiments.setdefault((curve, v.start_layer), []).append(v)
        self._hook_sets = {at: _hook_sets(variants_at) for at, variants_at in experiments.items()}

    def routes(self) -> dict[str, Route]:
        """One route of each curve for illustration, with about half of the layers affected."""
        routes: dict[str, Route] = {}
        for curve in CURVES:
            starts = self.starts(curve)
            if starts:
                start = min(starts, key=lambda s: abs(self.affected(s) - self.n_layers / 2))
                label = self.labels(curve, start)[0]
                routes[f"{curve}, {count(self.affected(start))}"] = self.results.routes[label]
        return routes

    def affected(self, start_layer: int) -> int:
        """M = T - 2N - 1."""
        return self.n_layers - 2 * start_layer - 1

    def starts(self, curve: str) -> list[int]:
        """The start layers for which a curve was run."""
        return sorted(start for name, start in self._hook_sets if name == curve)

    def shared_starts(self, curves: Sequence[str], least_affected: int) -> list[int]:
        """The start layers that all curves share, with at least this many layers affected."""
        common = set.intersection(*(set(self.starts(c)) for c in curves))
        return sorted(s for s in common if self.affected(s) >= least_affected)

    def labels(self, curve: str, start_layer: int) -> Sequence[str]:
        """The labels of the hook sets that a curve averages: one, or all random orders."""
        hook_sets = self._hook_sets[curve, start_layer]
        return hook_sets.labels if isinstance(hook_sets, Drawn) else hook_sets

    def median(self, curve: str, start_layer: int) -> Draws:
        """The median over tasks."""
        return self.scores.median(self._hook_sets[curve, start_layer])

    def one(self, curve: str, start_layer: int, member: int) -> Draws:
        """The median over tasks of a single hook set of a curve."""
        return self.scores.median([self.labels(curve, start_layer)[member]])

    def task(self, task: str, curve: str, start_layer: int) -> Draws:
        """One task's score."""
        return self.scores.of_task(task, self._hook_sets[curve, start_layer])

    def area(self, curve: str, starts: Sequence[int]) -> Draws:
        """The mean over start layers of the median over tasks."""
        return np.mean([self.median(curve, s) for s in starts], axis=0)

    def task_area(self, task: str, curve: str, starts: Sequence[int]) -> Draws:
        """The mean over start layers of one task's score."""
        return np.mean([self.task(task, curve, s) for s in starts], axis=0)

    @property
    def value(self) -> str:
        """The name of the values; with a single task there is no median."""
        return "median over tasks" if len(self.scores.tasks) > 1 else "score"

    @property
    def mean_values(self) -> str:
        """The name of their means over start layers."""
        return "mean medians" if len(self.scores.tasks) > 1 else "mean scores"

    def with_perplexity(self) -> list[TaskFacts]:
        """The tasks that have log-probabilities."""
        return [task for task in self.results.tasks if self.scores.has_perplexity(task.name)]

    def without_perplexity(self) -> list[TaskFacts]:
        """The tasks without log-probabilities whose score can be normalised."""
        return [task for task in self.scores.tasks if not self.scores.has_perplexity(task.name)]

    def perplexity(self, task: str, method: str, layer: int) -> Draws:
        """The perplexity of right answers, with one layer skipped or switched."""
        return self.scores.perplexity(task, str(Variant(method, layer)))

    def perplexity_ratio(self, method: str, layer: int) -> Draws:
        """The factor by which perplexity rises over the full model, geometric mean over tasks."""
        with np.errstate(all="ignore"):  # an infinite perplexity stays one
            each = [
                self.perplexity(t.name, method, layer) / self.scores.perplexity(t.name, "baseline")
                for t in self.with_perplexity()
            ]
            return np.exp(np.mean(np.log(each), axis=0))

    def single(self, task: str, method: str, layer: int) -> Draws:
        """A task's score with one layer skipped or switched."""
        return self.scores.of_task(task, [str(Variant(method, layer))])

    def single_median(self, method: str, layer: int) -> Draws:
        """The median over tasks with one layer skipped or switched."""
        return self.scores.median([str(Variant(method, layer))])


def count(number: int, noun: str = "layer") -> str:
    """A number with its noun."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _hook_sets(variants: Sequence[Variant]) -> HookSets:
    """The hook sets that a point of a curve averages."""
    labels = tuple(map(str, variants))
    return Drawn(labels) if all(v.at_random for v in variants) else labels


def _curve(variant: Variant, most_loops: int) -> str | None:
    """The curve of an experiment; None for single layers and intermediate loops."""
    setting = variant.repeat_or_seed
    if variant.method == "loop_parallel":
        return "parallel" if setting == 1 else "looped parallel" if setting == most_loops else None
    if variant.method == "repeat_sequence":
        return {2: "middle twice", 3: "middle three times"}.get(setting or 0)
    return _BY_METHOD.get(variant.method)
