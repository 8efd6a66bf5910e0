"""attach, and the route runner under it, against a plain loop over Hugging Face layers."""

from __future__ import annotations

import gc

import pytest
import torch

import mechpaint as mp
from mechpaint.engine.route_runner import RouteRunner
from mechpaint.hooks import Hooks, Read, ReadAttention, ReadResidual, Reroute, Reverse, Skip, Swap
from mechpaint.routes.route import Route
from mechpaint.routes.steps import Visit
from tests import tiny


def test_every_hook_point_fires_on_every_visit(llama):
    fired: list[str] = []
    gated = ("mlp_in", "attn_in", "hook_result", "q_input", "k_input", "v_input")  # off unless asked for
    hooks = Hooks(
        [
            (
                lambda n: n.startswith("blocks.") and not n.endswith(gated),
                lambda x, hook: fired.append(hook.name),
            )
        ]
    )
    with torch.no_grad(), mp.attach(llama, Reroute("0 2 (1-3) 2x2 5") + hooks):
        llama(tiny.tokens())
    visits = {0: 1, 1: 1, 2: 4, 3: 1, 4: 0, 5: 1}
    for layer, count in visits.items():
        names = {name for name in fired if name.startswith(f"blocks.{layer}.")}
        assert all(fired.count(name) == count for name in names)
        assert bool(names) == bool(count)
    assert {"blocks.2.hook_in", "blocks.2.attn.hook_pattern", "blocks.2.mlp.hook_out"} <= set(fired)


def test_reads_are_keyed_by_visit_and_are_what_the_layers_wrote(llama):
    tokens = tiny.tokens()
    with (
        torch.no_grad(),
        mp.attach(llama, Reroute("0 2 (1-3) 2 5") + ReadResidual() + ReadAttention([2])) as session,
    ):
        llama(tokens)
    residuals = session["residual"]
    assert list(session["attention"]) == [Visit(1, 2), Visit(2, 2), Visit(3, 2)]
    assert set(residuals) == set(session.route.visits())
    for visit, pattern in session["attention"].items():
        assert pattern.shape == (2, 4, 9, 9)
        assert torch.allclose(pattern.sum(-1), torch.ones(2, 4, 9)), visit
    # what a step wrote is what running only up to it gives
    for i, text in ((0, "0"), (1, "0 2"), (3, "0 2 (1-3) 2")):
        expected = _final_residual(llama, tokens, text)
        assert torch.equal(residuals[Visit(i, session.route.steps[i].layers[0])], expected)
    mean = torch.stack([residuals[Visit(2, layer)] for layer in (1, 2, 3)]).mean(0)
    assert (mean - _final_residual(llama, tokens, "0 2 (1-3)")).abs().max() < 1e-5


def _final_residual(model, tokens, text):
    runner = RouteRunner(model)
    with torch.no_grad():
        return runner.run(Route.parse(text, tiny.N_LAYERS), runner.record(tokens))


def test_reads_hold_the_last_forward_pass_only(llama):
    with torch.no_grad(), mp.attach(llama, Read("mlp.hook_out", [2])) as session:
        llama(tiny.tokens(rows=1, length=5))
        llama(tiny.tokens(rows=3, length=7))
    assert {v: tuple(t.shape) for v, t in session["mlp.hook_out"].items()} == {Visit(2, 2): (3, 7, 32)}


def test_run_with_cache_and_run_with_hooks_follow_the_route(llama):
    tokens, seen = tiny.tokens(), []
    with torch.no_grad(), mp.attach(llama, Swap(1, 4)):
        expected = llama(tokens)
        cached, cache = llama.run_with_cache(tokens)
        hooked = llama.run_with_hooks(tokens, fwd_hooks=[("blocks.4.hook_in", lambda x, hook: seen.append(x))])
    assert torch.equal(cached, expected)
    assert torch.equal(hooked, expected)
    assert torch.equal(cache["blocks.4.hook_in"], cache["blocks.0.hook_out"])
    assert torch.equal(seen[0], cache["blocks.0.hook_out"])


def test_hooks_may_change_what_passes(llama):
    tokens = tiny.tokens()
    zero = Hooks([("blocks.2.attn.hook_out", lambda x, hook: torch.zeros_like(x))])
    with torch.no_grad():
        with mp.attach(llama, Reverse(1, 4) + zero):
            logits = llama(tokens)
        with mp.attach(llama, Reverse(1, 4)):
            expected = llama.run_with_hooks(tokens, fwd_hooks=[("blocks.2.attn.hook_out", lambda x, hook: x * 0)])
    assert torch.equal(logits, expected)


def test_skipped_layers_never_run(llama):
    ran: list[int] = []
    handles = [block.register_forward_hook(lambda *_, i=i: ran.append(i)) for i, block in enumerate(llama.blocks)]
    with torch.no_grad(), mp.attach(llama, Skip(1, 4)):
        ran.clear()  # of the probe
        llama(tiny.tokens())
    for handle in handles:
        handle.remove()
    assert ran == [0, 5]


def _state(model):
    blocks = model.blocks
    points = {name: tuple(point._forward_hooks) for name, point in model.hook_dict.items()}
    return id(model.original_model.model.layers), [id(b) for b in blocks], list(model.state_dict()), points


