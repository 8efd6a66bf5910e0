"""The analysis `memories`: heads and gradient steps compared with plain computations; its table and its page."""

from __future__ import annotations

import math
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import torch

from mechpaint.analyses.memories import Memories
from mechpaint.analyses.memories.claims import claims
from mechpaint.analyses.memories.constructing import CONSTRUCTED, MENDED, MENDING
from mechpaint.analyses.memories.findings import HEADS, Findings, extent
from mechpaint.analyses.memories.measuring import (
    ACCURACY,
    CHANGED,
    OPENING,
    RECALLS,
    REPEATS,
    SAYS_TRIGGER,
    WRONG_OPENING,
    WRONG_OTHER,
    recalls,
)
from mechpaint.analyses.memories.records import Setting
from mechpaint.analyses.memories.sources import FIXED, RANDOM, REAL, SOURCES, UNIFORM, Source
from mechpaint.analyses.memories.stepping import (
    ALONE,
    DOWN,
    LARGER,
    MORE,
    SHARPENED,
    UP,
    keep_associations,
    limit_model,
    own_token_margin,
    sharpen,
)
from mechpaint.analyses.seeds import spread
from mechpaint.errors import AnalysisError
from mechpaint.report import Table
from mechpaint.runs.execute import run
from mechpaint.runs.plans.experiment_plan import ExperimentPlan
from mechpaint.toy.construction import construct
from mechpaint.toy.gradients import TOP_DOWN, FirstStep, step, zero
from mechpaint.toy.probes import learned, memory_scores, recall
from mechpaint.toy.simplified import SimplifiedConfig, SimplifiedTransformer
from tests.rebuilt import check_rebuilt
from tests.seen import check_page

SMALL = Memories(
    dims=(24, 40), lengths=(12, 16), seeds=2, test_tokens=1200, first_sequences=300, step_dims=(16,), step_sequences=128
)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    return run(ExperimentPlan.of(SMALL), tmp_path_factory.mktemp("runs"), "mechpaint analyze memories")


@pytest.fixture(scope="module")
def table(finished):
    return pd.read_parquet(finished.path / "results.parquet")


def test_records_are_complete_and_finite(table):
    assert np.isfinite(table["value"]).all()
    counts = table.groupby(["kind", "stage"])["value"].count()
    heads = 2 * 2 * 2 * 2  # widths, lengths, kinds of triggers, seeds
    probes = 7 + 3
    assert counts["construction", CONSTRUCTED] == counts["construction", MENDED] == heads * probes
    assert counts["sharpness", MENDED] == 2 * 2 * 4 * probes
    assert counts["first step", "W_O^2"] == 3 * (1 + 2 * 2)
    steps = 2 * 2 * 3 + 2 + 3  # top-down: widths, seeds, data; bottom-up for each seed; variants in the limit
    assert counts["steps", "W_O^2"] == steps * 6
    assert counts["steps", "W_K^1"] == steps * 7
    assert counts["steps", SHARPENED] == counts["steps", ALONE] == steps * 2
    assert set(table["label"]) == set(SMALL.trials())
    own = table[table["kind"] == "steps"].groupby("variant")["dim"].unique()
    assert {name: sorted(dims) for name, dims in own.items()} == {DOWN: [0, 16], UP: [0, 16], LARGER: [0], MORE: [0]}


def _plain_scores(model, tokens):
    """All logits, in float64, by matrices over whole sequences."""
    w = {name: weight.double() for name, weight in model.state_dict().items()}
    hidden = w["tok_embed.weight"][tokens] + w["pos.weight"][: tokens.shape[1]]
    future = torch.ones(tokens.shape[1], tokens.shape[1]).triu(1).bool()
    for i in (0, 1):
        key, value, output = (w[f"layers.{i}.attn.{part}.weight"] for part in "kvo")
        scores = torch.einsum("btd,de,bse->bts", hidden, key, hidden) / math.sqrt(hidden.shape[-1])
        seen = scores.masked_fill(future, -math.inf).softmax(-1) @ hidden
        hidden = hidden + torch.einsum("fe,ed,btd->btf", output, value, seen)
    return torch.einsum("vd,btd->btv", w["head.weight"], hidden)


