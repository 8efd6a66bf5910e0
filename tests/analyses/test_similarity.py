"""The analysis `similarity`: its states and measures against plain computations, and what its page says."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import mechpaint as mp
from mechpaint.analyses.similarity import Similarity
from mechpaint.analyses.similarity.claims import claims
from mechpaint.analyses.similarity.findings import Findings
from mechpaint.analyses.similarity.labels import usual_start
from mechpaint.analyses.similarity.measures import ANGLE, BY_TOKEN, SIMILARITY, VARIANCE, of_window
from mechpaint.analyses.similarity.report import report
from mechpaint.analyses.similarity.spaces import spaces, splits
from mechpaint.analyses.similarity.states import states, windows
from mechpaint.errors import AnalysisError, TaskError
from mechpaint.hooks import Average, Loop
from mechpaint.report import write_report
from mechpaint.routes.route import Route
from mechpaint.runs.execute import run
from mechpaint.runs.plans.model_plan import ModelPlan
from mechpaint.runs.plans.routed_model import RoutedModel
from mechpaint.statistics.results import ModelFacts
from tests import plain, tiny
from tests.hostile import HOSTILE
from tests.rebuilt import check_rebuilt
from tests.seen import check_page

WORDS = "When Mary and John went to the store in Paris, the capital of France, the city gave John a drink. "


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    path = tmp_path_factory.mktemp("text") / "words.txt"
    path.write_text(WORDS * 20)
    return str(path)


@pytest.fixture(scope="module")
def small(text):
    return Similarity(text=text, windows=6, window=12, start_layers=(1,))


@pytest.fixture(scope="module")
def plan(speaking, small):
    return ModelPlan.of(small, RoutedModel(speaking, "tiny"))


@pytest.fixture(scope="module")
def finished(plan, tmp_path_factory):
    return run(plan, tmp_path_factory.mktemp("runs"), "mechpaint analyze similarity")


@pytest.fixture(scope="module")
def found(finished, plan, small):
    return Findings(pd.read_parquet(finished.path / "results.parquet"), plan.facts)


# ---- states --------------------------------------------------------------------------------------------------------

ROUTES = {
    "0-5": [0, 1, 2, 3, 4, 5],
    "0-1 4-5": [0, 1, 4, 5],
    "0 3x3 5": [0, 3, 3, 3, 5],
    "0 (1-3)x2 5": [0, (1, 2, 3), (1, 2, 3), 5],
    "5 (0+2) 1": [5, [0, 2], 1],
}


@pytest.mark.parametrize("name", tiny.MAKERS)
def test_states_are_those_of_a_plain_loop(name):
    tokens, bridge = tiny.tokens(), tiny.bridge(name)
    with torch.no_grad():
        loop = plain.hugging_face(tiny.module(name), tokens)
        for notation, steps in ROUTES.items():
            found = torch.stack([*states(bridge, Route.parse(notation, 6), tokens)])
            assert found.dtype == torch.float64
            expected = torch.stack([loop.residual(steps[:i]) for i in range(len(steps) + 1)], dim=1)
            torch.testing.assert_close(found.float(), expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("name", ["llama", "gpt2", "gemma3"])
def test_states_of_the_model_s_own_order_are_hugging_face_s_but_for_the_normed_last(name):
    tokens = tiny.tokens(rows=10)  # more than go through the model at once
    with torch.no_grad():
        expected = torch.stack(tiny.module(name)(tokens, output_hidden_states=True).hidden_states, dim=1)
    found = torch.stack([*states(tiny.bridge(name), Route.identity(6), tokens)])
    torch.testing.assert_close(found[:, :-1].float(), expected[:, :-1], atol=1e-4, rtol=1e-4)
    assert not torch.allclose(found[:, -1].float(), expected[:, -1], atol=1e-2)


# ---- measures ------------------------------------------------------------------------------------------------------


def test_measures_of_a_window_are_those_of_plain_loops():
    made = torch.randn(4, 5, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    found = of_window(made)
    for a, b in itertools.product(range(4), repeat=2):
        x, y = made[a].numpy(), made[b].numpy()
        at = [x[p] @ y[p] / np.linalg.norm(x[p]) / np.linalg.norm(y[p]) for p in range(5)]
        whole = x.ravel() @ y.ravel() / np.linalg.norm(x) / np.linalg.norm(y)
        assert found[SIMILARITY][a, b].item() == pytest.approx(whole)
        assert found[BY_TOKEN][a, b].item() == pytest.approx(sum(at) / 5)
        assert found[ANGLE][a, b].item() == pytest.approx(math.acos(min(1, at[-1])) / math.pi, abs=1e-7)
        assert found[VARIANCE][a, b].item() == pytest.approx(x.var() if a == b else 0)


@given(st.integers(0, 1000), st.floats(0.01, 100))
def test_properties_of_the_measures(seed, factor):
    made = torch.randn(4, 3, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    found = of_window(made)
    for name in (SIMILARITY, BY_TOKEN, ANGLE):
        torch.testing.assert_close(found[name], found[name].T)
        own = torch.full((4,), 0.0 if name == ANGLE else 1.0, dtype=torch.float64)
        torch.testing.assert_close(found[name].diagonal(), own, atol=1e-7, rtol=0)
        scaled = of_window(made * torch.tensor([1.0, factor, 1.0, 1.0]).view(-1, 1, 1))[name]
        torch.testing.assert_close(scaled, found[name], atol=1e-7, rtol=0)
    distance = found[ANGLE]
    for a, b, c in itertools.permutations(range(4), 3):
        assert distance[a, c] <= distance[a, b] + distance[b, c] + 1e-7
    opposite = of_window(torch.stack([made[0], -made[0]]))
    assert opposite[ANGLE][0, 1].item() == pytest.approx(1)


def test_a_state_of_zeros_has_no_direction():
    found = of_window(torch.stack([torch.zeros(2, 3), torch.ones(2, 3)]).double())
    assert found[SIMILARITY][0].isnan().all()
    assert found[SIMILARITY][1, 1].item() == pytest.approx(1)


def test_what_is_found_are_means_over_windows_and_their_resamples(speaking, folder, small, found):
    """From Hugging Face's own hidden states of the same windows."""
    import transformers as hf

    tokens = windows(small, speaking)
    assert tokens.shape == (6, 12)
    assert len({tuple(row) for row in tokens.tolist()}) > 1
    model = hf.AutoModelForCausalLM.from_pretrained(folder).eval()
    with torch.no_grad():
        hidden = torch.stack(model(tokens, output_hidden_states=True).hidden_states[:-1]).double()
    for a, b in itertools.combinations_with_replacement(range(6), 2):
        each = torch.cosine_similarity(hidden[a].flatten(1), hidden[b].flatten(1)).numpy()
        kept = found.pair("full model", SIMILARITY, a, b)
        assert kept[0] == pytest.approx(each.mean(), abs=1e-5)
        assert kept[1:].mean() == pytest.approx(each.mean(), abs=5e-3)
        assert kept[1:].std() == pytest.approx(each.std() / math.sqrt(6), rel=0.1, abs=1e-6)
        last = torch.cosine_similarity(hidden[a][:, -1], hidden[b][:, -1]).clamp(-1, 1).numpy()
        assert found.pair("full model", ANGLE, a, b)[0] == pytest.approx(np.arccos(last).mean() / math.pi, abs=1e-3)
    variances = [state.flatten(1).numpy().var(axis=1).mean() for state in hidden]
    np.testing.assert_allclose([found.variance("full model", i)[0] for i in range(6)], variances, rtol=1e-4)


