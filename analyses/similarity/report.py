"""The report of `similarity`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mechpaint.analyses.claims import Claim, claims_table, tally, tally_highlights
from mechpaint.analyses.similarity.claims import claims
from mechpaint.analyses.similarity.figures import figures
from mechpaint.analyses.similarity.findings import Findings
from mechpaint.analyses.similarity.labels import FULL
from mechpaint.analyses.similarity.measures import ANGLE, BY_TOKEN, SIMILARITY
from mechpaint.report import Report, Table
from mechpaint.statistics.bootstrap import estimate

if TYPE_CHECKING:
    import pandas as pd

    from mechpaint.analyses.similarity import Similarity
    from mechpaint.statistics.results import ModelFacts


def report(analysis: Similarity, table: pd.DataFrame, facts: ModelFacts) -> Report:
    """The whole report."""
    found = Findings(table, facts)
    tested = claims(found)
    return Report(
        title=f"Similarity of hidden states: {facts.name}",
        summary=_summary(analysis, found, tested),
        sections=[
            *([_claims(tested)] if tested else []),
            *figures(found),
            _blocks_table(found),
            _states_table(found),
        ],
        warnings=_warnings(found),
        highlights=[*_spaces_in_words(found), *(tally_highlights(tested) if tested else [])],
    )


def _claims(tested: list[Claim]) -> Table:
    caption = (
        "Means over windows. In brackets: 95 % bootstrap intervals over windows, resampled in the same way for every "
        "pair of layers and every route. A comparison held if the interval of its difference lies above 0."
    )
    return claims_table(tested, caption)


def _summary(asked: Similarity, found: Findings, tested: list[Claim]) -> list[str]:
    text = "the reference text inside Python" if asked.text is None else asked.text
    first = (
        f"The residual stream of {found.facts.name} was read before its first layer and after each, on "
        f"{asked.windows} windows of {asked.window} tokens of {text}, under {len(found.labels)} hook sets. A final "
        "norm is not part of it."
    )
    if found.rerouted:
        why = f"With other hook sets the full model ran {found.facts.routes[FULL]}: no claim of the paper is tested."
    elif not tested:
        why = "No claim of the paper could be tested on it."
    else:
        why = tally(tested, "“Transformer Layers as Painters” (arXiv 2407.09298)", "this number of windows")
    return [first, why]


def _spaces_in_words(found: Findings) -> list[tuple[str, str]]:
    if found.spaces is None:
        return []
    spaces = found.spaces
    stretches = {"beginning": spaces.beginning, "middle": spaces.middle, "ending": spaces.ending}
    return [(name, found.stretch(stretch)) for name, stretch in stretches.items()]


def _blocks_table(found: Findings) -> Table:
    """For each n the stretch of n steps that turns the residual stream least."""
    draws, names = found.matrices(FULL, ANGLE), found.names(FULL)
    rows: list[tuple[str, ...]] = []
    for n in range(1, len(names)):
        distances = np.diagonal(draws, n, axis1=1, axis2=2)
        if np.isfinite(distances).all():
            least = distances.argmin(axis=1)
            at = int(least[0])
            run = names[at + 1] if n == 1 else f"{names[at + 1]} to {names[at + n]}"
            means = estimate(distances.mean(axis=1))
            rows.append((str(n), run, f"{(least[1:] == at).mean():.0%}", str(estimate(distances[:, at])), str(means)))
    caption = (
        "Of all stretches of n layers the one over which the angular distance is least: what arXiv 2403.17887 prunes. "
        "With 95 % bootstrap intervals over windows; how often: in which share of the resamples it is the same stretch."
    )
    columns = ("n", "layers", "how often", "angular distance", "mean of all stretches")
    return Table("blocks", "The layers that turn it least", caption, columns, rows)


def _states_table(found: Findings) -> Table:
    rows: list[tuple[str, ...]] = []
    for label in found.labels:
        for i, name in enumerate(found.names(label)):
            before = [
                str(estimate(found.pair(label, m, i - 1, i))) if i else "–" for m in (SIMILARITY, BY_TOKEN, ANGLE)
            ]
            rows.append((label, str(i), name, f"{estimate(found.variance(label, i)):.4g}", *before))
    caption = (
        "Each state's variance, and how it compares with the one before it: cosine similarity of whole windows and "
        "token by token, and angular distance at the last token. With 95 % bootstrap intervals over windows."
    )
    columns = ("run", "step", "after", "variance", "similarity", "by token", "angular distance")
    return Table("states", "All states", caption, columns, rows)


def _warnings(found: Findings) -> list[str]:
    broken = found.broken()
    if not broken:
        return []
    return [
        f"Some of what was measured under {', '.join(broken)} is no number: activations overflowed, or were all zero. "
        "It is shown as nan, and no claim is tested. Another --dtype may help."
    ]