def _plain_head(seed, length, dim, stored, mended):
    """The construction, an outer product at a time."""
    model = SimplifiedTransformer(SimplifiedConfig(dim=dim, length=length, seed=seed))
    w = {name: weight.detach() for name, weight in model.named_parameters()}
    embed, positions, unembed = w["tok_embed.weight"], w["pos.weight"], w["head.weight"]
    again = embed @ w["layers.0.attn.v.weight"].T @ w["layers.0.attn.o.weight"].T
    values = embed @ w["layers.1.attn.v.weight"].T
    beta = 30.0

    def size(vectors):
        return vectors.norm(dim=1).square().mean()

    previous = sum(torch.outer(positions[t], positions[t - 1]) for t in range(1, length))
    induction = sum(torch.outer(embed[v], again[v]) for v in stored)
    first = sum(torch.outer(embed[v], positions[0]) for v in stored)
    output = sum(torch.outer(unembed[v], values[v]) for v in range(65))
    w["layers.0.attn.k.weight"].copy_(beta * math.sqrt(dim) / dim**2 * previous)
    w["layers.1.attn.k.weight"].copy_(beta * math.sqrt(dim) / (dim * size(again)) * induction)
    w["layers.1.attn.o.weight"].copy_(beta / (size(unembed) * size(values)) * output)
    if mended:
        w["layers.1.attn.k.weight"].sub_(MENDING * beta * math.sqrt(dim) / dim**2 * first)
    return model


@pytest.mark.parametrize("source", HEADS)
@pytest.mark.parametrize("stage", [CONSTRUCTED, MENDED])
def test_what_a_head_gets_right_and_wrong_is_counted_one_by_one(table, source, stage):
    """Anew: the outer products, the forward pass, and the counting."""
    found, length, dim, seed = Findings(table), 16, 40, 1
    stored = source.task.fixed_triggers or range(65)
    model = _plain_head(seed, length, dim, stored, stage == MENDED)
    (batch,) = source.held_out(1200, length, seed)
    assert batch.tokens.shape == (75, length)
    said = _plain_scores(model, batch.tokens).argmax(-1).tolist()
    counts = dict.fromkeys((ACCURACY, CHANGED, REPEATS, OPENING, WRONG_OPENING, SAYS_TRIGGER, WRONG_OTHER), 0)
    queries = changed = 0
    for tokens, targets, answers in zip(batch.tokens.tolist(), batch.targets.tolist(), said, strict=True):
        triggers = batch.triggers[batch.tokens.tolist().index(tokens)].tolist()
        for t, (x, y, answer) in enumerate(zip(tokens, targets, answers, strict=True)):
            if x not in triggers or x not in tokens[:t]:
                continue
            queries += 1
            changed += x != y
            counts[ACCURACY] += answer == y
            counts[CHANGED] += answer == y != x
            counts[REPEATS] += x == y
            counts[OPENING] += x == tokens[0]
            counts[WRONG_OPENING] += answer != y and x == tokens[0]
            counts[SAYS_TRIGGER] += answer != y and x == tokens[0] and answer == x
            counts[WRONG_OTHER] += answer != y and x != tokens[0]
    for probe, count in counts.items():
        expected = count / (changed if probe == CHANGED else queries)
        # scores may be the same but for rounding, once in a while
        assert found.head(source, dim, length, stage, probe)[seed] == pytest.approx(expected, abs=1.5 / queries), probe
    assert 0.05 < counts[ACCURACY] / queries < 0.95  # neither all nor nothing, which any count would give


