from __future__ import annotations

import gc

import numpy as np
import pytest
import torch
import transformers as hf
from hypothesis import given, settings
from hypothesis import strategies as st

import mechpaint as mp
from mechpaint.analyses.painters import suite
from mechpaint.engine.route_runner import RouteRunner
from mechpaint.hooks import ReadResidual, Reroute
from mechpaint.routes.prefix_tree import PrefixTree
from mechpaint.routes.route import Route
from tests import plain, tiny
from tests.mechpaint.routes.test_route import routes

N = tiny.N_LAYERS
SOME = [
    Route.parse(text, N) for text in ("0-5", "0-1 4-5", "0-1 (2-4) 5", "0-1 (2-4)x3 5", "0-1 4-2 5", "0 (2+3) 5", "5")
]

_EIGHTEEN = hf.LlamaConfig(
    vocab_size=11, hidden_size=8, num_hidden_layers=18, num_attention_heads=2, intermediate_size=8
)


def _alone(model, tokens, route, **inputs):
    with torch.no_grad(), mp.attach(model, Reroute(route)):
        return model(tokens, **inputs)


@pytest.mark.parametrize("name", tiny.MAKERS)
def test_equal_to_a_plain_loop(name):
    tokens = tiny.tokens()
    logits = dict(mp.sweep(tiny.bridge(name), tokens, SOME))
    steps = {
        "0-1 (2-4)x3 5": [0, 1, (2, 3, 4), (2, 3, 4), (2, 3, 4), 5],
        "0 (2+3) 5": [0, [2, 3], 5],
        "0-5": [0, 1, 2, 3, 4, 5],
    }
    for text, order in steps.items():
        expected = plain.logits(tiny.module(name), tokens, order)
        assert (logits[Route.parse(text, N)] - expected).abs().max() < 2e-5


@given(st.lists(routes(N), min_size=1, max_size=8))
@settings(max_examples=25)
def test_equal_to_independent_runs(several):
    model, tokens = _LLAMA, tiny.tokens()
    mask = torch.ones_like(tokens)
    mask[1, 6:] = 0
    swept = dict(mp.sweep(model, tokens, several, attention_mask=mask))
    assert swept.keys() == set(several)
    for route, logits in swept.items():
        expected = _alone(model, tokens, route, attention_mask=mask)
        scale = expected.abs().max().clamp(min=1)
        assert (logits - expected)[mask.bool()].abs().max() < 1e-5 * scale


_LLAMA = tiny.bridge("llama")


def _count_calls(model):
    ran: list[int] = []
    handles = [b.register_forward_hook(lambda *_, i=i: ran.append(i)) for i, b in enumerate(model.blocks)]
    return ran, handles


@given(st.lists(routes(N), min_size=1, max_size=8))
@settings(max_examples=25)
def test_each_distinct_pair_of_residual_and_layer_runs_once(several):
    sweep = mp.sweep(_LLAMA, tiny.tokens(rows=1, length=3), several)
    ran, handles = _count_calls(_LLAMA)
    for _ in sweep:
        pass
    for handle in handles:
        handle.remove()
    distinct = {
        (route.steps[:i], layer) for route in several for i, step in enumerate(route.steps) for layer in step.layers
    }
    assert len(ran) == sweep.layer_calls == len(distinct)
    assert sweep.layer_calls_unshared == sum(route.layer_calls for route in several)


def _paper_suite(n_layers):
    """The paper's variants with 10 seeds, single skips and switches, and the plain model; nothing else."""
    extra = {"pairs", "repeat_sequence"}
    variants = [v for v in suite(n_layers) if v.method not in extra]
    return [Route.identity(n_layers), *(v.hook_set(n_layers).route(n_layers) for v in variants)]