# ---- what is run ---------------------------------------------------------------------------------------------------


def test_the_hook_sets_are_figure_15_s(plan):
    assert {label: str(route) for label, route in plan.facts.routes.items()} == {
        "full model": "0-5",
        "skip, N = 1": "0-1 5",
        "middle repeat, N = 1": "0-1 3x3 5",
    }
    paper = Similarity().hook_sets(32)
    assert [str(h.route(32)) for h in paper.values()] == ["0-31", "0-13 19-31", "0-13 16x5 19-31"]
    assert all(0 <= 2 * usual_start(n) <= n - 2 for n in range(2, 100))
    assert list(Similarity().hook_sets(1)) == ["full model"]


def test_it_runs_under_hooks_and_then_tests_no_claim(speaking, text, tmp_path):
    hooked = RoutedModel(speaking, "tiny", Average(1, 2) + Loop(4, 4, 2))
    plan = ModelPlan.of(Similarity(text=text, windows=2, window=8, start_layers=()), hooked)
    done = run(plan, tmp_path, "mechpaint analyze similarity")
    kept = Findings(pd.read_parquet(done.path / "results.parquet"), plan.facts)
    assert kept.names("full model") == ["embedding", "0", "(1-2)", "3", "4", "4", "5"]
    assert kept.matrix("full model", SIMILARITY).shape == (7, 7)
    assert kept.pair("full model", SIMILARITY, 4, 5)[0] < 1 - 1e-6  # two visits, two states
    assert "the full model run 0 (1-2) 3-4 4-5: no claim" in " ".join(done.report.summary)
    assert "claims" not in [section.name for section in done.report.sections]