def test_a_wide_head_works_and_the_first_position_is_what_is_wrong():
    """512 dimensions, the size at which the paper's head must work."""
    for source in HEADS:
        trial = f"construction {Setting(source, 512, 64, 0)}"
        rows = Memories(dims=(512,), lengths=(64,), seeds=1, test_tokens=8192).measure(trial, lambda ticks: None)
        found = {(row["stage"], row["probe"]): row["value"] for row in rows}
        assert found[CONSTRUCTED, ACCURACY] >= 0.95
        assert found[CONSTRUCTED, WRONG_OPENING] > 2 * found[CONSTRUCTED, WRONG_OTHER]
        assert found[CONSTRUCTED, SAYS_TRIGGER] == pytest.approx(found[CONSTRUCTED, WRONG_OPENING], rel=0.1)
        assert found[MENDED, WRONG_OPENING] < found[CONSTRUCTED, WRONG_OPENING] / 4
        assert found[MENDED, ACCURACY] > found[CONSTRUCTED, ACCURACY]
        assert all(found[CONSTRUCTED, probe] == 1.0 for probe in RECALLS.values())


def test_the_limit_has_no_cross_talk_and_the_random_models_lengths():
    model = limit_model(5, 6)
    random = SimplifiedTransformer(SimplifiedConfig(vocabulary=5, dim=2000, length=6))
    again = model.first.attn.o(model.first.attn.v(torch.cat([model.tok_embed.weight, model.pos.weight])))
    vectors = torch.cat([model.tok_embed.weight, model.pos.weight, again, model.head.weight]).detach()
    gram = vectors @ vectors.T
    torch.testing.assert_close(gram, torch.diag(gram.diagonal()))
    shrunk = random.first.attn.o(random.first.attn.v(random.tok_embed.weight))
    for one, other, scale in (
        (model.tok_embed.weight, random.tok_embed.weight, model.config.dim / 2000),
        (again, shrunk, model.config.dim / 2000),
        (model.head.weight, random.head.weight, 1),
        (model.last.attn.v(again), random.last.attn.v(shrunk), model.config.dim / 2000),
    ):
        sizes = [float(vectors.square().sum(-1).mean()) for vectors in (one, other)]
        assert sizes[0] == pytest.approx(sizes[1] * scale, rel=0.1)


def test_in_the_limit_a_step_from_zero_is_the_counted_one():
    source = Source(REAL, RANDOM)
    model = limit_model(65, 12)
    zero(model)
    batches = list(source.sequences(200, 12, seed=3))
    assert sum(len(batch.tokens) for batch in batches) == 200
    step(model, "W_O^2", batches, sharpness=1.0)
    expected = FirstStep.of(batches, 65)
    pair = torch.stack([learned(model, "W_O^2").flatten(), expected.memory(model).flatten()]).detach()
    cosine = torch.nn.functional.cosine_similarity(*pair, dim=0)
    assert float(cosine) == pytest.approx(1.0, abs=1e-4)
    assert recall(memory_scores(model, "W_O^2")) == expected.limit_recall()


def test_only_wanted_associations_are_kept():
    model = limit_model(5, 6)
    construct(model, sharpness=7.0)
    with torch.no_grad():  # wrong answers are answers too
        learned(model, "W_O^2").add_(torch.outer(model.head.weight[1], model.last.attn.v(model.tok_embed.weight)[2]))
        learned(model, "W_K^1").add_(torch.outer(model.pos.weight[3], model.pos.weight[0]))
    whole = {matrix: learned(model, matrix).detach().clone() for matrix in TOP_DOWN}
    assert own_token_margin(model, "W_K^2") == pytest.approx(0.0, abs=1e-5)
    embed, dim = model.tok_embed.weight, model.config.dim
    with torch.no_grad():
        learned(model, "W_K^2").add_(3.0 * dim**-1.5 * embed.T @ embed)
        learned(model, "W_K^1").add_(torch.outer(embed[1], model.pos.weight[2]))
    assert own_token_margin(model, "W_K^2") == pytest.approx(3.0 * 4 / 5, rel=1e-4)
    keep_associations(model)
    for matrix in TOP_DOWN:
        torch.testing.assert_close(learned(model, matrix).detach(), whole[matrix], atol=1e-4, rtol=1e-4)
    sharpen(model, 14.0)
    scores = memory_scores(model, "W_O^2")
    assert float((scores.diagonal() - scores.mean(1)).mean()) == pytest.approx(14.0, rel=1e-4)