@pytest.mark.parametrize(
    ("n_layers", "shared", "unshared"), [(18, 1748, 3141), pytest.param(32, 6073, 9952, marks=pytest.mark.slow)]
)
def test_layer_calls_of_the_whole_suite(n_layers, shared, unshared):
    config = hf.LlamaConfig(
        vocab_size=11, hidden_size=8, num_hidden_layers=n_layers, num_attention_heads=2, intermediate_size=8
    )
    model = mp.load(hf.LlamaForCausalLM(config))
    sweep = mp.sweep(model, torch.tensor([[1, 2]]), _paper_suite(n_layers), positions="last")
    ran, handles = _count_calls(model)
    done = [route for route, _ in sweep]
    for handle in handles:
        handle.remove()
    assert len(ran) == sweep.layer_calls == shared
    assert sweep.layer_calls_unshared == unshared
    assert len(done) == len(set(done)) == len(sweep) == len(set(_paper_suite(n_layers)))


def test_positions(llama):
    tokens = tiny.tokens(rows=3, length=7)
    mask = torch.tensor([[1] * 7, [1, 1, 1, 0, 0, 0, 0], [0, 0, 1, 1, 1, 1, 1]])
    route = SOME[3]
    ((_, everything),) = mp.sweep(llama, tokens, [route], attention_mask=mask)
    ((_, last),) = mp.sweep(llama, tokens, [route], attention_mask=mask, positions="last")
    wanted = torch.zeros_like(tokens, dtype=torch.bool)
    wanted[0, 2] = wanted[2, 5] = wanted[2, 6] = True
    ((_, some),) = mp.sweep(llama, tokens, [route], attention_mask=mask, positions=wanted)
    assert everything.shape == (3, 7, tiny.VOCABULARY)
    assert torch.allclose(last, everything[torch.arange(3), torch.tensor([6, 2, 6])], atol=1e-5)
    assert torch.allclose(some, everything[wanted], atol=1e-5)


@pytest.mark.parametrize("name", ["llama", "bert"])
def test_residuals_are_what_the_tail_gets(name):
    """Streams that are neither normed nor cut to positions; layers run as often as for logits, the tail never."""
    model, tokens = tiny.bridge(name), tiny.tokens()
    mask = torch.ones_like(tokens)
    mask[1, 6:] = 0
    sweep = mp.sweep(model, tokens, SOME, attention_mask=mask, positions="last")
    ran, handles = _count_calls(model)
    tails = []
    handles.append(model.unembed.register_forward_hook(lambda *_: tails.append(1)))
    residuals = dict(sweep.residuals())
    for handle in handles:
        handle.remove()
    assert len(ran) == sweep.layer_calls
    assert not tails
    assert residuals.keys() == set(SOME)
    for route, residual in residuals.items():
        last = max(layer for layer in route.steps[-1].layers)
        with torch.no_grad(), mp.attach(model, Reroute(route) + ReadResidual()) as session:
            model(tokens, attention_mask=mask)
        expected = session["residual"][mp.Visit(len(route.steps) - 1, last)]
        assert residual.shape == (2, 9, 32)
        assert (residual - expected)[mask.bool()].abs().max() < 1e-5 * expected.abs().max()


def test_tails_are_shared_in_blocks_without_changing_anything(llama, monkeypatch):
    monkeypatch.setattr("mechpaint.engine.sweep.TAIL_BYTES", 4 * tiny.VOCABULARY * 5)
    tails = []
    tail = RouteRunner.tail
    monkeypatch.setattr(
        "mechpaint.engine.route_runner.RouteRunner.tail",
        lambda self, rows: tails.append(len(rows)) or tail(self, rows),
    )
    swept = dict(mp.sweep(llama, tiny.tokens(), SOME, positions="last"))
    assert tails == [4, 4, 4, 2]
    for route, logits in swept.items():
        assert torch.allclose(logits, _alone(llama, tiny.tokens(), route)[:, -1], atol=1e-5)