def test_a_single_layer(small, tmp_path):
    model = mp.load(tiny.folder(tmp_path / "model", n_layers=1))
    plan = ModelPlan.of(Similarity(text=small.text, windows=2, window=8), RoutedModel(model, "few"))
    done = run(plan, tmp_path, "mechpaint analyze similarity")
    assert "figure-15" not in [section.name for section in done.report.sections]
    assert "beginning" not in dict(done.report.highlights)


@pytest.mark.parametrize("changed", [{"windows": 1}, {"window": 1}, {"seed": -1}])
def test_bad_settings_are_refused(changed):
    with pytest.raises(AnalysisError, match="expected 2 windows or more of 2 tokens or more"):
        Similarity(**changed)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"windows": 10_000}, r"has \d+ windows of 12 tokens, expected 10000"),
        ({"window": 10_000}, "expected windows of at most 64 tokens, the model's context, got 10000"),
        ({"text": "nowhere.txt"}, "there is no file"),
    ],
)
def test_what_does_not_fit_is_said_before_anything_is_kept(speaking, text, changed, message, tmp_path):
    analysis = Similarity(**{"text": text, "windows": 2, "window": 12, **changed})
    with pytest.raises(TaskError, match=message):
        run(ModelPlan.of(analysis, RoutedModel(speaking, "tiny")), tmp_path, "")
    assert not list(tmp_path.rglob("*.parquet"))


# ---- spaces and claims ---------------------------------------------------------------------------------------------


def blocks(cuts, n, within=0.9, between=0.2):
    """Similarities that are the same within each stretch, and lower between."""
    stretch = np.searchsorted(cuts, np.arange(n), side="right")
    return np.where(stretch[:, None] == stretch[None], within, between) + (1 - within) * np.eye(n)


@given(st.integers(6, 14), st.data())
def test_the_split_is_the_one_that_the_blocks_were_made_of(n, data):
    first = data.draw(st.integers(2, n - 3))
    second = data.draw(st.integers(first + 1, n - 2))
    noise = np.random.default_rng(n).normal(0, 0.01, (n, n))
    split = spaces((blocks((first, second), n) + noise + noise.T)[None])
    assert (split.middle.start, split.ending.start) == (first, second)
    assert [*split.beginning, *split.middle, *split.ending] == [*range(n)]
    assert split.explained > 0.9


WINDOWS = 16