def test_a_memory_is_asked_as_often_as_the_data_ask():
    """W_K² that knows only one fixed trigger is right as often as that one is asked for."""
    source = Source(REAL, FIXED)
    batches = source.held_out(600, 12, 0)
    asked = torch.cat([batch.tokens[batch.occurrences >= 2] for batch in batches])
    known = source.task.fixed_triggers[1]
    model = limit_model(65, 12)
    construct(model, tokens=(known,))
    share = float((asked == known).double().mean())
    assert 0 < share < 1
    found = recalls(model, batches)
    others = float((asked == 0).double().mean())  # where all scores are the same, the first counts as highest
    assert found[RECALLS["W_K^2"]] == pytest.approx(share + others)
    assert found[RECALLS["W_O^2"]] == found[RECALLS["W_K^1"]] == 1.0


def test_bottom_up_keys_get_no_gradient_in_the_limit(table):
    rows = table[(table["variant"] == UP) & (table["dim"] == 0)]
    own = {matrix: rows[(rows["stage"] == matrix) & (rows["probe"] == name)] for matrix, name in RECALLS.items()}
    assert own["W_K^1"]["value"].tolist() == [pytest.approx(1 / 11)]  # all scores 0: only the first is right
    assert own["W_O^2"]["value"].item() > 3 / 65
    first = rows[(rows["stage"] == "W_K^1") & (rows["probe"] == RECALLS["W_O^2"])]
    assert first["value"].tolist() == [pytest.approx(1 / 65)]  # its turn comes last
    down = Findings(table).own_recall(Source(UNIFORM, RANDOM), 0, "W_O^2")
    assert down[0] == own["W_O^2"]["value"].item()  # what is stored first is the same as what is stored last


def test_a_run_goes_on_and_ends_in_the_same_table(finished, table):
    cells = sorted((finished.path / "cells").iterdir())
    cells[1].unlink()
    cells[-1].write_bytes(cells[-1].read_bytes()[:100])
    with pytest.warns(UserWarning, match="is damaged"):
        again = run(ExperimentPlan.of(SMALL), finished.path.parents[1], "mechpaint analyze memories")
    assert again.work.cells == 2
    pd.testing.assert_frame_equal(pd.read_parquet(again.path / "results.parquet"), table)


def test_the_page_names_the_first_position_and_has_every_figure(finished):
    text = (finished.path / "report.md").read_text()
    for words in (
        "the first position",
        "attends to itself",
        "§4.2",
        "| random | 40 |",
        "bottom-up",
        "construction.svg",
        "errors.svg",
        "sharpness.svg",
        "first-step.svg",
        "three-steps.svg",
        "heads.svg",
    ):
        assert words in text
    assert "nan" not in text
    assert text.index("The remaining errors") < text.index("The paper's claims")


def test_a_page_of_one_width_one_length_and_one_seed(table):
    one = table[(table["seed"] == 0) & (table["length"] == 12)]
    one = one[(one["dim"] != 40) | (one["kind"] == "sharpness")]
    page = SMALL.report(one)
    assert page.warnings == ["Only one seed: differences between models are unknown."]
    assert "at d = 24; three gradient steps" in page.summary[0]
    assert "sequences of 12 tokens" in page.summary[1]
    tables = [section for section in page.sections if isinstance(section, Table)]
    assert not any("±" in cell or "nan" in cell for each in tables for row in each.rows for cell in row)
    assert {name.columns for name in tables if name.name == "table-construction"} == {("triggers", "d", "length 12")}


