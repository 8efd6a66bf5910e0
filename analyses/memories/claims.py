"""What sections 4.2 and 6 of "Birth of a Transformer" claim, tested on what was measured here."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mechpaint.analyses.claims import Claim, over_seeds
from mechpaint.analyses.memories.constructing import CONSTRUCTED
from mechpaint.analyses.memories.findings import HEADS, NAMES, Found, Values, extent, places, spread
from mechpaint.analyses.memories.records import Setting
from mechpaint.analyses.memories.sources import RANDOM, REAL, SOURCES, UNIFORM, VOCABULARY, Source
from mechpaint.analyses.memories.stepping import DOWN, MORE, UP
from mechpaint.toy.gradients import TOP_DOWN

WORKS = 0.95
"""The in-context accuracy from which a constructed head counts as one."""
RECALLED = 0.9
"""The recall from which a memory counts as found."""
_THEORY = Source(UNIFORM, RANDOM)


def claims(found: Found) -> list[Claim]:
    """Every claim that the settings can speak to."""
    real = [source for source in SOURCES if source.data == REAL]
    tests = (
        _head(found),
        _cross_talk(found),
        _first_step_limit(found),
        _first_step(found, [_THEORY], "on uniform bigrams"),
        _first_step(found, real, "on real bigrams"),
        _three_steps(found, [_THEORY], [Setting.LIMIT], "in infinitely many dimensions, on uniform bigrams"),
        _three_steps(found, real, [Setting.LIMIT], "in infinitely many dimensions, on real bigrams"),
        _three_steps(found, SOURCES, found.step_dims[:-1], "in finite dimension"),
        _order(found),
    )
    return [claim for claim in tests if claim is not None]


def lowest_working(found: Found) -> int | None:
    """The smallest width from which constructed heads work on all lengths and triggers, in the mean over seeds."""
    working = [dim for dim in found.dims if min(accuracies(found, dim)) >= WORKS]
    return working[0] if working else None


def accuracies(found: Found, dim: int, stage: str = CONSTRUCTED) -> list[float]:
    """Mean accuracies over seeds, one for each length and kind of triggers."""
    return [float(found.head(s, dim, length, stage).mean()) for s in HEADS for length in found.lengths]


def _head(found: Found) -> Claim:
    largest = found.dims[-1]
    means = np.array(accuracies(found, largest))
    seeds = np.concatenate([found.head(s, largest, n, CONSTRUCTED) for s in HEADS for n in found.lengths])
    first = lowest_working(found)
    reached = f"all means are {WORKS} or more from d = {first}" if first else f"no width has all means at {WORKS}"
    return Claim(
        "§4.2",
        "An induction head can be written down as three sums of outer products over random vectors.",
        "held" if means.min() >= WORKS else "not held",
        f"in-context accuracy at d = {largest}, before any mending: means {extent(means)}, single models "
        f"{extent(seeds)}; {reached}",
    )


def _cross_talk(found: Found) -> Claim | None:
    if len(found.dims) < 2:
        return None
    wrong = {
        dim: np.mean([found.error_rates(source, dim, CONSTRUCTED)[1] for source in HEADS], axis=0) for dim in found.dims
    }
    falling = np.all([wrong[b] < wrong[a] for a, b in zip(found.dims, found.dims[1:], strict=False)], axis=0)
    evidence = ", ".join(f"d = {dim}: {spread(values, 4)}" for dim, values in wrong.items())
    return Claim(
        "§4.2",
        "Random vectors are the more orthogonal the more dimensions there are, so that cross-talk dies out.",
        over_seeds(falling),
        f"wrong answers where the trigger does not open the sequence: {evidence}",
    )


def _first_step_limit(found: Found) -> Claim:
    values = {source: float(found.first_step(source, Setting.LIMIT)[0]) for source in SOURCES}
    return Claim(
        "§6, lemma",
        "The first gradient step on W_O² alone finds the output memory, in infinitely many dimensions.",
        over_seeds([value == 1 for value in values.values()]),
        "recall: " + ", ".join(f"{source.described} {value:.3f}" for source, value in values.items()),
    )


def _first_step(found: Found, sources: Sequence[Source], where: str) -> Claim:
    largest = found.dims[-1]
    seeds = np.concatenate([found.first_step(source, largest) for source in sources])
    told = "; ".join(
        f"{source.described} {', '.join(spread(found.first_step(source, dim)) for dim in found.dims)}"
        for source in sources
    )
    return Claim(
        "§6, lemma",
        f"The first gradient step on W_O² finds it in finite dimension too, {where}.",
        over_seeds(seeds >= RECALLED),
        f"recall at d = {', '.join(map(str, found.dims))}: {told} (held if every model has {RECALLED} or more at "
        f"d = {largest})",
    )


def _three_steps(found: Found, sources: Sequence[Source], dims: Sequence[int], where: str) -> Claim:
    told: list[str] = []
    every: list[Values] = []
    for source in sources:
        for dim in dims:
            own = [found.own_recall(source, dim, matrix) for matrix in TOP_DOWN]
            every += own
            told.append(f"{source.described}, {places(dim)}: {_listed(own)}")
            more = [found.own_recall(source, dim, matrix, MORE) for matrix in TOP_DOWN]
            if all(map(len, more)):
                told.append(f"the same with {MORE}, one model: {_listed(more)}")
    lowest = min(float(values.mean()) for values in every)
    return Claim(
        "§6",
        f"Three steps from top to bottom find all three memories {where}.",
        "held" if lowest >= RECALLED else "undecided" if lowest >= 0.5 else "not held",
        f"recall after the memory's own step: {'; '.join(told)} (held if all means are {RECALLED} or more, undecided "
        "from 0.5)",
    )


def _order(found: Found) -> Claim:
    """Bottom-up, the keys get no gradient, or only one from what the residual stream says by accident."""
    keys = ("W_K^2", "W_K^1")
    chance = {"W_K^2": 1 / VOCABULARY, "W_K^1": 1 / (found.step_length - 1)}
    told: list[str] = []
    nothing: list[bool] = []
    for variant, source, dim in found.variants():
        if variant != UP:
            continue
        up, down = ([found.own_recall(source, dim, matrix, v) for matrix in keys] for v in (UP, DOWN))
        nothing += [bool(np.all(a < 4 * chance[m])) for m, a in zip(keys, up, strict=True)]
        told.append(f"{places(dim)}, bottom-up {_listed(up, keys)}, top-down {_listed(down, keys)}")
    found_down = all(found.own_recall(_THEORY, Setting.LIMIT, m).mean() >= 10 * chance[m] for m in keys)
    return Claim(
        "§6, figure 3",
        "The order matters: from the bottom up, a step on the keys finds nothing.",
        over_seeds([*nothing, found_down]),
        f"recall after the memory's own step, uniform bigrams: {'; '.join(told)} (held if bottom-up is under four "
        f"times chance, {chance['W_K^2']:.3f}, and top-down in infinitely many dimensions over ten times)",
    )


def _listed(values: Sequence[Values], names: Sequence[str] = TOP_DOWN) -> str:
    return ", ".join(f"{NAMES[name]} {spread(own)}" for name, own in zip(names, values, strict=True))