def made(full, skip=None, repeat=None, variances=(1.0, 1.0), error=0.001, n=12):
    """Records of made-up numbers: `variances` at the end of the full model and of middle repeat, else 1.

    Windows scatter so that the mean over them is what is given, with this standard error, pair by pair.
    """
    rng = np.random.default_rng(0)
    analysis = Similarity(start_layers=(2,) if skip is not None else ())
    sets = analysis.hook_sets(n)
    facts = ModelFacts("made up", n, {label: hook_set.route(n) for label, hook_set in sets.items()})
    rows = []

    def add(label, measure, a, b, value):
        noise = rng.normal(size=WINDOWS)
        noise = (noise - noise.mean()) / noise.std() * error * math.sqrt(WINDOWS)
        rows.extend((label, measure, window, a, b, value + by) for window, by in enumerate(noise))

    for label, matrix in zip(facts.routes, (full, skip, repeat), strict=False):
        count = len(facts.routes[label].steps) + 1
        for a, b in itertools.combinations_with_replacement(range(count), 2):
            for measure in (SIMILARITY, BY_TOKEN, ANGLE):
                add(label, measure, a, b, matrix[a, b])
        for a in range(count):
            last = {"full model": variances[0], "middle repeat, N = 2": variances[1]}.get(label, 1.0)
            add(label, VARIANCE, a, a, last if a == count - 1 else 1.0)
    columns = ["label", "measure", "window", "first", "second", "value"]
    return analysis, pd.DataFrame(rows, columns=columns), facts


def verdicts(*given, **more):
    return {claim.text.split(":")[0]: claim.verdict for claim in claims(Findings(*made(*given, **more)[1:]))}


def test_three_spaces_are_found_where_they_are_and_not_in_a_slope():
    three = "The layers share three spaces"
    most = "The middle holds most layers, the ending one or two."
    assert verdicts(blocks((2, 11), 13)) == {three: "held", most: "held"}
    assert verdicts(blocks((5, 8), 13)) == {three: "held", most: "not held"}
    assert verdicts(blocks((2, 11), 13), error=0.5)[three] == "undecided"
    apart = np.abs(np.subtract.outer(np.arange(13), np.arange(13)))
    assert verdicts(0.8**apart)[three] != "held"
    broken = blocks((2, 11), 13)
    broken[6, 7] = broken[7, 6] = 0.1  # neighbours in the middle that are less alike than those across the borders
    assert verdicts(broken)[three] == "not held"


SKIP = "Skipping the middle keeps the full model's pattern of similarities."
DRIFT = "Repeating the centre layer drifts out of the shared space."
EXPLODE = "Repeating the centre layer makes the variance explode."


def test_figure_15_s_claims():
    full = blocks((2, 11), 13)
    kept = full[np.ix_([0, 1, 2, 3, 11, 12], [0, 1, 2, 3, 11, 12])]  # layers 0 to 2, 10 and 11 stay
    drifting = full.copy()
    drifting[3, 10] = drifting[10, 3] = 0.3
    found = verdicts(full, kept, drifting, variances=(1.0, 2.5))
    assert {name: found[name] for name in (SKIP, DRIFT, EXPLODE)} == dict.fromkeys((SKIP, DRIFT, EXPLODE), "held")
    otherwise = verdicts(full, 1.1 - kept, 1 - 0.05 * (1 - full), variances=(1.0, 1.5))
    assert {name: otherwise[name] for name in (SKIP, DRIFT, EXPLODE)} == dict.fromkeys(
        (SKIP, DRIFT, EXPLODE), "not held"
    )


def test_token_by_token_states_are_split_by_themselves():
    analysis, table, facts = made(blocks((2, 11), 13))
    other = made(blocks((5, 8), 13))[1]
    mixed = pd.concat([table[table["measure"] != BY_TOKEN], other[other["measure"] == BY_TOKEN]])
    drawn = {section.name: section for section in report(analysis, mixed, facts).sections}
    assert "the embedding to layer 3, layers 4 to 6, layers 7 to 11; 100%" in drawn["similarity-by-token"].caption
    for name, borders in (("figure-3", {1.5, 10.5}), ("similarity-by-token", {4.5, 7.5})):
        (ax, *_) = drawn[name].drawing.axes
        assert {y for line in ax.lines for y in line.get_ydata() if line.get_xdata() == [0, 1]} == borders


def test_a_middle_of_one_layer_says_nothing_of_repeating(speaking, text):
    plan = ModelPlan.of(Similarity(text=text, windows=2), RoutedModel(speaking, "tiny"))
    assert str(plan.facts.routes["middle repeat, N = 2"]) == "0-5"


