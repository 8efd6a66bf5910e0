"""Runs of `induction` side by side."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import TYPE_CHECKING

from mechpaint.analyses.claims import disambiguate
from mechpaint.analyses.induction.findings import Findings
from mechpaint.analyses.induction.labels import FULL
from mechpaint.analyses.induction.measures import SCORES
from mechpaint.report import Cell, Section, Table

if TYPE_CHECKING:
    import pandas as pd

    from mechpaint.statistics.results import ModelFacts


def beside(tables: Sequence[tuple[pd.DataFrame, ModelFacts]]) -> list[Section]:
    """The accuracy and loss of what all runs have, and the best head of each score."""
    names = disambiguate([facts.name for _, facts in tables])
    runs = {name: Findings(table, facts) for name, (table, facts) in zip(names, tables, strict=True)}
    return [_measures(runs), _heads(runs)]


def _measures(runs: dict[str, Findings]) -> Table:
    first, *others = runs.values()
    labels = [label for label in first.labels if all(label in other.labels for other in others)]
    names = [name for name in first.measures if all(name in other.measures for other in others)]
    rows: list[tuple[Cell, ...]] = []
    for label, name in product(labels, names):
        rows.append((label, f"accuracy, {name}", *(run.accuracy(label, name) for run in runs.values())))
        rows.append((label, f"loss, {name}", *(run.loss(label, name) for run in runs.values())))
    rows = [row for row in rows if len(set(row[2:])) > 1]
    caption = (
        "Accuracy and loss (nats) where context determines the next token, of every route that all runs have, with "
        "95 % bootstrap intervals over sequences. What is the same in all runs is left out."
    )
    return Table("measures", "Accuracy and loss", caption, ("run", "measure", *runs), rows)


def _heads(runs: dict[str, Findings]) -> Table:
    rows = [(name.replace("_", " "), *(run.best(name) for run in runs.values())) for name in SCORES]
    return Table("best-heads", "The best head by each score", f"Of the {FULL}.", ("score", *runs), rows)