def _verdicts(table):
    return {claim.text: claim.verdict for claim in claims(Findings(table))}


def test_claims_follow_from_the_table(table):
    head = "An induction head can be constructed as three sums of outer products of random vectors."
    limit = "A single gradient step on W_O² finds the output memory, in infinitely many dimensions."
    three = "Three steps, top-down, find all three memories in infinitely many dimensions, on real bigrams."
    order = "The order matters: bottom-up, a step on the keys finds nothing."
    before = _verdicts(table)
    assert [before[text] for text in (head, limit, three)] == ["not held"] * 3
    good = table.copy()
    good.loc[good["kind"].isin(["construction", "first step"]), "value"] = 1.0
    good.loc[(good["kind"] == "steps") & (good["variant"] == DOWN), "value"] = 0.95
    good.loc[(good["kind"] == "steps") & (good["variant"] == UP), "value"] = 0.01
    assert [_verdicts(good)[text] for text in (head, limit, three, order)] == ["held"] * 4
    good.loc[(good["kind"] == "construction") & (good["length"] == 16), "value"] = 0.94
    good.loc[(good["probe"] == RECALLS["W_K^1"]) & (good["triggers"] == RANDOM), "value"] = 0.6
    worse = _verdicts(good)
    assert (worse[head], worse[three], worse[order]) == ("not held", "undecided", "undecided")


def test_numbers_for_people():
    assert spread(np.array([0.1, 0.3])) == "0.200 ± 0.141"
    assert spread(np.array([0.1]), 1) == "0.1"
    assert spread(np.array([])) == "–"
    assert extent(np.array([0.5, 0.25])) == "0.250 to 0.500"
    assert extent(np.array([0.5, 0.5001]), 2) == "0.50"


def test_sources_differ_in_what_they_say_and_held_out_sequences_are_others():
    assert [str(source) for source in SOURCES] == ["uniform random", "real random", "real fixed"]
    assert SOURCES[0].task.chain.name == "uniform(65)"
    assert [source.task.fixed for source in SOURCES] == [False, False, True]
    (held_out,), (other,) = SOURCES[2].held_out(60, 12, 0), SOURCES[2].sequences(5, 12, 0)
    assert held_out.tokens.shape == other.tokens.shape == (5, 12)
    assert not torch.equal(held_out.tokens, other.tokens)


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"dims": ()}, "dims must be one or more different numbers from 2 up, got none"),
        ({"dims": (128, 128)}, "dims must be .* got 128, 128"),
        ({"dims": (1,)}, "from 2 up, got 1"),
        ({"lengths": (7, 64)}, "lengths must be .* from 8 up, got 7, 64"),
        ({"step_dims": ()}, "step_dims must be"),
        ({"seeds": 0}, "seeds must be 1 or more, got 0"),
        ({"first_sequences": 0}, "first_sequences must be 1 or more"),
        ({"step_sequences": 0}, "step_sequences must be 1 or more"),
        ({"test_tokens": 255}, "a sequence of each length, so 256 or more, got 255"),
        ({"sharpness": 0.0}, "sharpness must be a number above 0"),
        ({"sharpness": math.nan}, "sharpness must be a number above 0"),
    ],
)
def test_bad_settings_are_refused(changed, words):
    with pytest.raises(AnalysisError, match=words):
        Memories(**changed)


def test_the_settings_alone_import_nothing_heavy():
    code = (
        "import sys; from mechpaint.analyses.memories import Memories; Memories(); "
        "sys.exit(', '.join({'torch', 'pandas', 'matplotlib'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stderr.strip() == ""


@pytest.mark.slow
def test_the_page_opens_in_a_browser(finished, chromium):
    check_page(chromium, finished.page)


@pytest.mark.slow
def test_its_report_is_drawn_anew_from_its_cells(finished, tmp_path):
    check_rebuilt(finished.path, tmp_path / "again")
