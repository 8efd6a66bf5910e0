"""The claims of the painters' paper, tested."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from mechpaint.analyses.claims import Claim
from mechpaint.analyses.painters.curves import Curves, Draws, count
from mechpaint.statistics.bootstrap import combine, estimate, number, ranked, verdict

REORDERING = ("reverse", "random order")
_REASONING = ("counting", "arithmetic")
_AGAIN = {2: "middle twice", 3: "middle three times"}


def claims(curves: Curves) -> list[Claim]:
    """Test every claim that the measured variants allow."""
    if not curves.scores.tasks:  # nothing is lost by rerouting a model that is at chance, such as an untrained one
        return []
    return [claim for test in _TESTS if (claim := test(curves)) is not None]


def _better(curves: Curves, where: str, text: str, better: str, worse: str) -> Claim | None:
    """Test that one variant beats another: the paired difference of mean medians over start layers.

    From 3 affected layers on, since with a single one most variants are the full model.
    """
    shared = curves.shared_starts((better, worse), 3)
    if not shared:
        return None
    difference = estimate(curves.area(better, shared) - curves.area(worse, shared))
    evidence = (
        f"{curves.mean_values} with 3 layers affected or more: {_listed(curves, (better, worse), shared)}; "
        f"{better} minus {worse} {difference}"
    )
    return Claim(where, text, verdict(difference), evidence)


def _listed(curves: Curves, which: Sequence[str], starts: Sequence[int]) -> str:
    """The mean of each of some curves, in words."""
    return ", ".join(f"{curve} {number(curves.area(curve, starts)[0])}" for curve in which)


def _single_layers(curves: Curves) -> Claim | None:
    """Test figure 2: the ends matter, the middle does not."""
    n = curves.n_layers
    if n < 6:
        return None
    middle = range(3, n - 3) if n >= 8 else range(2, n - 2)
    test = _single_layers_by_perplexity if curves.with_perplexity() else _single_layers_by_score
    decided, evidence = test(curves, middle)
    text = "Skipping one of the first or last layers is catastrophic; skipping a middle layer is mild."
    return Claim("§3.1, figure 2", text, decided, evidence)


def _single_layers_by_perplexity(curves: Curves, middle: range) -> tuple[str, str]:
    n = curves.n_layers
    ratios = {layer: curves.perplexity_ratio("skip_idx_layer", layer) for layer in range(n)}
    first, last = (combine([ratios[a], ratios[b]], np.max) for a, b in ((0, 1), (n - 1, n - 2)))
    typical = combine([ratios[layer] for layer in middle], np.median)
    with np.errstate(invalid="ignore"):  # with infinite perplexities nothing is decided
        least = estimate(combine([first - 3 * typical, last - 3 * typical], np.min))
    return (
        verdict(least),
        f"skipping multiplies the perplexity by {estimate(first)} at the worse of the first two layers, by "
        f"{estimate(last)} at the worse of the last two, and by {estimate(typical)} at the median of layers "
        f"{middle[0]} to {middle[-1]} (held if both exceed three times that)",
    )


def _single_layers_by_score(curves: Curves, middle: range) -> tuple[str, str]:
    """Decide by score: mild leaves more than half of it, catastrophic less."""
    n = curves.n_layers
    left = {layer: curves.single_median("skip_idx_layer", layer) for layer in range(n)}
    first, last = (combine([left[a], left[b]], np.min) for a, b in ((0, 1), (n - 2, n - 1)))
    typical = combine([left[layer] for layer in middle], np.median)
    least = estimate(combine([0.5 - first, 0.5 - last, typical - 0.5], np.min))
    return (
        verdict(least),
        f"the {curves.value} is {estimate(first)} at the worse of the first two layers, {estimate(last)} at the worse "
        f"of the last two, {estimate(typical)} at the median of layers {middle[0]} to {middle[-1]} (held if the "
        "first two are below one half and the last is above)",
    )


def _graceful(method: str, where: str, name: str) -> Callable[[Curves], Claim | None]:
    """Test that with up to a fifth of the layers affected, half the score remains."""

    def test(curves: Curves) -> Claim | None:
        starts = [s for s in curves.starts(method) if 1 < curves.affected(s) <= max(3, curves.n_layers / 5)]
        if not starts:
            return None
        scores = {curves.affected(s): estimate(curves.median(method, s)) for s in starts}
        worst = min(scores.values(), key=lambda e: e.value)
        decided = "held" if worst.low > 0.5 else "not held" if worst.high < 0.5 else "undecided"
        listed = ", ".join(f"{e} with {count(m)} affected" for m, e in sorted(scores.items()))
        evidence = f"the {curves.value} is {listed} (held if above 0.5)"
        return Claim(where, f"{name} degrades gracefully: a few middle layers cost less than half.", decided, evidence)

    return test


def _worst_of_all(curves: Curves) -> Claim | None:
    others = [m for m in ("skip", "reverse", "random order", "parallel", "looped parallel") if curves.starts(m)]
    shared = curves.shared_starts(("middle repeat", *others), 3)
    if not shared or not others:
        return None
    areas = {m: curves.area(m, shared) for m in others}
    nearest = min(others, key=lambda m: areas[m][0])
    difference = estimate(combine([*areas.values()], np.min) - curves.area("middle repeat", shared))
    return Claim(
        "§3.3, §3.8, figures 5 and 11",
        "Repeating the centre layer is the worst of all variants.",
        verdict(difference),
        f"{curves.mean_values} with 3 layers affected or more: {_listed(curves, ('middle repeat', *others), shared)}; "
        f"the worst of the others, {nearest}, minus middle repeat {difference}",
    )


def _least_harmful(curves: Curves) -> Claim | None:
    """Test §3.8: looped parallel and random order are the two best."""
    top, rest = ("looped parallel", "random order"), ("skip", "reverse", "parallel", "middle repeat")
    shared = curves.shared_starts((*top, *rest), 3)
    if not shared:
        return None
    worst_top = combine([curves.area(m, shared) for m in top], np.min)
    best_rest = combine([curves.area(m, shared) for m in rest], np.max)
    difference = estimate(worst_top - best_rest)
    return Claim(
        "§3.8, figure 11",
        "Looped parallel and random order are the two least harmful variants.",
        verdict(difference),
        f"{curves.mean_values} with 3 layers affected or more: {_listed(curves, (*top, *rest), shared)}; the worse "
        f"of the two minus the best of the others {difference}",
    )


def _order_matters_to_reasoning(curves: Curves) -> Claim | None:
    """Test §3.6: mathematics depends on order most.

    With many layers affected, every task is at its floor, and floors differ. So at most a third of the layers count,
    and scores below chance count as chance.
    """
    usable = [t.name for t in curves.scores.tasks]
    reasoning = [t for t in usable if t.partition(":")[0] in _REASONING]
    semantic = [t for t in usable if t not in reasoning]
    few = [s for s in curves.shared_starts(REORDERING, 3) if curves.affected(s) <= max(3, curves.n_layers / 3)]
    if not reasoning or not semantic or not few:
        return None

    def score(task: str) -> Draws:
        return combine([np.maximum(curves.task(task, c, s), 0) for c in REORDERING for s in few], np.mean)

    mathematics = combine([score(t) for t in reasoning], np.mean)
    others = {t: score(t) for t in semantic}
    difference = estimate(combine(list(others.values()), np.mean) - mathematics)
    listed = ", ".join(f"{t} {number(draws[0])}" for t, draws in others.items())
    return Claim(
        "§3.6",
        "Mathematics depends on the order of layers more than other tasks do.",
        verdict(difference),
        f"under reverse and random order, {min(map(curves.affected, few))} to {count(max(map(curves.affected, few)))} "
        f"affected, scores below chance counted as chance: {', '.join(reasoning)} {number(mathematics[0])}, {listed}; "
        f"the mean of the others minus mathematics {difference}",
    )


def _never_better_than_full(curves: Curves) -> Claim | None:
    """Test A.6, figure 17: running the middle again never helps."""
    scores = {
        (times, s): estimate(curves.median(_AGAIN[times], s)) for times in (2, 3) for s in curves.starts(_AGAIN[times])
    }
    if not scores:
        return None
    order = ranked(scores, highest_first=True)
    if not order:
        return None
    (times, start), best = order[0], scores[order[0]]
    decided = "held" if best.value <= 1 else "undecided" if best.low <= 1 else "not held"
    return Claim(
        "A.6, figure 17",
        "Running the middle layers two or three times never beats the full model.",
        decided,
        f"the {curves.value} is at best {best}, with {count(curves.affected(start))} run {times} times (full model: 1)",
    )


def _loop_against_once(curves: Curves) -> Claim | None:
    return _better(
        curves, "§3.7, figure 9", "Looping the parallel layers is clearly better than running them once.",
        "looped parallel", "parallel",
    )  # fmt: skip


_TESTS: Sequence[Callable[[Curves], Claim | None]] = (
    _single_layers,
    _graceful("skip", "§3.2, figure 4", "Skipping the middle"),
    _worst_of_all,
    _graceful("reverse", "§3.4, figure 6", "Reversing the middle"),
    _graceful("random order", "§3.4, figure 7", "A random order of the middle"),
    lambda c: _better(c, "§3.4", "Reversing is better than skipping.", "reverse", "skip"),
    lambda c: _better(c, "§3.4", "A random order is better than the reversed one.", "random order", "reverse"),
    _graceful("parallel", "§3.5, figure 8", "Running the middle in parallel"),
    lambda c: _better(c, "§3.5", "Parallel layers are better than skipped ones.", "parallel", "skip"),
    lambda c: _better(c, "§3.5", "Reversed layers are better than parallel ones.", "reverse", "parallel"),
    _order_matters_to_reasoning,
    _loop_against_once,
    _least_harmful,
    _never_better_than_full,
)
