"""The analysis `induction`: what it measures, against plain computations, and what its page says."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

import mechpaint as mp
from mechpaint.analyses.induction import Induction
from mechpaint.analyses.induction.findings import Findings
from mechpaint.errors import AnalysisError, RouteError
from mechpaint.hooks import Average, Loop, ReadAttention, Skip
from mechpaint.report import write_report
from mechpaint.runs.execute import run
from mechpaint.runs.plans.model_plan import ModelPlan
from mechpaint.runs.plans.routed_model import RoutedModel
from mechpaint.toy.bridge import as_bridge, task_of
from mechpaint.toy.simplified import SimplifiedConfig, SimplifiedTransformer
from tests.hostile import HOSTILE
from tests.rebuilt import check_rebuilt
from tests.seen import check_page

SMALL = Induction(sequences=8, period=12)


@pytest.fixture(scope="module")
def toy():
    return mp.load("toy-induction")


@pytest.fixture(scope="module")
def plan(toy):
    return ModelPlan.of(SMALL, RoutedModel(toy, "toy-induction"))


@pytest.fixture(scope="module")
def finished(plan, tmp_path_factory):
    return run(plan, tmp_path_factory.mktemp("runs"), "mechpaint analyze induction")


@pytest.fixture(scope="module")
def table(finished):
    return pd.read_parquet(finished.path / "results.parquet")


@pytest.fixture(scope="module")
def found(table, plan):
    return Findings(table, plan.facts)


@pytest.mark.parametrize(
    ("label", "hook_set"), [("full model", None), ("without layer 0", Skip(0, 0)), ("layer 1 twice", Loop(1, 1, 2))]
)
def test_scores_are_those_of_a_plain_run(toy, found, label, hook_set):
    batch = task_of(toy).batch(256, 64, seed=0)
    with torch.no_grad(), mp.attach(toy, hook_set or mp.HookSet()):
        right = toy(batch.tokens).argmax(-1) == batch.targets
    again = batch.occurrences >= 2
    kept = found.accuracy(label, "its own task")
    assert kept.value == pytest.approx(float(right[again].double().mean()), abs=1e-3)
    rng = np.random.default_rng(1)
    drawn = [rng.integers(len(right), size=len(right)) for _ in range(1000)]
    low, high = np.percentile([float(right[i][again[i]].double().mean()) for i in drawn], (2.5, 97.5))
    assert (kept.low, kept.high) == pytest.approx((low, high), abs=0.01)
    changed = right[again & (batch.tokens != batch.targets)]
    expected = float(changed.double().mean())
    assert found.accuracy(label, "its own task where y ≠ x").value == pytest.approx(expected, abs=1e-3)


def test_skipping_layer_0_destroys_the_head_and_looping_layer_1_does_not(found):
    name = "its own task where y ≠ x"
    full = found.accuracy("full model", name).value
    assert full > 0.95
    assert found.accuracy("without layer 0", name).value < 0.25
    assert found.accuracy("without layer 1", name).value < 0.05
    assert found.accuracy("layer 1 twice", name).value > 0.5 * full


def test_the_heads_are_what_the_paper_says(found):
    assert found.heads()[0] == (1, 0)
    assert found.head("previous_token", 0, 0) > 0.8
    assert found.head("copying", 1, 0) > 0.95
    assert found.best("previous_token").startswith("L0H0 (")


def test_the_patterns_are_those_of_the_model(toy, found):
    batch = task_of(toy).batch(256, 64, seed=0)
    with torch.no_grad(), mp.attach(toy, ReadAttention()) as session:
        toy(batch.tokens[:1])
    for pattern, (name, stored) in zip(session["attention"].values(), sorted(found.patterns().items()), strict=True):
        assert name in ("L0H0", "L1H0")
        np.testing.assert_allclose(stored, pattern[0, 0], atol=1e-6)
    assert "".join(found.tokens) == toy.to_string(batch.tokens[0])


def test_the_page_has_figures_a_view_and_what_was_found(finished):
    text = (finished.path / "report.md").read_text()
    for words in ("L1H0", "without layer 0", "layer 1 twice", "Attention on one sequence", "drops most without layer"):
        assert words in text
    assert (finished.path / "figures" / "figure-2.png").stat().st_size > 10_000
    assert "CircuitsVis.render" in finished.page.read_text()
    circuit = next(section for section in finished.report.sections if section.name == "circuit")
    assert "Where a token recurs, L1H0 gives" in circuit.alt
    assert (finished.path / "figures" / "circuit.svg").read_text() == circuit.drawing.svg


def test_the_page_opens_in_a_browser(finished, chromium):
    check_page(chromium, finished.page)


def test_whatever_a_model_and_its_tokens_are_called_stays_text(table, plan, chromium, tmp_path):
    texts = [text for text in HOSTILE if "\ud800" not in text]  # which no table can hold
    renamed = table.copy()
    places = renamed.index[renamed["kind"] == "token"][: len(texts)]
    renamed.loc[places, "name"] = texts[: len(places)]
    assert len(places) == len(texts)
    facts = replace(plan.facts, name=texts[0])
    page = write_report(SMALL.report(renamed, facts), tmp_path, [("model", texts[0])], f"mechpaint --model {texts[1]}")
    check_page(chromium, page)
    with chromium.open(page) as opened:
        assert texts[0] in opened.page.title()
        assert texts[1] in opened.page.locator("pre").text_content()
        assert opened.page.locator("script").count() == 1


def test_any_model_can_be_asked(llama, tmp_path):
    """Without a tokenizer, with several heads, more layers, and no task of its own."""
    plan = ModelPlan.of(Induction(sequences=4, period=8, heads=3), RoutedModel(llama, "tiny"))
    done = run(plan, tmp_path, "mechpaint analyze induction")
    found = Findings(pd.read_parquet(done.path / "results.parquet"), plan.facts)
    assert found.measures == ["repeated tokens"]
    assert len(found.heads()) == 24
    assert len(found.patterns()) == 3
    assert all(token.isdigit() for token in found.tokens)
    assert not np.isnan(found.head_grid("copying")).any()


def test_it_runs_under_hooks_and_on_a_single_layer(toy, tmp_path):
    with pytest.raises(RouteError, match="the route is empty"):  # nothing is left where layer 1 is skipped as well
        ModelPlan.of(SMALL, RoutedModel(toy, "toy", Skip(0, 0)))
    chosen = Induction(sequences=8, period=12, layers=(0,))
    hooked = ModelPlan.of(chosen, RoutedModel(toy, "toy", Loop(1, 1, 2)))
    assert [str(route) for route in hooked.facts.routes.values()] == ["0-1 1", "1x2", "0x2 1x2"]
    run(hooked, tmp_path, "mechpaint analyze induction --layers 0")
    alone = as_bridge(SimplifiedTransformer(SimplifiedConfig(layers=1)))
    done = run(ModelPlan.of(SMALL, RoutedModel(alone, "alone")), tmp_path, "mechpaint analyze induction")
    assert "drops most" not in (done.path / "report.md").read_text()  # there is nothing without its only layer
    assert "circuit" not in [section.name for section in done.report.sections]


def test_heads_side_by_side_are_no_circuit(toy, tmp_path):
    chosen = Induction(sequences=4, period=8, layers=())
    done = run(ModelPlan.of(chosen, RoutedModel(toy, "toy", Average(0, 1))), tmp_path, "mechpaint analyze induction")
    assert "circuit" not in [section.name for section in done.report.sections]


@pytest.mark.parametrize("changed", [{"sequences": 0}, {"heads": 0}, {"heads": 9}, {"seed": -1}])
def test_bad_settings_are_refused(changed):
    with pytest.raises(AnalysisError, match="expected 1 sequence or more, 1 to 8 heads and a seed from 0 to 2"):
        Induction(**changed)


def test_too_long_a_period_is_said_before_anything_is_kept(toy, tmp_path):
    with pytest.raises(ValueError, match="cannot repeat 40 distinct tokens"):
        run(ModelPlan.of(Induction(period=40), RoutedModel(toy, "toy")), tmp_path, "")
    assert not list(tmp_path.rglob("*.parquet"))


@pytest.mark.slow
def test_its_report_is_drawn_anew_from_its_cells(finished, tmp_path):
    check_rebuilt(finished.path, tmp_path / "again")


def test_a_model_that_overflows_is_warned_of_and_nothing_is_ranked(tmp_path):
    model = mp.load("toy-induction", dtype="float16")
    with torch.no_grad():
        model.blocks[1].attn.o.original_component.weight.mul_(3e4)
    report = mp.analyze("induction", model=model, out=tmp_path, layers=(0,), sequences=4).report
    assert any("are no numbers" in warning for warning in report.warnings)
    assert not any("drops most" in text for text in report.summary)


def test_weights_that_are_no_numbers_have_no_copying_score(tmp_path):
    model = mp.load("toy-induction")
    with torch.no_grad():
        model.blocks[1].attn.o.original_component.weight.fill_(torch.nan)
    with pytest.raises(mp.InputError, match="weights that are NaN"):
        mp.analyze("induction", model=model, out=tmp_path, sequences=4)