def test_windows_are_resampled_alike_so_that_differences_are_paired():
    """What all pairs of a window share cancels; what is left has the standard error of the difference."""
    _, table, facts = made(blocks((2, 11), 13), error=0.02)
    shared = np.random.default_rng(1).normal(size=WINDOWS)
    found = Findings(table.assign(value=table["value"] + shared[table["window"]]), facts)
    first, second = (found.pair("full model", SIMILARITY, 0, at) for at in (1, 2))
    assert first[1:].std() == pytest.approx(shared.std() / 4, rel=0.1)
    assert (first - second)[1:].std() == pytest.approx(0.02 * 2**0.5, rel=0.5)
    mean = found.mean("full model", SIMILARITY, [(0, 1), (0, 2)])
    assert np.allclose(mean, (first + second) / 2)
    draws = found.matrices("full model", SIMILARITY)
    assert np.allclose(draws[:, 0, 1], first)
    assert np.allclose(draws[0], found.matrix("full model", SIMILARITY))


def test_how_sure_a_split_is():
    """Two of three resamples put the first border elsewhere; each is found as if it were alone."""
    alike, other = blocks((2, 9), 12), blocks((4, 9), 12)
    split = spaces(np.stack([alike, alike, other, other]))
    assert (split.middle, split.sure) == (range(2, 9), pytest.approx(1 / 3))
    cuts, explained = splits(np.stack([alike, other]))
    assert cuts.tolist() == [[2, 9], [4, 9]]
    assert explained.tolist() == pytest.approx([1, 1])
    assert splits(np.ones((1, 6, 6)))[1].tolist() == [0]


@given(st.integers(0, 50))
def test_the_best_split_is_that_of_a_plain_search(seed):
    noise = np.random.default_rng(seed).normal(size=(8, 8))
    matrix = noise + noise.T
    values = matrix[np.triu_indices(8, 1)]

    def within(first, second):
        at = [0] * first + [1] * (second - first) + [2] * (8 - second)
        by_block = {}
        for a, b in itertools.combinations(range(8), 2):
            by_block.setdefault((at[a], at[b]), []).append(matrix[a, b])
        return sum(np.var(block) * len(block) for block in by_block.values())

    best = min(itertools.combinations(range(1, 8), 2), key=lambda cuts: within(*cuts))
    (found,), (explained,) = splits(matrix[None])
    assert tuple(found) == best
    assert explained == pytest.approx(1 - within(*best) / (values.var() * len(values)))


# ---- several models ------------------------------------------------------------------------------------------------


def model(n, cuts, name, error=0.001, route=None):
    """Records of a model of n layers whose spaces begin and end there."""
    _, table, facts = made(blocks(cuts, n + 1), error=error, n=n)
    return table, ModelFacts(name, n, facts.routes if route is None else {"full model": route})


GROWS, ONE = "The beginning and the middle grow with depth.", "The ending stays one layer."


def test_spaces_that_grow_with_depth_and_those_that_do_not():
    small, large = model(8, (2, 8), "small"), model(12, (3, 12), "large")
    sections = {section.name: section for section in Similarity().beside([large, small])}
    assert list(sections) == ["claims", "figure-14", "spaces"]
    assert {row[0]: row[1] for row in sections["claims"].rows} == {GROWS: "held", ONE: "held"}
    assert sections["spaces"].rows == [
        ("large", "12", "the embedding to layer 1 (3)", "layers 2 to 10 (9)", "layer 11 (1)", "100%", "100%"),
        ("small", "8", "the embedding to layer 0 (2)", "layers 1 to 6 (6)", "layer 7 (1)", "100%", "100%"),
    ]
    drawn = [ax for ax in sections["figure-14"].drawing.axes if ax.get_title()]
    assert [ax.get_title() for ax in drawn] == ["large, 12 layers", "small, 8 layers"]
    assert {ax.get_images()[0].get_clim() for ax in drawn} == {(0.0, 1.0)}
    other = Similarity().beside([small, model(12, (3, 9), "large")])[0]
    assert {row[0]: row[1] for row in other.rows} == {GROWS: "not held", ONE: "not held"}


