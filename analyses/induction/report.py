"""The report of `induction`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mechpaint.analyses.induction.figures import (
    ANSWER,
    circuit_figure,
    heads_figure,
    layers_figures,
    patterns_figure,
    patterns_view,
)
from mechpaint.analyses.induction.findings import Findings
from mechpaint.analyses.induction.labels import measured
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
    return Report(
        title=f"Induction heads: {facts.name}",
        question="Which heads copy from context, and which layers does copying need?",
        summary=[findings.needing(), f"{facts.name} has {len(findings.heads())} heads in {facts.n_layers} layers."],
        answer=ANSWER,
        sections=[
            *layers_figures(findings),
            _routes_table(findings),
            *([circuit_figure(findings)] if findings.one_after_another() else []),
            heads_figure(findings),
            _heads_table(findings),
            patterns_figure(findings),
            patterns_view(findings),
        ],
        highlights=[
            ("strongest induction head (prefix matching)", findings.best("prefix_matching")),
            ("strongest previous-token head", findings.best("previous_token")),
        ],
    )


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
        *(
            column
            for name in findings.measures
            for column in (f"accuracy, {measured(name)}", f"loss, {measured(name)}")
        ),
    )
    caption = (
        "Accuracy and loss (nats) with each layer ablated (without it) or run twice, where context determines the next "
        "token, with 95 % bootstrap intervals over sequences."
    )
    return Table("routes", "Every layer ablated and repeated", caption, columns, rows)


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
