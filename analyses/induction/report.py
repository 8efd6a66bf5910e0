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
    """The whole report."""
    found = Findings(table, facts)
    scores = ", ".join(f"{found.accuracy(FULL, name)} on {name}" for name in found.measures)
    return Report(
        title=f"Induction heads: {facts.name}",
        summary=[
            f"{facts.name} has {len(found.heads())} heads in {facts.n_layers} layers. The strongest induction head is "
            f"{found.best('prefix_matching')}, the strongest previous-token head {found.best('previous_token')}. Where "
            f"the next token can be known from context, its accuracy is {scores}.",
            found.needing(),
        ],
        sections=[
            _routes_table(found),
            layers_figure(found),
            *([circuit_figure(found)] if found.one_after_another() else []),
            heads_figure(found),
            _heads_table(found),
            patterns_figure(found),
            patterns_view(found),
        ],
        highlights=_highlights(found),
    )


def _highlights(found: Findings) -> list[tuple[str, str]]:
    needed = found.most_needed()
    return [
        ("strongest induction head", found.best("prefix_matching")),
        ("strongest previous-token head", found.best("previous_token")),
        *((f"accuracy on {name}", f"{found.accuracy(FULL, name)}") for name in found.measures[-1:]),
        *([("layer it needs most", needed)] if needed else []),
    ]


def _routes_table(found: Findings) -> Table:
    rows = [
        (
            label,
            str(found.facts.routes[label]),
            *(cell for n in found.measures for cell in (str(found.accuracy(label, n)), f"{found.loss(label, n):.2f}")),
        )
        for label in found.labels
    ]
    columns = (
        "run",
        "route",
        *(column for name in found.measures for column in (f"accuracy, {name}", f"loss, {name}")),
    )
    caption = (
        "Accuracy and loss (nats), where the next token can be known from context, on every route, with 95 % bootstrap "
        "intervals over sequences."
    )
    return Table("routes", "With layers skipped and repeated", caption, columns, rows)


def _heads_table(found: Findings) -> Table:
    listed = found.heads()[:_MOST_HEADS_LISTED]
    rows = [(head_name(*place), *(f"{found.head(name, *place):.3f}" for name in SCORES)) for place in listed]
    return Table(
        "heads-best",
        "The best induction heads",
        "Mean attention on all random tokens that repeat, kept as one number each; copying is one of the weights "
        "alone, layer norms left out.",
        ("head", *(name.replace("_", " ") for name in SCORES)),
        rows,
    )