def test_models_of_one_depth_and_rerouted_ones_are_shown_but_not_claimed_of():
    twice = [model(8, (2, 8), "same"), model(8, (2, 8), "same")]
    sections = {section.name: section for section in Similarity().beside(twice)}
    assert list(sections) == ["figure-14", "spaces"]
    assert [row[0] for row in sections["spaces"].rows] == ["same (1)", "same (2)"]
    rerouted = model(8, (2, 8), "other way", route=Route.parse("1 0 2-7", 8))
    assert [s.name for s in Similarity().beside([rerouted, model(12, (3, 12), "large")])] == ["figure-14", "spaces"]
    few = model(4, (1, 2), "few")
    assert Similarity().beside([few, twice[0]])[-1].rows[0] == ("few", "4", "–", "–", "–", "–", "–")


def test_a_claim_of_uncertain_borders_is_undecided():
    """With errors as large as the blocks are apart, resamples are split at various places."""
    unsure = [model(8, (2, 8), "small", error=0.5), model(12, (3, 12), "large", error=0.5)]
    claims_of, _, table = Similarity().beside(unsure)
    assert "undecided" in {row[1] for row in claims_of.rows}
    assert all(int(row[-1].removesuffix("%")) < 100 for row in table.rows)


# ---- the page ------------------------------------------------------------------------------------------------------


def test_the_page_has_figures_tables_and_verdicts(finished, found):
    text = (finished.path / "report.md").read_text()
    for words in (
        "6 windows of 12 tokens",
        "Similarity of the layers",
        "Similarity when the middle is skipped or repeated",
        "token by token",
        "middle repeat, N = 1: 0-1 3x3 5",
    ):
        assert words in text
    tables = {section.name: section for section in finished.report.sections if hasattr(section, "rows")}
    assert len(tables["states"].rows) == 7 + 4 + 7
    assert len(tables["claims"].rows) == 5
    distances = found.matrix("full model", ANGLE)
    for (n, _, often, shown, mean), apart in zip(tables["blocks"].rows, range(1, 7), strict=True):
        steps = [distances[i, i + apart] for i in range(7 - apart)]
        assert int(n) == apart
        assert str(shown).startswith(f"{min(steps):.3f} ")
        assert str(mean).startswith(f"{sum(steps) / len(steps):.3f} [")
        assert 0 <= int(often.removesuffix("%")) <= 100
    for name in ("figure-3", "figure-15", "figure-15-variance", "angles"):
        assert (finished.path / "figures" / f"{name}.png").stat().st_size > 5_000


@pytest.mark.slow
def test_the_page_opens_in_a_browser(finished, chromium):
    check_page(chromium, finished.page)


def test_what_is_no_number_is_shown_and_nothing_is_claimed(tmp_path):
    full = blocks((2, 11), 13)
    overflowing = full.copy()
    overflowing[9:] = overflowing[:, 9:] = np.nan
    analysis, table, facts = made(full, full[:6, :6], overflowing)
    name = next(iter(HOSTILE))
    found = report(analysis, table, ModelFacts(name, 12, facts.routes))
    assert "under middle repeat, N = 2 are NaN" in found.warnings[0]
    assert "claims" not in [section.name for section in found.sections]
    page = write_report(found, tmp_path, [("model", name)], "mechpaint analyze similarity").read_text()
    assert "nan [nan, nan]" in page
    assert name not in page


@pytest.mark.models
@pytest.mark.slow
def test_gemma_s_similarities_are_those_of_its_hidden_states():
    model = mp.load("gemma-3-270m")
    analysis = Similarity(windows=4, window=32)
    tokens = windows(analysis, model)
    with torch.no_grad():
        hidden = model.original_model(tokens, output_hidden_states=True).hidden_states
    measured = [of_window(each)[SIMILARITY] for each in states(model, Route.identity(18), tokens)]
    for window, found in enumerate(measured):
        flat = torch.stack([state[window].double().flatten() for state in hidden[:-1]])
        expected = torch.cosine_similarity(flat[:, None], flat[None], dim=-1)
        torch.testing.assert_close(found[:-1, :-1], expected, atol=1e-5, rtol=0)


@pytest.mark.slow
def test_its_report_is_drawn_anew_from_its_cells(finished, tmp_path):
    check_rebuilt(finished.path, tmp_path / "again")
