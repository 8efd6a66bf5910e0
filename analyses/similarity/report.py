"""The report of `similarity`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mechpaint.analyses.claims import Claim, claims_table
from mechpaint.analyses.similarity.claims import claims
from mechpaint.analyses.similarity.figures import ANSWER, figures
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
        question="How alike is the residual stream after each layer: do layers share a space, and do routes keep it?",
        summary=_summary(analysis, findings),
        answer=ANSWER,
        sections=[
            *([_claims(tested)] if tested else []),
            *figures(findings),
            _blocks_table(findings),
            _states_table(findings),
        ],
        warnings=_warnings(findings),
        highlights=_spaces_in_words(findings),
    )


def _claims(tested: list[Claim]) -> Table:
    caption = (
        "Claims of “Transformer Layers as Painters” (arXiv 2407.09298). N is the start layer: layers 0 to N and the "
        "last N stay in place, and the middle is skipped or repeated. Means over windows. In brackets: 95 % "
        "bootstrap intervals over windows; all pairs of layers and all routes share the resamples. A comparison held "
        "if the interval of its difference lies above 0."
    )
    return claims_table(tested, caption)


def _summary(analysis: Similarity, findings: Findings) -> list[str]:
    text = "the text bundled with Python" if analysis.text is None else analysis.text
    how = (
        f"The residual stream of {findings.facts.name} was read before its first layer and after each, on "
        f"{analysis.windows} windows of {analysis.window} tokens of {text}, under {len(findings.labels)} hook sets. "
        "The final norm is not applied."
    )
    if findings.rerouted:
        how += f" Other hook sets made the full model run {findings.facts.routes[FULL]}: no claim was tested."
    return [_found(findings), how]


def _found(findings: Findings) -> str:
    """What was found, in a sentence."""
    if findings.spaces is None:
        return (
            "The states of so few layers, or with NaN among them, cannot be split into a beginning, a middle and an "
            "ending."
        )
    spaces = findings.spaces
    inside = [(a, b) for a in spaces.middle for b in spaces.middle if a < b]
    outside = [(a, b) for a in spaces.middle for b in (*spaces.beginning, *spaces.ending)]
    alike = f"{estimate(findings.mean(FULL, SIMILARITY, inside))} within the middle and " if inside else ""
    return (
        f"The mean cosine similarity of two states is {alike}"
        f"{estimate(findings.mean(FULL, SIMILARITY, outside))} between the middle and the rest."
    )


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
            rows.append((label, str(i), name, estimate(findings.variance(label, i)), *before))
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
