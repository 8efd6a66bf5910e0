"""The claims of sections 4.2 and 6 of "Birth of a Transformer", tested."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mechpaint.analyses.claims import Claim, over_seeds
from mechpaint.analyses.memories.constructing import CONSTRUCTED
from mechpaint.analyses.memories.findings import HEADS, NAMES, Findings, extent, places
from mechpaint.analyses.memories.records import Setting
from mechpaint.analyses.memories.sources import RANDOM, REAL, SOURCES, UNIFORM, VOCABULARY, Source
from mechpaint.analyses.memories.stepping import DOWN, MORE, UP
from mechpaint.analyses.seeds import Values, spread
from mechpaint.toy.gradients import TOP_DOWN

WORKS = 0.95
"""The in-context accuracy at which a constructed head counts as working."""
RECALLED = 0.9
"""The recall at which a memory counts as found."""
_THEORY = Source(UNIFORM, RANDOM)


def claims(findings: Findings) -> list[Claim]:
    """Test every claim that the settings allow."""
    real = [source for source in SOURCES if source.data == REAL]
    tests = (
        _head(findings),
        _cross_talk(findings),
        _first_step_limit(findings),
        _first_step(findings, [_THEORY], "on uniform bigrams"),
        _first_step(findings, real, "on real bigrams"),
        _three_steps(findings, [_THEORY], [Setting.LIMIT], "in infinitely many dimensions, on uniform bigrams"),
        _three_steps(findings, real, [Setting.LIMIT], "in infinitely many dimensions, on real bigrams"),
        _three_steps(findings, SOURCES, findings.step_dims[:-1], "in finite dimension"),
        _order(findings),
    )
    return [claim for claim in tests if claim is not None]


def lowest_working(findings: Findings) -> int | None:
    """The smallest width at which constructed heads work on all lengths and triggers, averaged over seeds."""
    working = [dim for dim in findings.dims if min(accuracies(findings, dim)) >= WORKS]
    return working[0] if working else None


def accuracies(findings: Findings, dim: int, stage: str = CONSTRUCTED) -> list[float]:
    """Mean accuracies over seeds, one per length and kind of trigger."""
    return [float(findings.head(s, dim, length, stage).mean()) for s in HEADS for length in findings.lengths]


def _head(findings: Findings) -> Claim:
    largest = findings.dims[-1]
    means = np.array(accuracies(findings, largest))
    seeds = np.concatenate([findings.head(s, largest, n, CONSTRUCTED) for s in HEADS for n in findings.lengths])
    first = lowest_working(findings)
    reached = f"all means are {WORKS} or more from d = {first}" if first else f"no width has all means at {WORKS}"
    return Claim(
        "§4.2",
        "An induction head can be constructed as three sums of outer products of random vectors.",
        "held" if means.min() >= WORKS else "not held",
        f"in-context accuracy at d = {largest}, before mending: means {extent(means)}, single models "
        f"{extent(seeds)}; {reached}",
    )


def _cross_talk(findings: Findings) -> Claim | None:
    if len(findings.dims) < 2:
        return None
    wrong = {
        dim: np.mean([findings.error_rates(source, dim, CONSTRUCTED)[1] for source in HEADS], axis=0)
        for dim in findings.dims
    }
    falling = np.all([wrong[b] < wrong[a] for a, b in zip(findings.dims, findings.dims[1:], strict=False)], axis=0)
    evidence = ", ".join(f"d = {dim}: {spread(values, 4)}" for dim, values in wrong.items())
    return Claim(
        "§4.2",
        "Random vectors become more orthogonal with dimension, so that cross-talk vanishes.",
        over_seeds(falling, *wrong.values()),
        f"error rates where the trigger does not open the sequence: {evidence}",
    )


def _first_step_limit(findings: Findings) -> Claim:
    values = {source: float(findings.first_step(source, Setting.LIMIT)[0]) for source in SOURCES}
    return Claim(
        "§6, lemma",
        "A single gradient step on W_O² finds the output memory, in infinitely many dimensions.",
        over_seeds([value == 1 for value in values.values()], np.array([*values.values()])),
        "recall: " + ", ".join(f"{source.described} {value:.3f}" for source, value in values.items()),
    )


def _first_step(findings: Findings, sources: Sequence[Source], where: str) -> Claim:
    largest = findings.dims[-1]
    seeds = np.concatenate([findings.first_step(source, largest) for source in sources])
    listed = "; ".join(
        f"{source.described} {', '.join(spread(findings.first_step(source, dim)) for dim in findings.dims)}"
        for source in sources
    )
    return Claim(
        "§6, lemma",
        f"A single gradient step on W_O² finds the output memory in finite dimension too, {where}.",
        over_seeds(seeds >= RECALLED, seeds),
        f"recall at d = {', '.join(map(str, findings.dims))}: {listed} (held if every model reaches {RECALLED} at "
        f"d = {largest})",
    )


def _three_steps(findings: Findings, sources: Sequence[Source], dims: Sequence[int], where: str) -> Claim:
    listed: list[str] = []
    every: list[Values] = []
    for source in sources:
        for dim in dims:
            own = [findings.own_recall(source, dim, matrix) for matrix in TOP_DOWN]
            every += own
            listed.append(f"{source.described}, {places(dim)}: {_listed(own)}")
            more = [findings.own_recall(source, dim, matrix, MORE) for matrix in TOP_DOWN]
            if all(map(len, more)):
                listed.append(f"with {MORE}, one model: {_listed(more)}")
    lowest = float(np.min([values.mean() for values in every]))  # NaN if one is
    return Claim(
        "§6",
        f"Three steps, top-down, find all three memories {where}.",
        "held" if lowest >= RECALLED else "not held" if lowest < 0.5 else "undecided",
        f"recall after the memory's own step: {'; '.join(listed)} (held if all means are at least {RECALLED}, "
        "undecided from 0.5)",
    )


def _order(findings: Findings) -> Claim:
    """Bottom-up, the keys get no gradient, apart from accidental direct effects of the residual stream."""
    keys = ("W_K^2", "W_K^1")
    chance = {"W_K^2": 1 / VOCABULARY, "W_K^1": 1 / (findings.step_length - 1)}
    listed: list[str] = []
    nothing: list[bool] = []
    compared: list[Values] = []
    for variant, source, dim in findings.variants():
        if variant != UP:
            continue
        up, down = ([findings.own_recall(source, dim, matrix, v) for matrix in keys] for v in (UP, DOWN))
        compared += up
        nothing += [bool(np.all(a < 4 * chance[m])) for m, a in zip(keys, up, strict=True)]
        listed.append(f"{places(dim)}, bottom-up {_listed(up, keys)}, top-down {_listed(down, keys)}")
    limit = {m: findings.own_recall(_THEORY, Setting.LIMIT, m) for m in keys}
    found_down = all(limit[m].mean() >= 10 * chance[m] for m in keys)
    return Claim(
        "§6, figure 3",
        "The order matters: bottom-up, a step on the keys finds nothing.",
        over_seeds([*nothing, found_down], *compared, *limit.values()),
        f"recall after the memory's own step, uniform bigrams: {'; '.join(listed)} (held if bottom-up stays below "
        f"four times chance, {chance['W_K^2']:.3f}, and top-down in infinitely many dimensions exceeds ten times)",
    )


def _listed(values: Sequence[Values], names: Sequence[str] = TOP_DOWN) -> str:
    return ", ".join(f"{NAMES[name]} {spread(own)}" for name, own in zip(names, values, strict=True))
