"""The report of `birth`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mechpaint.analyses.birth.claims import claims
from mechpaint.analyses.birth.conditions import DATA, DEPTH, FREEZING, HELD_OUT, UNIFORM
from mechpaint.analyses.birth.curves import Curves, passage, shown, spread
from mechpaint.analyses.birth.figures import ANSWER, figures
from mechpaint.analyses.claims import claims_table
from mechpaint.report import Report, Table

if TYPE_CHECKING:
    import pandas as pd

    from mechpaint.analyses.birth import Birth


def report(analysis: Birth, table: pd.DataFrame) -> Report:
    """Draw the report: claims, the causal table, figures, tables."""
    curves = Curves(table)
    tested = claims(curves, analysis.freeze_until)
    models = len({(g, c) for g, c in zip(table["group"], table["condition"], strict=True)}) * analysis.seeds
    return Report(
        title="Birth of a transformer",
        question="In which order must a transformer learn the matrices of an induction head, and what slows it?",
        summary=[
            _found(curves, analysis.freeze_until),
            f"{models} small transformers were trained on the in-context bigram task and probed throughout: with "
            "matrices frozen at first, on other data, and with one layer or two.",
        ],
        answer=ANSWER,
        sections=[
            claims_table(
                tested,
                f"Claims of “Birth of a Transformer” (arXiv 2306.00802). Means over {analysis.seeds} seeds ± standard "
                "deviations, on held-out sequences. A claim held if it held for every seed, and is undecided if seeds "
                "disagree.",
            ),
            _causal_table(curves, analysis.freeze_until),
            *figures(curves, analysis.freeze_until),
            _data_table(curves),
            _depth_table(curves),
        ],
    )


def _found(curves: Curves, until: int) -> str:
    """What was found, in a sentence."""

    def accuracy(condition: str) -> str:
        return spread(curves.curve(FREEZING, condition, "accuracy_in_context").at(until))

    frozen = [condition for condition in curves.conditions(FREEZING) if condition != "nothing"]
    listed = ", ".join(f"{accuracy(condition)} with {shown(condition)} frozen" for condition in frozen)
    return f"At step {until} the in-context accuracy is {accuracy('nothing')} with nothing frozen, {listed}."


def _causal_table(curves: Curves, until: int) -> Table:
    probes = ("recall_output", "recall_triggers", "recall_positions", "accuracy_in_context")
    rows = [
        (
            shown(condition),
            *(spread(curves.curve(FREEZING, condition, probe).at(until)) for probe in probes),
            passage(curves.curve(FREEZING, condition, "accuracy_in_context").first(0.9)),
        )
        for condition in curves.conditions(FREEZING)
    ]
    return Table(
        "freezing",
        "Which matrix depends on which",
        f"Matrices frozen until step {until}, and the state at that step: recall of the three matrices (W_K² among 5 "
        "triggers, so chance is 0.2) and in-context accuracy; then the step at which each seed reached 0.9.",
        ("frozen", "W_O² recall", "W_K² recall", "W_K¹ recall", "accuracy", "reaches 0.9 at"),
        rows,
    )


def _data_table(curves: Curves) -> Table:
    probes = ("accuracy_in_context", "accuracy_changed", "kl_global", "kl_in_context", UNIFORM, HELD_OUT)

    def cell(condition: str, probe: str) -> str:
        try:
            return spread(curves.curve(DATA, condition, probe).last)
        except KeyError:
            return "–"

    rows = [
        (
            condition,
            passage(curves.curve(DATA, condition, "accuracy_in_context").first(0.75)),
            *(cell(condition, probe) for probe in probes),
        )
        for condition in curves.conditions(DATA)
    ]
    return Table(
        "data",
        "The effect of the data",
        "Trained on all tokens: the step at which each seed reached an in-context accuracy of 0.75, and final "
        "values. “Where y ≠ x”: the accuracy where the answer y is not the trigger x itself, which a model could "
        "repeat without any induction. The last two columns are in-context accuracies on outputs not trained on.",
        ("data", "0.75 at", "accuracy", "where y ≠ x", "KL global", "KL in context", "uniform", "held out"),
        rows,
    )


def _depth_table(curves: Curves) -> Table:
    rows = [
        (
            c,
            *(
                spread(curves.curve(DEPTH, c, p).last, 3)
                for p in ("accuracy_in_context", "accuracy_changed", "loss_in_context")
            ),
        )
        for c in curves.conditions(DEPTH)
    ]
    return Table(
        "depth",
        "One layer against two, after training",
        "Full transformers, in-context accuracy and loss (nats) on held-out sequences.",
        ("layers", "accuracy", "where y ≠ x", "loss"),
        rows,
    )
