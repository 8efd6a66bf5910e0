"""What is no number is neither right nor wrong, in whatever is made of it."""

from __future__ import annotations

import math
from typing import ClassVar

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mechpaint.analyses.birth.curves import Curve
from mechpaint.analyses.claims import over_seeds
from mechpaint.analysis import Experiment
from mechpaint.report import Report
from mechpaint.routes.route import Route
from mechpaint.runs.cells import Cells, labelled, labelled_schema
from mechpaint.runs.execute import run
from mechpaint.runs.plans.experiment_plan import ExperimentPlan
from mechpaint.scoring.items import record
from mechpaint.statistics.hits import hits
from mechpaint.toy import BigramTask, Chain, SimplifiedConfig, SimplifiedTransformer
from mechpaint.toy.probes import predictions, recall

VALUES = st.sampled_from([math.nan, math.inf, -math.inf, 0.0, 1.0, -2.0])


@given(st.lists(st.lists(VALUES, min_size=3, max_size=3), min_size=1, max_size=6), st.integers(0, 2))
def test_a_row_counts_only_if_its_scores_are_numbers(rows, answer):
    scores = torch.tensor(rows)
    found = hits(scores, torch.full((len(rows),), answer))
    for row, hit in zip(rows, found.tolist(), strict=True):
        if any(math.isnan(x) or x == math.inf for x in row):
            assert math.isnan(hit)
        else:
            assert hit == (max(range(3), key=lambda i: row[i]) == answer)


@given(st.lists(st.booleans(), min_size=1), st.lists(VALUES, min_size=1))
def test_a_claim_on_what_is_no_number_is_undecided(held, values):
    found = over_seeds(held, np.array(values))
    if any(map(math.isnan, values)):
        assert found == "undecided"
    else:
        assert found == ("held" if all(held) else "undecided" if any(held) else "not held")


def test_a_curve_with_a_gap_passes_nothing():
    curve = Curve(np.array([0, 1, 2]), np.array([[0.0, 0.6, 1.0], [0.0, math.nan, 1.0], [0.0, 0.1, 0.2]]))
    np.testing.assert_array_equal(curve.first(0.5), [1, math.nan, math.inf])
    np.testing.assert_array_equal(curve.halfway()[:2], [1, math.nan])


@pytest.mark.parametrize("score", [math.nan, math.inf, -math.inf])
def test_a_score_that_is_no_number_is_not_finite(score):
    row = record("a task", "an item", Route.identity(2), score)
    assert math.isnan(row["score"])
    assert row["finite"] is False


def test_no_table_holds_an_infinity(tmp_path):
    cells = Cells(tmp_path, labelled_schema({"value": float, "count": int}))
    cells.write("a", labelled("x", [{"value": v, "count": 1} for v in (1.0, math.inf, -math.inf, math.nan)]))
    assert [str(v) for v in cells.read("a")["value"].to_pylist()] == ["1.0", "nan", "nan", "nan"]


def test_probes_of_a_toy_that_diverged_are_no_numbers():
    task = BigramTask(Chain.uniform(9), triggers=2)
    batch = task.batch(4, 8, 0)
    values = predictions(torch.full((4, 8, 9), math.nan), batch)
    assert all(math.isnan(value) for name, value in values.items() if name.startswith(("loss", "accuracy")))
    assert math.isnan(recall(torch.full((3, 3), math.nan)))
    toy = SimplifiedTransformer(SimplifiedConfig(vocabulary=9, dim=16, length=8))
    with torch.no_grad():
        toy.tok_embed.weight.fill_(math.inf)
    again = batch.occurrences >= 1
    assert math.isnan(hits(toy.logits_at(batch.tokens, again), batch.targets[again]).mean())


class Diverging(Experiment):
    """Three trials, one of which gives no number."""

    name = "diverging"
    question = "Is it said?"
    columns: ClassVar = {"value": float}

    def trials(self):
        return {"good": 1, "bad": 1, "worse": 1}

    def measure(self, label, advance):
        yield {"value": {"good": 1.0, "bad": math.nan, "worse": math.inf}[label]}

    def report(self, table):
        return Report("Diverging", [f"{len(table)} values."], [])


def test_the_report_says_how_many_values_are_no_numbers(tmp_path):
    finished = run(ExperimentPlan.of(Diverging()), tmp_path, "a command")
    (warning,) = finished.report.warnings
    assert warning.startswith("2 of 3 values are no numbers")
    assert "2 of 3 values" in (finished.path / "report.md").read_text()
