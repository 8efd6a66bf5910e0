"""What the painters' paper claims of hidden states, tested on what was measured here."""

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
"""A variance beyond so many times the full model's has exploded."""
_FEWEST_SHARED = 4


def claims(found: Findings) -> list[Claim]:
    """Every claim that the measured states can speak to: none where the user's own hook sets reroute the model."""
    if found.rerouted or found.broken():
        return []
    tested = [] if found.spaces is None else [_three_spaces(found, found.spaces), _middle_is_most(found, found.spaces)]
    by_start = (
        _by_start(found, found.starts(), "Skipping the middle keeps the full model's pattern of similarities.", _skip),
        _by_start(found, _repeated(found), "Repeating the centre layer drifts out of the shared space.", _drift),
        _by_start(found, _repeated(found), "Where the centre layer was repeated, the variance explodes.", _explode),
    )
    return [*tested, *(claim for claim in by_start if claim is not None)]


def _three_spaces(found: Findings, spaces: Spaces) -> Claim:
    """What is alike within the middle more than with what is outside, and comes apart at its ends, is a space."""
    inside = [(a, b) for a in spaces.middle for b in spaces.middle if a < b]
    text = "The layers share three spaces: beginning, middle and ending."
    if not inside:
        return Claim("§3.1, figure 3", text, "not held", f"the middle is {found.stretch(spaces.middle)} alone")

    def mean(pairs: list[tuple[int, int]]) -> Draws:
        return found.mean(FULL, SIMILARITY, pairs)

    within = mean(inside)
    before = mean([(a, b) for a in spaces.beginning for b in spaces.middle])
    after = mean([(a, b) for a in spaces.middle for b in spaces.ending])
    into, out = (found.pair(FULL, SIMILARITY, at - 1, at) for at in (spaces.middle[0], spaces.ending[0]))
    least = combine([found.pair(FULL, SIMILARITY, *pair) for pair in pairwise(spaces.middle)], np.min)
    margin = combine([within - before, within - after, least - into, least - out], np.min)
    evidence = (
        f"{_split(found, spaces)}; similarity within the middle {estimate(within)}, of the middle and the beginning "
        f"{estimate(before)}, of the middle and the ending {estimate(after)}; of neighbours across the two borders "
        f"{estimate(into)} and {estimate(out)}, of the least similar neighbours within the middle {estimate(least)} "
        "(held if the middle is more alike within than with either, and no neighbours in it are less alike than those "
        f"across a border; the least of these margins is {estimate(margin)})"
    )
    return Claim("§3.1, figure 3", text, verdict(estimate(margin)), evidence)


def _split(found: Findings, spaces: Spaces) -> str:
    stretches = (spaces.beginning, spaces.middle, spaces.ending)
    return ", ".join(
        f"{name} {found.stretch(stretch)}"
        for name, stretch in zip(("beginning", "middle", "ending"), stretches, strict=True)
    )


def _middle_is_most(found: Findings, spaces: Spaces) -> Claim:
    states = len(found.names(FULL))
    held = len(spaces.middle) > states / 2 and len(spaces.ending) <= 2
    evidence = (
        f"of {states} states {len(spaces.beginning)} in the beginning, {len(spaces.middle)} in the middle, "
        f"{len(spaces.ending)} in the ending, as in {spaces.sure:.0%} of the resamples (held if more than half are in "
        "the middle and two at most in the ending)"
    )
    text = "The middle holds most layers, the ending one or two."
    return Claim("§3.1, A.3, figures 3 and 14", text, "held" if held else "not held", evidence)


def _by_start(
    found: Findings, starts: list[int], text: str, test: Callable[[Findings, int], tuple[str, str] | None]
) -> Claim | None:
    """A claim of figure 15: held if it is at every start layer, not held if it is at none."""
    results = {start: result for start in starts if (result := test(found, start)) is not None}
    if not results:
        return None
    verdicts = {decided for decided, _ in results.values()}
    evidence = "; ".join(f"N = {start}: {figures}" for start, (_, figures) in results.items())
    return Claim("A.4, figure 15", text, verdicts.pop() if len(verdicts) == 1 else "undecided", evidence)


def _repeated(found: Findings) -> list[int]:
    """The start layers at which repeating the centre layer is not the full model."""
    routes = found.facts.routes
    return [start for start in found.starts() if routes[found.repeat(start)] != routes[FULL]]


def _skip(found: Findings, start: int) -> tuple[str, str] | None:
    """The states that are on both routes, compared pair by pair."""
    label = found.skip(start)
    names = {name: i for i, name in enumerate(found.names(FULL))}
    shared = [names[name] for name in found.names(label)]
    if len(shared) < _FEWEST_SHARED:
        return None
    pairs = np.triu_indices(len(shared), 1)
    here = found.matrices(label, SIMILARITY)[:, pairs[0], pairs[1]]
    full = found.matrices(FULL, SIMILARITY)[:, shared][:, :, shared][:, pairs[0], pairs[1]]
    correlation = _correlation(here, full)
    evidence = (
        f"over the pairs of the {len(shared)} states on both routes the correlation is {estimate(correlation)} (held "
        f"above {PATTERN}), the largest difference {np.abs(here - full)[0].max():.3f}"
    )
    return verdict(estimate(correlation - PATTERN)), evidence


def _correlation(here: Float[np.ndarray, "draw pair"], full: Float[np.ndarray, "draw pair"]) -> Draws:
    """Pearson's, of each draw."""
    x, y = (values - values.mean(axis=1, keepdims=True) for values in (here, full))
    return (x * y).sum(axis=1) / np.sqrt((x**2).sum(axis=1) * (y**2).sum(axis=1))


def _drift(found: Findings, start: int) -> tuple[str, str]:
    """From before the middle to its end, on both routes after as many layers."""
    pair = start + 1, found.facts.n_layers - start
    here, full = (found.pair(label, SIMILARITY, *pair) for label in (found.repeat(start), FULL))
    evidence = (
        f"the similarity of the states before the middle and after it is {estimate(here)}, in the full model "
        f"{estimate(full)}; the full model's less the former {estimate(full - here)}"
    )
    return verdict(estimate(full - here)), evidence


def _explode(found: Findings, start: int) -> tuple[str, str]:
    """At the end of the model."""
    here, full = (found.variance(label, found.facts.n_layers) for label in (found.repeat(start), FULL))
    skipped = found.variance(found.skip(start), len(found.names(found.skip(start))) - 1)
    evidence = (
        f"at the end it is {estimate(here / full):.3g} times the full model's (held beyond {EXPLODES:g}), where the "
        f"middle is skipped {estimate(skipped / full):.3g} times"
    )
    return verdict(estimate(here / full - EXPLODES)), evidence
