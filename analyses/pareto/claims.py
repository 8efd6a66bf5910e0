"""What there is to be shown: that a search finds what leaving out neighbouring layers does not give."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from mechpaint.analyses.claims import Claim
from mechpaint.analyses.pareto.findings import Draws, Findings
from mechpaint.routes.route import Route
from mechpaint.statistics.bootstrap import combine, estimate, verdict

ITEMS = "items held out"


def claims(found: Findings) -> list[Claim]:
    """All of them; the data decide, on items that no round has seen."""
    return [
        _beats_the_chosen(found, "", found.score),
        _beats_them_all(found, "", found.score),
        _beats_the_chosen(found, " by the tasks' own scores", found.own_score),
        _beats_them_all(found, " by the tasks' own scores", found.own_score),
    ]


def _beats_the_chosen(found: Findings, by: str, score: Callable[[Route], Draws]) -> Claim:
    skip = found.best_skip(found.limit)
    text = f"At {_cost(found)} the found route beats the best contiguous skip, both chosen on the same items{by}."
    return _claim(found, text, score, f"{skip}", score(skip))


def _beats_them_all(found: Findings, by: str, score: Callable[[Route], Draws]) -> Claim:
    """The opponent is chosen on the items that it is scored on, in each resample anew: that is in its favour."""
    skips = found.skips(found.limit)
    draws = [score(skip) for skip in skips]
    best = skips[int(np.argmax([each[0] for each in draws]))]
    text = f"At {_cost(found)} it beats every contiguous skip, the one included that is best on the items held out{by}."
    return _claim(found, text, score, f"the best of {len(skips)}, {best}", combine(draws, np.max))


def _claim(found: Findings, text: str, score: Callable[[Route], Draws], named: str, other: Draws) -> Claim:
    here = score(found.chosen)
    difference = estimate(here - other)
    evidence = f"{found.chosen}: {estimate(here)}; {named}: {estimate(other)}; difference {difference}"
    return Claim(ITEMS, text, verdict(difference), evidence)


def _cost(found: Findings) -> str:
    return f"{found.limit} of {found.n_layers} layer calls"