def test_memory_does_not_grow_with_the_number_of_routes():
    """The most residual streams alive at once, over the whole suite of an 18-layer model and over five routes."""
    model = mp.load(hf.LlamaForCausalLM(_EIGHTEEN))
    tokens = torch.zeros((3, 37), dtype=torch.long)
    five = [Route.parse(t, 18) for t in ("0-17", "0-3 14-17", "0-3 (4-13)x3 14-17", "0-3 13-4 14-17", "0-3 9x10 14-17")]

    def most(routes):
        alive = calls = 0

        def count(*_):
            nonlocal alive, calls
            calls += 1
            if calls % 17:  # looking at every object is slow
                return
            held = {t.data_ptr() for t in gc.get_objects() if type(t) is torch.Tensor and t.shape == (3, 37, 8)}
            alive = max(alive, len(held))

        handles = [block.register_forward_pre_hook(count) for block in model.blocks]
        for _ in mp.sweep(model, tokens, routes, positions="last"):
            pass
        for handle in handles:
            handle.remove()
        return alive

    gc.freeze()  # what is there already need not be looked at
    try:
        few, many = most(five), most(_paper_suite(18)[::3])
    finally:
        gc.unfreeze()
    assert many <= few + 3
    assert 2 < few < 10


def test_iterating_twice_gives_the_same(llama):
    sweep = mp.sweep(llama, tiny.tokens(), SOME, positions="last")
    first, second = dict(sweep), dict(sweep)
    assert all(torch.equal(first[route], second[route]) for route in first)


def test_the_model_is_free_between_results(llama):
    for route, logits in mp.sweep(llama, tiny.tokens(), SOME[:3]):
        assert torch.allclose(_alone(llama, tiny.tokens(), route), logits, atol=1e-5)


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"routes": []}, mp.RouteError, "at least one route"),
        ({"routes": [Route.identity(4)]}, mp.RouteError, "made for 4 layers"),
        ({"tokens": torch.zeros((2, 0), dtype=torch.long)}, ValueError, "integers"),
        ({"attention_mask": torch.ones((2, 4), dtype=torch.long)}, ValueError, "shape of tokens"),
        ({"positions": torch.zeros((2, 9), dtype=torch.bool)}, ValueError, "something selected"),
        ({"positions": torch.ones((2, 4), dtype=torch.bool)}, ValueError, "boolean mask of shape"),
        ({"positions": "first"}, ValueError, "'first'"),
        ({"positions": np.ones((2, 9), dtype=bool)}, ValueError, "torch tensor"),
        ({"attention_mask": [[1] * 9] * 2}, ValueError, "must be a tensor"),
        ({"tokens": torch.full((2, 9), 50_000)}, ValueError, "from 0 to 96, got 50000"),
        ({"tokens": torch.full((2, 9), -1)}, ValueError, "got -1"),
        ({"return_type": "loss"}, ValueError, "always gives logits"),
        ({"logits_to_keep": 1}, ValueError, "positions= says"),
        ({"input_ids": tiny.tokens()}, ValueError, "they are its tokens"),
        ({"prepend_bos": True}, ValueError, "would be ignored"),
        ({"position_ids": torch.arange(3)[None]}, ValueError, "must have 9 positions"),
        ({"max_batch_tokens": 0}, ValueError, "1 or more, got 0"),
        ({"inputs_embeds": torch.zeros((2, 9, 32))}, ValueError, "runs token ids"),
    ],
)
def test_what_does_not_fit_is_refused(llama, change, error, words):
    given_ = {"tokens": tiny.tokens(), "routes": SOME, **change}
    with pytest.raises((error, TypeError), match=f"{words}|Type-check"):
        mp.sweep(llama, **given_)


def test_dropout_is_refused_and_training_without_any_is_not():
    """It would be drawn once for all routes that share a visit; a module can be set to train behind its bridge."""
    dropping = tiny.bridge("gpt2")
    dropping.original_model.train()
    with pytest.raises(mp.InputError, match=r"model\.eval\(\)"):
        mp.sweep(dropping, tiny.tokens(), SOME)
    without = tiny.bridge("llama")
    expected = dict(mp.sweep(without, tiny.tokens(), SOME))
    without.original_model.train()
    assert all(torch.equal(expected[route], logits) for route, logits in mp.sweep(without, tiny.tokens(), SOME))