def test_the_model_is_restored_exactly(llama):
    before, tokens = _state(llama), tiny.tokens()
    with torch.no_grad():
        logits = llama(tokens)
        with mp.attach(llama, Reverse(1, 4) + ReadResidual()):
            assert list(llama.state_dict()) == before[2]
            assert len(list(llama.original_model.parameters())) == len(list(tiny.module("llama").parameters()))
            llama(tokens)
        assert _state(llama) == before
        with pytest.raises(ZeroDivisionError), mp.attach(llama, Reverse(1, 4) + ReadResidual()):
            1 / 0  # noqa: B018
        assert _state(llama) == before
        boom = Hooks([("blocks.3.hook_in", lambda x, hook: 1 / 0)])
        with pytest.raises(ZeroDivisionError), mp.attach(llama, boom):
            llama(tokens)
        assert _state(llama) == before
        assert torch.equal(llama(tokens), logits)


def test_users_own_hooks_survive_and_the_probe_does_not_fire_them(llama):
    fired = []
    llama.add_hook("blocks.0.hook_in", lambda x, hook: fired.append(tuple(x.shape)))
    try:
        with torch.no_grad(), mp.attach(llama, Skip(1, 1)):
            llama(tiny.tokens())
        with torch.no_grad():
            llama(tiny.tokens())
    finally:
        llama.reset_hooks()
    assert fired == [(2, 9, 32), (2, 9, 32)]


def test_nested_attach_is_refused_and_the_outer_one_goes_on(llama):
    tokens = tiny.tokens()
    with torch.no_grad(), mp.attach(llama, Skip(1, 1) + ReadResidual([3])) as session:
        expected = llama(tokens)
        read = session["residual"]
        with pytest.raises(mp.CannotReroute, match="attached already"), mp.attach(llama, Skip(2, 2)):
            pass
        with pytest.raises(mp.CannotReroute, match="attached already"):
            mp.sweep(llama, tokens, [Route.identity(6)])
        assert session["residual"][Visit(2, 3)] is read[Visit(2, 3)]
        assert torch.equal(llama(tokens), expected)


@pytest.mark.parametrize(
    ("hook_set", "error", "words"),
    [
        (Skip(0, 5), mp.RouteError, "empty"),
        (Skip(2, 6), mp.RouteError, "layers 0 to 5"),
        (Skip(2, 2) + ReadAttention([2]), mp.HookSetError, "never runs on the route 0-1 3-5"),
        (Read("attn.hook_patern"), mp.HookSetError, "nearest are blocks.0.attn.hook_pattern"),
        (Hooks([("blocks.0.attn.hook_zz", print)]), mp.HookSetError, "no hook point"),
        (Hooks([(lambda name: False, print)]), mp.HookSetError, "matches none"),
    ],
)
def test_what_cannot_work_is_refused_before_anything_runs(llama, hook_set, error, words):
    before = _state(llama)
    with pytest.raises(error, match=words), mp.attach(llama, hook_set):
        pytest.fail("the block must not be entered")
    assert _state(llama) == before


def test_a_hook_that_never_fires_is_an_error(llama):
    never = Hooks([("blocks.2.hook_in", lambda x, hook: None)])
    with (
        pytest.raises(mp.HookSetError, match=r"never fired: on the route 0-1 3-5"),
        mp.attach(llama, Skip(2, 2) + never),
    ):
        llama(tiny.tokens())
    with mp.attach(llama, Skip(2, 2) + never):
        pass  # the model did not run: nothing to complain about


def test_sessions_say_what_they_read(llama):
    with mp.attach(llama, ReadAttention()) as session:
        assert session.keys() == ("attention",)
        assert repr(session) == 'Session("0-5", reads: attention)'
        with pytest.raises(KeyError, match="has not run yet"):
            session["attention"]
    with pytest.raises(KeyError, match="it reads: attention"):
        session["residual"]


def test_stopping_at_a_layer_is_refused_under_a_route(llama):
    with mp.attach(llama, Skip(1, 1)), pytest.raises(mp.CannotReroute, match="stop_at_layer"):
        llama(tiny.tokens(), stop_at_layer=3)


def test_state_passed_between_layers_is_noticed():
    model = tiny.bridge("llama")
    model.original_model.config.num_kv_shared_layers = 2
    with pytest.raises(mp.CannotReroute, match="keys and values from layer to layer"):
        RouteRunner(model)


def test_a_stream_that_changes_between_layers_is_noticed():
    model = tiny.bridge("llama")
    with mp.attach(model, mp.HookSet()):
        # what the forward of such a model would do: scale the stream between its layers
        first, second, *_ = model.original_model.model.layers
        embeddings = torch.randn(1, 3, 32)
        handed_on = first(embeddings, attention_mask=None)
        assert handed_on is embeddings
        with pytest.raises(mp.CannotReroute, match="changes between layers 0 and 1"):
            second(embeddings * 2, attention_mask=None)


def test_only_bridges_are_attached(as_users_run):
    with pytest.raises(mp.CannotReroute, match=r"expected a TransformerBridge, got Linear: mechpaint\.load\(model\)"):
        mp.attach(torch.nn.Linear(2, 2), mp.HookSet()).__enter__()


def test_nothing_is_kept_alive_after_a_session():
    model = tiny.bridge("llama")
    with torch.no_grad(), mp.attach(model, ReadResidual()) as session:
        model(tiny.tokens(rows=5, length=11))
    del session
    gc.collect()
    left = [t for t in gc.get_objects() if type(t) is torch.Tensor and t.shape == (5, 11, 32)]
    assert not left
