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
from mechpaint.report import Cell, Report, Table
from mechpaint.statistics.bootstrap import estimate

if TYPE_CHECKING:
    import pandas as pd

    from mechpaint.analyses.similarity import Similarity
    from mechpaint.statistics.results import ModelFacts


def report(analysis: Similarity, table: pd.DataFrame, facts: ModelFacts) -> Report:
    """Draw the report."""
    findings = Findings(table, facts)
    tested = claims(findings)
    return Report(
        title=f"Similarity of hidden states: {facts.name}",
        summary=_summary(analysis, findings, tested),
        sections=[
            *([_claims(tested)] if tested else []),
            *figures(findings),
            _blocks_table(findings),
            _states_table(findings),
        ],
        warnings=_warnings(findings),
        highlights=[*_spaces_in_words(findings), *(tally_highlights(tested) if tested else [])],
    )


def _claims(tested: list[Claim]) -> Table:
    caption = (
        "Means over windows. In brackets: 95 % bootstrap intervals over windows; all pairs of layers and all routes "
        "share the resamples. A comparison held if the interval of its difference lies above 0."
    )
    return claims_table(tested, caption)


def _summary(analysis: Similarity, findings: Findings, tested: list[Claim]) -> list[str]:
    text = "the text bundled with Python" if analysis.text is None else analysis.text
    first = (
        f"The residual stream of {findings.facts.name} was read before its first layer and after each, on "
        f"{analysis.windows} windows of {analysis.window} tokens of {text}, under {len(findings.labels)} hook sets. "
        "The final norm is not applied."
    )
    if findings.rerouted:
        second = f"Other hook sets made the full model run {findings.facts.routes[FULL]}: no claim was tested."
    elif not tested:
        second = "No claim of the paper could be tested."
    else:
        second = tally(tested, "“Transformer Layers as Painters” (arXiv 2407.09298)", "this number of windows")
    return [first, second]


def _spaces_in_words(findings: Findings) -> list[tuple[str, str]]:
    if findings.spaces is None:
        return []
    spaces = findings.spaces
    stretches = {"beginning": spaces.beginning, "middle": spaces.middle, "ending": spaces.ending}
    return [(name, findings.stretch(stretch)) for name, stretch in stretches.items()]


def _blocks_table(findings: Findings) -> Table:
    """Tabulate, for each n, the stretch of n steps that rotates the residual stream least."""
    draws, names = findings.matrices(FULL, ANGLE), findings.names(FULL)
    rows: list[tuple[Cell, ...]] = []
    for n in range(1, len(names)):
        distances = np.diagonal(draws, n, axis1=1, axis2=2)
        if np.isfinite(distances).all():
            least = distances.argmin(axis=1)
            at = int(least[0])
            run = names[at + 1] if n == 1 else f"{names[at + 1]} to {names[at + n]}"
            means = estimate(distances.mean(axis=1))
            rows.append((str(n), run, f"{(least[1:] == at).mean():.0%}", estimate(distances[:, at]), str(means)))
    caption = (
        "The stretch of n layers with the least angular distance, which arXiv 2403.17887 prunes. With 95 % bootstrap "
        "intervals over windows; frequency: the share of resamples with the same stretch."
    )
    columns = ("n", "layers", "frequency", "angular distance", "mean of all stretches")
    return Table("blocks", "The layers that rotate it least", caption, columns, rows)


def _states_table(findings: Findings) -> Table:
    rows: list[tuple[Cell, ...]] = []
    for label in findings.labels:
        for i, name in enumerate(findings.names(label)):
            before = [estimate(findings.pair(label, m, i - 1, i)) if i else "–" for m in (SIMILARITY, BY_TOKEN, ANGLE)]
            rows.append((label, str(i), name, f"{estimate(findings.variance(label, i)):.4g}", *before))
    caption = (
        "Each state's variance, and its similarity to the state before: cosine similarity of whole windows and token "
        "by token, and angular distance at the last token. With 95 % bootstrap intervals over windows."
    )
    columns = ("run", "step", "after", "variance", "similarity", "by token", "angular distance")
    return Table("states", "All states", caption, columns, rows)


def _warnings(findings: Findings) -> list[str]:
    broken = findings.broken()
    if not broken:
        return []
    return [
        f"Some measurements under {', '.join(broken)} are NaN: activations overflowed, or were all zero. They are "
        "shown as nan, and no claim is tested. Another --dtype may help."
    ]