def test_a_tree_may_be_given_instead_of_routes(llama):
    tree = PrefixTree(SOME)
    assert len(dict(mp.sweep(llama, tiny.tokens(), tree))) == len(SOME)


def _calls(monkeypatch):
    """What the route runner is asked to run: the layer, how many rows, and whether it is the bridge's own."""
    calls: list[tuple[int, int, bool]] = []
    call = RouteRunner.call

    def counted(self, layer, residual, arguments, block=None):
        calls.append((layer, len(residual), block in (None, self.layers[layer])))
        return call(self, layer, residual, arguments, block)

    monkeypatch.setattr(RouteRunner, "call", counted)
    return calls


@pytest.mark.parametrize(("rows", "length", "most"), [(2, 8, 177), (4, 64, 517)])
def test_visits_of_a_layer_share_calls_where_rows_are_short(monkeypatch, rows, length, most):
    """However they are shared, every distinct pair of residual stream and layer runs once."""
    model = mp.load(hf.LlamaForCausalLM(_EIGHTEEN))
    tokens = torch.arange(rows)[:, None].expand(-1, length)  # that begin differently
    sweep = mp.sweep(model, tokens, _paper_suite(18), positions="last")
    list(mp.sweep(model, torch.zeros((1, 1), dtype=torch.long), [Route.identity(18)]))  # the first compares layers
    calls = _calls(monkeypatch)
    assert len(list(sweep)) == len(sweep)
    assert sum(count for _, count, _ in calls) == sweep.layer_calls * rows
    assert len(calls) <= most
    assert max(count for _, count, _ in calls) * length <= max(1024, rows * length)


@pytest.mark.parametrize("name", tiny.MAKERS)
def test_shared_calls_change_nothing(name):
    model, tokens = tiny.bridge(name), tiny.tokens(rows=3, length=5)
    mask = torch.tensor([[1] * 5, [1, 1, 1, 0, 0], [1, 1, 1, 1, 0]])
    shared = dict(mp.sweep(model, tokens, SOME, attention_mask=mask))
    alone = dict(mp.sweep(model, tokens, SOME, attention_mask=mask, max_batch_tokens=1))
    assert shared.keys() == alone.keys() == set(SOME)
    for route, logits in alone.items():
        assert (shared[route] - logits)[mask.bool()].abs().max() < 1e-5 * logits.abs().max().clamp(min=1)


def test_inputs_with_a_row_for_each_of_the_batch_are_shared_too():
    model, tokens = tiny.bridge("bert"), tiny.tokens(rows=2, length=6)
    types = torch.tensor([[0, 0, 0, 1, 1, 1], [0, 1, 1, 1, 1, 1]])
    swept = dict(mp.sweep(model, tokens, SOME, token_type_ids=types, position_ids=torch.arange(6)[None] + 1))
    for route, logits in swept.items():
        expected = _alone(model, tokens, route, token_type_ids=types, position_ids=torch.arange(6)[None] + 1)
        assert (logits - expected).abs().max() < 1e-5 * expected.abs().max()


def test_who_listens_gets_the_batch_as_it_is(llama, monkeypatch):
    """With a hook in a layer every call is the bridge's own, on one stream."""
    calls, shapes = _calls(monkeypatch), []
    alone = len(list(mp.sweep(llama, tiny.tokens(), SOME)))
    assert {own for _, _, own in calls} == {False}
    assert max(count for _, count, _ in calls) > len(tiny.tokens())
    calls.clear()
    handle = llama.blocks[2].hook_out.register_forward_hook(lambda module, args, out: shapes.append(tuple(out.shape)))
    try:
        sweep = mp.sweep(llama, tiny.tokens(), SOME)
        assert len(list(sweep)) == alone
    finally:
        handle.remove()
    assert calls == [(layer, len(tiny.tokens()), True) for layer, _, _ in calls]
    assert len(calls) == sweep.layer_calls
    assert set(shapes) == {(*tiny.tokens().shape, 32)}


