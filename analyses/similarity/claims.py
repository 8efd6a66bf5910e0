"""The painters' claims about hidden states, tested."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np
from jaxtyping import Float

from mechpaint.analyses.claims import Claim
from mechpaint.analyses.similarity.findings import Draws, Findings
from mechpaint.analyses.similarity.labels import FULL
from mechpaint.analyses.similarity.measures import SIMILARITY
from mechpaint.analyses.similarity.spaces import Spaces
from mechpaint.statistics.bootstrap import combine, estimate, verdict

PATTERN = 0.9
"""Above this correlation two patterns of similarities count as the same."""
EXPLODES = 2.0
"""A variance above this multiple of the full model's has exploded."""
_FEWEST_SHARED = 4


def claims(findings: Findings) -> list[Claim]:
    """Test every claim that the states allow: none if the user's own hook sets reroute the model."""
    if findings.rerouted or findings.broken():
        return []
    tested = (
        []
        if findings.spaces is None
        else [_three_spaces(findings, findings.spaces), _middle_is_most(findings, findings.spaces)]
    )
    by_start = (
        _by_start(
            findings, findings.starts(), "Skipping the middle keeps the full model's pattern of similarities.", _skip
        ),
        _by_start(findings, _repeated(findings), "Repeating the centre layer drifts out of the shared space.", _drift),
        _by_start(findings, _repeated(findings), "Repeating the centre layer makes the variance explode.", _explode),
    )
    return [*tested, *(claim for claim in by_start if claim is not None)]


def _three_spaces(findings: Findings, spaces: Spaces) -> Claim:
    """Test that the middle is more alike within than with its outside, and breaks off at its borders."""
    inside = [(a, b) for a in spaces.middle for b in spaces.middle if a < b]
    text = "The layers share three spaces: beginning, middle and ending."
    if not inside:
        return Claim("§3.1, figure 3", text, "not held", f"the middle is {findings.stretch(spaces.middle)} alone")

    def mean(pairs: list[tuple[int, int]]) -> Draws:
        return findings.mean(FULL, SIMILARITY, pairs)

    within = mean(inside)
    before = mean([(a, b) for a in spaces.beginning for b in spaces.middle])
    after = mean([(a, b) for a in spaces.middle for b in spaces.ending])
    into, out = (findings.pair(FULL, SIMILARITY, at - 1, at) for at in (spaces.middle[0], spaces.ending[0]))
    least = combine([findings.pair(FULL, SIMILARITY, *pair) for pair in pairwise(spaces.middle)], np.min)
    margin = combine([within - before, within - after, least - into, least - out], np.min)
    evidence = (
        f"{_split(findings, spaces)}; similarity within the middle {estimate(within)}, between middle and beginning "
        f"{estimate(before)}, between middle and ending {estimate(after)}; of neighbours across the two borders "
        f"{estimate(into)} and {estimate(out)}, of the least similar neighbours within the middle {estimate(least)} "
        "(held if similarity is higher within the middle than with either, and between all its neighbours than across "
        f"either border; the smallest of these margins is {estimate(margin)})"
    )
    return Claim("§3.1, figure 3", text, verdict(estimate(margin)), evidence)


def _split(findings: Findings, spaces: Spaces) -> str:
    stretches = (spaces.beginning, spaces.middle, spaces.ending)
    return ", ".join(
        f"{name} {findings.stretch(stretch)}"
        for name, stretch in zip(("beginning", "middle", "ending"), stretches, strict=True)
    )


def _middle_is_most(findings: Findings, spaces: Spaces) -> Claim:
    states = len(findings.names(FULL))
    held = len(spaces.middle) > states / 2 and len(spaces.ending) <= 2
    evidence = (
        f"of {states} states, {len(spaces.beginning)} are in the beginning, {len(spaces.middle)} in the middle and "
        f"{len(spaces.ending)} in the ending, with the same split in {spaces.sure:.0%} of the resamples (held if more "
        "than half are in the middle and at most two in the ending)"
    )
    text = "The middle holds most layers, the ending one or two."
    return Claim("§3.1, A.3, figures 3 and 14", text, "held" if held else "not held", evidence)


def _by_start(
    findings: Findings, starts: list[int], text: str, test: Callable[[Findings, int], tuple[str, str] | None]
) -> Claim | None:
    """Test a claim of figure 15: held if it holds at every start layer, not held if at none."""
    results = {start: result for start in starts if (result := test(findings, start)) is not None}
    if not results:
        return None
    verdicts = {decided for decided, _ in results.values()}
    evidence = "; ".join(f"N = {start}: {figures}" for start, (_, figures) in results.items())
    return Claim("A.4, figure 15", text, verdicts.pop() if len(verdicts) == 1 else "undecided", evidence)


def _repeated(findings: Findings) -> list[int]:
    """The start layers at which repeating the centre layer changes the route."""
    routes = findings.facts.routes
    return [start for start in findings.starts() if routes[findings.repeat(start)] != routes[FULL]]


def _skip(findings: Findings, start: int) -> tuple[str, str] | None:
    """Compare the states on both routes, pair by pair."""
    label = findings.skip(start)
    names = {name: i for i, name in enumerate(findings.names(FULL))}
    shared = [names[name] for name in findings.names(label)]
    if len(shared) < _FEWEST_SHARED:
        return None
    pairs = np.triu_indices(len(shared), 1)
    here = findings.matrices(label, SIMILARITY)[:, pairs[0], pairs[1]]
    full = findings.matrices(FULL, SIMILARITY)[:, shared][:, :, shared][:, pairs[0], pairs[1]]
    correlation = _correlation(here, full)
    evidence = (
        f"over all pairs of the {len(shared)} shared states, the correlation of similarities on both routes is "
        f"{estimate(correlation)} (held if above {PATTERN}), the largest difference {np.abs(here - full)[0].max():.3f}"
    )
    return verdict(estimate(correlation - PATTERN)), evidence


def _correlation(here: Float[np.ndarray, "draw pair"], full: Float[np.ndarray, "draw pair"]) -> Draws:
    """Pearson's correlation of each draw."""
    x, y = (values - values.mean(axis=1, keepdims=True) for values in (here, full))
    return (x * y).sum(axis=1) / np.sqrt((x**2).sum(axis=1) * (y**2).sum(axis=1))


def _drift(findings: Findings, start: int) -> tuple[str, str]:
    """Compare the states before and after the middle, on both routes."""
    pair = start + 1, findings.facts.n_layers - start
    here, full = (findings.pair(label, SIMILARITY, *pair) for label in (findings.repeat(start), FULL))
    evidence = (
        f"the similarity of the states before and after the middle is {estimate(here)}, in the full model "
        f"{estimate(full)}; difference {estimate(full - here)}"
    )
    return verdict(estimate(full - here)), evidence


def _explode(findings: Findings, start: int) -> tuple[str, str]:
    """Compare variances at the end of the model."""
    here, full = (findings.variance(label, findings.facts.n_layers) for label in (findings.repeat(start), FULL))
    skipped = findings.variance(findings.skip(start), len(findings.names(findings.skip(start))) - 1)
    evidence = (
        f"the variance at the end is {estimate(here / full)} times the full model's (held if above {EXPLODES:g}); "
        f"with the middle skipped, {estimate(skipped / full)} times"
    )
    return verdict(estimate(here / full - EXPLODES)), evidence
