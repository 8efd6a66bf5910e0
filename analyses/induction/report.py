"""The report of `induction`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mechpaint.analyses.induction.figures import (
    circuit_figure,
    heads_figure,
    layers_figure,
    patterns_figure,
    patterns_view,
)
from mechpaint.analyses.induction.findings import Findings
from mechpaint.analyses.induction.labels import FULL
from mechpaint.analyses.induction.measures import SCORES
from mechpaint.circuits.heads import head_name
from mechpaint.report import Report, Table

if TYPE_CHECKING:
    import pandas as pd

    from mechpaint.analyses.induction import Induction
    from mechpaint.statistics.results import ModelFacts

_MOST_HEADS_LISTED = 12


def report(analysis: Induction, table: pd.DataFrame, facts: ModelFacts) -> Report:
    """Draw the report."""
    findings = Findings(table, facts)
    scores = ", ".join(f"{findings.accuracy(FULL, name)} on {name}" for name in findings.measures)
    return Report(
        title=f"Induction heads: {facts.name}",
        summary=[
            f"{facts.name} has {len(findings.heads())} heads in {facts.n_layers} layers. The strongest induction head "
            f"is {findings.best('prefix_matching')}, the strongest previous-token head "
            f"{findings.best('previous_token')}. Where context determines the next token, accuracy is {scores}.",
        ],
        sections=[
            _routes_table(findings),
            layers_figure(findings),
            *([circuit_figure(findings)] if findings.one_after_another() else []),
            heads_figure(findings),
            _heads_table(findings),
            patterns_figure(findings),
            patterns_view(findings),
        ],
        highlights=_highlights(findings),
    )


def _highlights(findings: Findings) -> list[tuple[str, str]]:
    needed = findings.most_needed()
    return [
        ("strongest induction head", findings.best("prefix_matching")),
        ("strongest previous-token head", findings.best("previous_token")),
        *((f"accuracy on {name}", f"{findings.accuracy(FULL, name)}") for name in findings.measures[-1:]),
        *([("layer it needs most", needed)] if needed else []),
    ]


def _routes_table(findings: Findings) -> Table:
    rows = [
        (
            label,
            str(findings.facts.routes[label]),
            *(cell for n in findings.measures for cell in (findings.accuracy(label, n), findings.loss(label, n))),
        )
        for label in findings.labels
    ]
    columns = (
        "run",
        "route",
        *(column for name in findings.measures for column in (f"accuracy, {name}", f"loss, {name}")),
    )
    caption = (
        "Accuracy and loss (nats) on every route, where context determines the next token, with 95 % bootstrap "
        "intervals over sequences."
    )
    return Table("routes", "With layers skipped and repeated", caption, columns, rows)


def _heads_table(findings: Findings) -> Table:
    listed = findings.heads()[:_MOST_HEADS_LISTED]
    rows = [(head_name(*place), *(f"{findings.head(name, *place):.3f}" for name in SCORES)) for place in listed]
    return Table(
        "heads-best",
        "The best induction heads",
        "Mean attention on repeated random tokens; copying is computed from the weights alone, without layer norms.",
        ("head", *(name.replace("_", " ") for name in SCORES)),
        rows,
    )
