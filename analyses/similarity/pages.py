"""The report of `similarity`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mechpaint.analyses.similarity.claims import claims
from mechpaint.analyses.similarity.figures import figures
from mechpaint.analyses.similarity.findings import Findings
from mechpaint.analyses.similarity.labels import FULL
from mechpaint.analyses.similarity.measures import ANGLE, BY_TOKEN, SIMILARITY
from mechpaint.claims import Claim, claims_table, tally, tally_highlights
from mechpaint.report import Report, Table

if TYPE_CHECKING:
    import pandas as pd

    from mechpaint.analyses.similarity import Similarity
    from mechpaint.analysis import ModelFacts


def report(analysis: Similarity, table: pd.DataFrame, facts: ModelFacts) -> Report:
    """The whole report."""
    found = Findings(analysis, table, facts)
    tested = claims(found)
    return Report(
        title=f"Similarity of hidden states: {facts.name}",
        summary=_summary(found, tested),
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
        "Means over windows ± their standard errors. A comparison held if the 95 % interval of the difference lies "
        "above 0; errors of differences and of means are bounds, the sum and the mean of those of their parts."
    )
    return claims_table(tested, caption)


def _summary(found: Findings, tested: list[Claim]) -> list[str]:
    asked = found.analysis
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
    matrix, names = found.matrix(FULL, ANGLE), found.names(FULL)
    rows: list[tuple[str, ...]] = []
    for n in range(1, len(matrix)):
        distances = np.diagonal(matrix, n)
        if np.isfinite(distances).all():
            at = int(np.argmin(distances))
            run = names[at + 1] if n == 1 else f"{names[at + 1]} to {names[at + n]}"
            rows.append((str(n), run, str(found.pair(FULL, ANGLE, at, at + n)), f"{distances.mean():.3f}"))
    caption = (
        "Of all stretches of n layers the one over which the angular distance is least: what arXiv 2403.17887 prunes. "
        "± is the standard error over windows."
    )
    columns = ("n", "layers", "angular distance", "mean of all stretches")
    return Table("blocks", "The layers that turn it least", caption, columns, rows)


def _states_table(found: Findings) -> Table:
    rows: list[tuple[str, ...]] = []
    for label in found.labels:
        for i, name in enumerate(found.names(label)):
            variance = found.variance(label, i)
            before = [str(found.pair(label, m, i - 1, i)) if i else "–" for m in (SIMILARITY, BY_TOKEN, ANGLE)]
            rows.append((label, str(i), name, f"{variance.value:.4g} ± {variance.error:.2g}", *before))
    caption = (
        "Each state's variance, and how it compares with the one before it: cosine similarity of whole windows and "
        "token by token, and angular distance at the last token. ± is the standard error over windows."
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
