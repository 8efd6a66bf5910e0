"""The peers' own correctness: along every route they give this library's logits. No times."""

from __future__ import annotations

import importlib.util
from dataclasses import replace

import pytest
import torch
from transformers.models.gemma3.modeling_gemma3 import Gemma3DecoderLayer

from mechpaint.routes.prefix_tree import PrefixTree
from mechpaint.routes.route import Route
from tests import plain, tiny
from tests.benchmarks.peers import measuring, rewiring, singly, tables, wholly
from tests.benchmarks.peers.by_mechpaint import Mechpaint
from tests.benchmarks.peers.counting import LayerCalls
from tests.benchmarks.peers.measuring import Failed, Measured, Peak, Work
from tests.benchmarks.peers.peer import HOMES, kind
from tests.benchmarks.peers.routes import SINGLE, Many, every, together
from tests.benchmarks.peers.tables import Findings

STEPS = {
    "identity": [0, 1, 2, 3, 4, 5],
    "skip": [0, 1, 4, 5],
    "skip at both ends": [1, 2, 4],
    "average": [0, (1, 2, 3, 4), 5],
    "average of what is apart": [0, (1, 3), 5],
    "two averages": [(0, 1), (2, 3, 4), 5],
    "reverse": [0, 4, 3, 2, 1, 5],
    "again": [0, 1, 1, 3, 3, 5],
    "averages again": [0, *[(1, 2, 3, 4)] * 3, 5],
}
"""The tiny model's fourth layer sees all tokens and the others four, so masks and rotary embeddings count."""

TOKENS = tiny.tokens()
ROUTES = {name: Route.of(steps, tiny.N_LAYERS) for name, steps in STEPS.items()}
MISSING = {name for name in ("nnsight", "pyvene") if importlib.util.find_spec(name) is None}
BY_HOOKS = ("TransformerLens hooks", "pyvene")


@pytest.fixture(scope="module")
def gemma(tmp_path_factory):
    """A folder with a tiny Gemma 3."""
    folder = tmp_path_factory.mktemp("gemma") / "tiny"
    tiny.module("gemma3").save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def calls():
    """Counts layer calls. Peers are loaded after it is there: nnsight keeps the forward that it finds."""
    with LayerCalls(Gemma3DecoderLayer, TOKENS.numel()) as counting:
        yield counting


@pytest.fixture(scope="module")
def ours(gemma, calls):
    """This library's side."""
    return Mechpaint.load(gemma)


@pytest.fixture(scope="module", params=HOMES)
def peer(request, gemma, calls):
    """Each peer in its turn, if it is installed."""
    if request.param in MISSING:
        pytest.skip(f"{request.param} is not installed: make bench-peers installs it")
    return kind(request.param).load(gemma)


@torch.no_grad()
def test_logits_and_counts(peer, ours, calls):
    alone = tiny.module("gemma3")
    for name, route in ROUTES.items():
        if peer.cannot(route):
            assert name in ("reverse", "again", "averages again")
            continue
        calls.taken()
        logits = peer.last_logits(route, TOKENS)
        assert calls.taken() == (route.n_layers if peer.name in BY_HOOKS else route.layer_calls)
        torch.testing.assert_close(logits, plain.logits(alone, TOKENS, STEPS[name])[:, -1], atol=1e-4, rtol=1e-4)
        assert singly.largest_difference(ours.last_logits(route, TOKENS), logits) < 1e-4


def test_what_hooks_cannot_do():
    for name, route in ROUTES.items():
        assert (rewiring.cannot(route) is not None) == (name in ("reverse", "again", "averages again"))


def test_the_routes():
    suite, grid = together()
    for many, listed, distinct, shared, unshared in ((suite, 171, 148, 1748, 3141), (grid, 126, 126, 1639, 9639)):
        tree = PrefixTree(many.listed)
        assert (len(many.listed), len(many.distinct)) == (listed, distinct)
        assert (tree.layer_calls, tree.layer_calls_unshared) == (shared, unshared)
        assert every(many.distinct, 1) == sorted(many.distinct, key=lambda route: (route.layer_calls, str(route)))
        sample = every(many.distinct, 6)
        assert set(sample) <= set(many.distinct)
        assert abs(len(sample) - distinct / 6) < 1
        mean, whole = (sum(r.layer_calls for r in routes) / len(routes) for routes in (sample, many.distinct))
        assert mean == pytest.approx(whole, rel=0.1)
    assert [route.layer_calls for route in SINGLE.values()] == [18, 10, 18, 18, 38]
    assert [len(every(suite.distinct[:n], 6)) for n in (1, 19, 39, 40, 120)] == [1, 19, 39, 20, 20]