@pytest.mark.parametrize("name", ["bert", "bloom"])
def test_layers_of_the_bridge_share_calls_too(name, monkeypatch):
    """BERT's bridge has hooks of TransformerLens's own, and Bloom's has copies of weights, which may be edited."""
    model, calls = tiny.bridge(name), _calls(monkeypatch)
    expected = dict(mp.sweep(model, tiny.tokens(), SOME, max_batch_tokens=1))
    assert {own for _, _, own in calls} == {True}
    calls.clear()
    shared = dict(mp.sweep(model, tiny.tokens(), SOME))
    assert {own for _, _, own in calls} == {True}
    assert max(count for _, count, _ in calls) > len(tiny.tokens())
    for route, logits in expected.items():
        assert (shared[route] - logits).abs().max() < 1e-5 * logits.abs().max()
    if name == "bloom":
        with torch.no_grad():
            model.blocks[4].attn.q.original_component.weight.mul_(9)
        edited = dict(mp.sweep(model, tiny.tokens(), SOME[:1]))
        assert (edited[SOME[0]] - _alone(model, tiny.tokens(), SOME[0])).abs().max() < 1e-4
        assert (edited[SOME[0]] - expected[SOME[0]]).abs().max() > 0.01


@pytest.mark.parametrize("error", [torch.OutOfMemoryError("CUDA out of memory"), RuntimeError("can't allocate memory")])
def test_fewer_share_a_call_where_memory_is_short(llama, monkeypatch, error):
    expected = dict(mp.sweep(llama, tiny.tokens(), SOME, positions="last"))
    calls = _calls(monkeypatch)
    counted = RouteRunner.call

    def small(self, layer, residual, arguments, block=None):
        if len(residual) > 4:
            raise error
        return counted(self, layer, residual, arguments, block)

    monkeypatch.setattr(RouteRunner, "call", small)
    sweep = mp.sweep(llama, tiny.tokens(), SOME, positions="last")
    smaller = dict(sweep)
    assert sum(count for _, count, _ in calls) == sweep.layer_calls * len(tiny.tokens())
    for route, logits in expected.items():
        assert torch.allclose(smaller[route], logits, atol=1e-5)


def test_other_errors_and_a_single_stream_that_is_too_large_are_raised(llama, monkeypatch):
    for error in (RuntimeError("shapes do not fit"), torch.OutOfMemoryError("out of memory")):

        def fails(*_, error=error):
            raise error

        monkeypatch.setattr(RouteRunner, "call", fails)
        with pytest.raises(type(error), match=str(error)):
            list(mp.sweep(llama, tiny.tokens(), SOME))


def test_blocks_are_the_logits_in_pieces(llama, monkeypatch):
    monkeypatch.setattr("mechpaint.engine.sweep.TAIL_BYTES", 4 * tiny.VOCABULARY * 7)
    blocks: dict[Route, list[torch.Tensor]] = {}
    sweep = mp.sweep(llama, tiny.tokens(), SOME)
    for route, positions, logits in sweep.blocks():
        assert positions.start == sum(map(len, blocks.setdefault(route, [])))
        assert len(logits) == positions.stop - positions.start <= 7
        blocks[route].append(logits)
    for route, logits in sweep:
        assert torch.allclose(torch.cat(blocks[route]), logits.flatten(0, 1), atol=1e-5)


def test_very_long_routes_do_not_hit_the_recursion_limit(llama):
    route = Route.parse("0 2x3000 5", N)
    sweep = mp.sweep(llama, tiny.tokens(rows=1, length=2), [route, Route.identity(N)], positions="last")
    assert sweep.layer_calls == 3002 + 5
    assert len(dict(sweep)) == 2
