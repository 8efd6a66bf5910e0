"""What the painters' paper claims of hidden states, tested on what was measured here."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np

from mechpaint.analyses.similarity.findings import Findings, Mean, average
from mechpaint.analyses.similarity.labels import FULL
from mechpaint.analyses.similarity.measures import SIMILARITY
from mechpaint.analyses.similarity.spaces import Spaces
from mechpaint.claims import Claim
from mechpaint.statistics import Estimate, verdict

PATTERN = 0.9
"""From this correlation on, two patterns of similarities count as the same."""
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

    def mean(pairs: list[tuple[int, int]]) -> Mean:
        return average(found.pair(FULL, SIMILARITY, *pair) for pair in pairs)

    within = mean(inside)
    before = mean([(a, b) for a in spaces.beginning for b in spaces.middle])
    after = mean([(a, b) for a in spaces.middle for b in spaces.ending])
    into, out = (found.pair(FULL, SIMILARITY, at - 1, at) for at in (spaces.middle[0], spaces.ending[0]))
    least = min((found.pair(FULL, SIMILARITY, *pair) for pair in pairwise(spaces.middle)), key=lambda m: m.value)
    margins = [(a - b).estimate() for a, b in ((within, before), (within, after), (least, into), (least, out))]
    evidence = (
        f"{_split(found, spaces)}; similarity within the middle {within}, of the middle and the beginning {before}, of "
        f"the middle and the ending {after}; of neighbours across the two borders {into} and {out}, of the least "
        f"similar neighbours within the middle {least} (held if the middle is more alike within than with either, and "
        "no neighbours in it are less alike than those across a border)"
    )
    return Claim("§3.1, figure 3", text, verdict(_least(margins)), evidence)


def _least(estimates: list[Estimate]) -> Estimate:
    """Of values that must all be above 0."""
    return Estimate(*(min(getattr(e, end) for e in estimates) for end in ("value", "low", "high")))


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
        f"{len(spaces.ending)} in the ending (held if more than half are in the middle and two at most in the ending)"
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
    here = found.matrix(label, SIMILARITY)[pairs]
    full = found.matrix(FULL, SIMILARITY)[np.ix_(shared, shared)][pairs]
    correlation = float(np.corrcoef(here, full)[0, 1])
    evidence = (
        f"over the pairs of the {len(shared)} states on both routes the correlation is {correlation:.3f} (held from "
        f"{PATTERN} on), the largest difference {np.abs(here - full).max():.3f}"
    )
    return "held" if correlation >= PATTERN else "not held", evidence


def _drift(found: Findings, start: int) -> tuple[str, str]:
    """From before the middle to its end, on both routes after as many layers."""
    pair = start + 1, found.facts.n_layers - start
    here, full = (found.pair(label, SIMILARITY, *pair) for label in (found.repeat(start), FULL))
    evidence = f"the similarity of the states before the middle and after it is {here}, in the full model {full}"
    return verdict((full - here).estimate()), evidence


def _explode(found: Findings, start: int) -> tuple[str, str]:
    """At the end of the model."""
    here, full = (found.variance(label, found.facts.n_layers) for label in (found.repeat(start), FULL))
    skipped = found.variance(found.skip(start), len(found.names(found.skip(start))) - 1)
    evidence = (
        f"at the end it is {here.value / full.value:.3g} times the full model's (held beyond {EXPLODES:g}), where the "
        f"middle is skipped {skipped.value / full.value:.3g} times"
    )
    return verdict((here - full * EXPLODES).estimate()), evidence
