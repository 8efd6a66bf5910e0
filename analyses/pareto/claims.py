"""The claims to test: a search beats skipping neighbouring layers."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from mechpaint.analyses.claims import Claim
from mechpaint.analyses.pareto.findings import Draws, Findings
from mechpaint.routes.route import Route
from mechpaint.statistics.bootstrap import combine, estimate, verdict

ITEMS = "items held out"


def claims(findings: Findings) -> list[Claim]:
    """Test all claims on items that no round has seen."""
    return [
        _beats_the_chosen(findings, "", findings.score),
        _beats_them_all(findings, "", findings.score),
        _beats_the_chosen(findings, " by the tasks' own scores", findings.own_score),
        _beats_them_all(findings, " by the tasks' own scores", findings.own_score),
    ]


def _beats_the_chosen(findings: Findings, by: str, score: Callable[[Route], Draws]) -> Claim:
    skip = findings.best_skip(findings.limit)
    text = f"At {_cost(findings)} the found route beats the best contiguous skip, both chosen on the same items{by}."
    return _claim(findings, text, score, f"{skip}", score(skip))


def _beats_them_all(findings: Findings, by: str, score: Callable[[Route], Draws]) -> Claim:
    """Compare with the best skip on the held-out items themselves, chosen anew in each resample: in its favour."""
    skips = findings.skips(findings.limit)
    draws = [score(skip) for skip in skips]
    best = skips[int(np.argmax([each[0] for each in draws]))]
    text = (
        f"At {_cost(findings)} it beats every contiguous skip, the one included that is best on the items held out{by}."
    )
    return _claim(findings, text, score, f"the best of {len(skips)}, {best}", combine(draws, np.max))


def _claim(findings: Findings, text: str, score: Callable[[Route], Draws], named: str, other: Draws) -> Claim:
    here = score(findings.chosen)
    difference = estimate(here - other)
    evidence = f"{findings.chosen}: {estimate(here)}; {named}: {estimate(other)}; difference {difference}"
    return Claim(ITEMS, text, verdict(difference), evidence)


def _cost(findings: Findings) -> str:
    return f"{findings.limit} of {findings.n_layers} layer calls"