@pytest.fixture(scope="module")
def work(gemma):
    """Little of everything."""
    listed = (ROUTES["identity"], ROUTES["skip"], ROUTES["average"], ROUTES["reverse"], ROUTES["skip"])
    single = {name: ROUTES[name] for name in ("identity", "reverse")}
    return Work(gemma, Gemma3DecoderLayer, TOKENS, single, (Many("all of them", listed),), turns=2)


def measured(found):
    """The same with a memory, which only a process of its own has."""
    return Measured("1.0", *found, Peak(10**9, 2 * 10**9))


def test_the_tables(work, capfd):
    peers = {name: measured(measuring.times(name, work, 1)) for name in ("layer list", "TransformerLens hooks")}
    best, hooks = (peer.together["all of them"] for peer in peers.values())
    assert (best.routes, best.able, best.sampled, best.wrong) == (4, 4, 4, False)
    assert round(best.our_calls) == PrefixTree(work.together[0].listed).layer_calls
    assert best.their_calls == 6 + 4 + 6 + 6
    assert best.listed_seconds > best.their_seconds
    assert (hooks.able, hooks.their_calls) == (3, 18)
    found = Findings("A tiny model.", work, {**peers, "nnsight": Failed("ImportError: no")}, {}, "0.1.0")
    text = tables.markdown(found)
    assert "| route | mechpaint | layer list | TransformerLens hooks |\n" in text
    (reverse,) = [line for line in text.splitlines() if line.startswith("| reverse: `0 4-1 5` |")]
    assert reverse.endswith(f"({6}) | cannot |")
    assert f"| {peers['layer list'].single['reverse'].ratio:.2f} (6) |" in reverse
    assert "| all of them: 4, listed 5 times | TransformerLens hooks | 3 of 4 | 18 |" in text
    assert "could not be measured: ImportError: no" in text
    assert "| 1.00 | 2.00 |" in text
    assert "hooks hand residual streams on, they run no layer |" in text
    for block in text.split("\n\n"):
        rows = [line for line in block.splitlines() if line.startswith("|")]
        assert len({line.count("|") for line in rows}) <= 1


class Careless:
    """A peer that takes every route for the identity."""

    name = "careless"

    def __init__(self, ours):
        self.ours = ours

    def cannot(self, route):
        return None

    def last_logits(self, route, tokens):
        return self.ours.last_logits(ROUTES["identity"], tokens)


def test_other_logits_are_wrong_and_not_timed(ours, work, calls, capfd):
    careless = Careless(ours)
    assert isinstance(singly.run(ours, careless, ROUTES["identity"], TOKENS, 1, calls), singly.Timed)
    wrong = singly.run(ours, careless, ROUTES["skip"], TOKENS, 1, calls)
    assert isinstance(wrong, singly.Wrong)
    assert wrong.apart > 0.1
    whole = wholly.run(ours, careless, work.together[0], TOKENS, 1, calls)
    assert whole.wrong
    peers = {"layer list": measured(({"identity": wrong, "reverse": wrong}, {"all of them": whole}))}
    text = tables.markdown(Findings("A tiny model.", work, peers, {}, "0.1.0"))
    assert text.count("wrong (logits differ by") == 2 + 6
    assert singly.largest_difference(torch.tensor([[float("nan")]]), torch.zeros(1, 1)) == float("inf")
    assert singly.largest_difference(torch.zeros(2, 1), torch.zeros(1, 1)) == float("inf")


def test_what_was_not_run_goes_by_layer_calls():
    skip, again = ROUTES["skip"], ROUTES["averages again"]  # 4 calls, and 14
    assert wholly.extrapolated({skip: 2.0, again: 7.0}, [skip, again, skip]) == 11
    assert wholly.extrapolated({skip: 2.0}, [skip, again, skip]) == 2 * 2.0 * 22 / 8


@pytest.mark.slow
def test_in_processes_of_their_own(work):
    found = measuring.measure("layer list", work, 1)
    assert isinstance(found.single["reverse"], singly.Timed)
    assert 10**8 < found.peak.before <= found.peak.after
    for peak in measuring.our_peaks(work).values():
        assert 10**8 < peak.before <= peak.after
    missing = measuring.measure("layer list", replace(work, folder=work.folder / "missing"), 1)
    assert isinstance(missing, Failed)
    assert "missing" in missing.why
