"""TransformerLens's own tools under `attach`, against the same tools on a model that was built as the route says."""

from __future__ import annotations

import copy

import pytest
import torch
import transformers as hf
from transformer_lens import patching
from transformer_lens.tools.analysis import attribution_patch, direct_logit_attribution, logit_lens

import mechpaint as mp
from mechpaint.hooks import Average, Duplicate, Hooks, Pair, ReadResidual, Reroute, Reverse, Skip, Swap
from tests import tiny

TOKENS = torch.tensor([[5, 17, 42, 9]])
OTHER = torch.tensor([[5, 3, 42, 9]])
EVERY = list(range(97))
SKIPS = (Skip(1, 1), Skip(0, 0), Skip(3, 3), Skip(1, 2))
OUT_OF_ORDER = (Swap(1, 2), Reverse(0, 3), Average(1, 2), Pair(1, 2), Duplicate(1, 2), Reroute("0 1 2 1 3"))


def _module():
    torch.manual_seed(0)
    config = hf.LlamaConfig(
        vocab_size=97,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=4,
        num_attention_heads=4,
        initializer_range=0.2,
    )
    return hf.LlamaForCausalLM(config).eval()


@pytest.fixture(scope="module")
def module():
    return _module()


@pytest.fixture(scope="module")
def model(module):
    return mp.load(copy.deepcopy(module))


def _built(module, route):
    """A bridge on a copy of the model that has the layers of a route of single layers, in its order."""
    module = copy.deepcopy(module)
    layers = [copy.deepcopy(module.model.layers[visit.layer]) for visit in route.visits()]
    for i, layer in enumerate(layers):
        layer.self_attn.layer_idx = i
    module.model.layers = torch.nn.ModuleList(layers)
    module.config.num_hidden_layers = len(layers)
    return mp.load(module)


def _rows(route, n_layers=4):
    """The rows of the layers on the route, and of the end, in a stack that has one for every layer."""
    return [*(visit.layer for visit in route.visits()), n_layers]


@pytest.mark.parametrize("hook_set", [mp.HookSet(), *SKIPS[:-2], Skip(1, 2)], ids=str)
def test_the_logit_lens_is_that_of_the_built_model(module, model, hook_set):
    route = hook_set.route(4)
    with mp.attach(model, hook_set):
        found = logit_lens(model, TOKENS, vocab=EVERY, return_type="logits")
    built = logit_lens(_built(module, route), TOKENS, vocab=EVERY, return_type="logits")
    assert [found.labels[i] for i in _rows(route)[:-1]] == [f"{visit.layer}_pre" for visit in route.visits()]
    torch.testing.assert_close(found.readout.values[_rows(route)], built.readout.values, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("hook_set", [mp.HookSet(), *SKIPS], ids=str)
def test_what_is_accumulated_and_decomposed_is_that_of_the_built_model(module, model, hook_set):
    route = hook_set.route(4)
    with torch.no_grad(), mp.attach(model, hook_set):
        _, cache = model.run_with_cache(TOKENS)
    _, expected = _built(module, route).run_with_cache(TOKENS)
    streams = cache.accumulated_resid()
    torch.testing.assert_close(streams[_rows(route)], expected.accumulated_resid(), atol=1e-4, rtol=1e-4)
    terms = cache.decompose_resid()
    torch.testing.assert_close(terms.sum(0), expected.decompose_resid().sum(0), atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(terms.sum(0), streams[-1], atol=1e-4, rtol=1e-4)
    one = cache.apply_slice_to_batch_dim(0)
    torch.testing.assert_close(one.accumulated_resid(), streams[:, 0], atol=1e-5, rtol=1e-5)


def test_the_logit_lens_needs_the_last_layer(model):
    with mp.attach(model, Skip(3, 3)), pytest.raises(KeyError, match="layer 3 does not run on the route 0-2"):
        logit_lens(model, TOKENS)


@pytest.mark.parametrize("hook_set", OUT_OF_ORDER, ids=str)
def test_what_adds_up_layers_is_refused_out_of_order(model, hook_set):
    with torch.no_grad(), mp.attach(model, hook_set):
        with pytest.raises(mp.CannotReroute, match="read by visit"):
            logit_lens(model, TOKENS)
        with pytest.raises(mp.CannotReroute, match="read by visit"):
            model.run_with_cache(TOKENS)[1].accumulated_resid()
        with pytest.raises(mp.CannotReroute, match="read by visit"):
            model.run_with_cache(TOKENS)[1].decompose_resid()


@pytest.mark.parametrize("hook_set", [Swap(1, 2), Reverse(0, 3), Average(1, 2), Pair(1, 2), Skip(1, 1)], ids=str)
def test_a_cache_holds_the_one_visit_of_every_layer(model, hook_set):
    with torch.no_grad(), mp.attach(model, hook_set + ReadResidual()) as session:
        _, cache = model.run_with_cache(TOKENS)
    for visit, residual in session["residual"].items():
        assert torch.equal(cache[f"blocks.{visit.layer}.hook_out"], residual)
        assert torch.equal(cache["resid_post", visit.layer], residual)


@pytest.mark.filterwarnings("ignore:Backward hooks on hook_scale")
def test_a_layer_that_runs_twice_is_not_cached_and_others_are(model):
    with mp.attach(model, Reroute("0 1 2 1 3") + ReadResidual()) as session:
        for filtered in (None, "blocks.1.hook_out", lambda name: name.startswith("blocks.1.ln")):
            with pytest.raises(mp.CannotReroute, match="layer 1 runs 2 times on the route 0-2 1 3"):
                model.run_with_cache(TOKENS, names_filter=filtered)
        with pytest.raises(mp.CannotReroute, match="layer 1 runs 2 times"):
            model.run_with_cache(TOKENS, names_filter="blocks.1.hook_out", incl_bwd=True, return_type="loss")
        _, cache = model.run_with_cache(TOKENS, names_filter="blocks.2.hook_out")
        assert torch.equal(cache["blocks.2.hook_out"], session["residual"][mp.Visit(2, 2)])


@pytest.mark.filterwarnings("ignore:Backward hooks on hook_scale")
def test_gradients_in_a_cache_are_those_of_the_one_visit(model):
    kept = []

    def keep(tensor, hook):
        tensor.retain_grad()
        kept.append(tensor)

    with mp.attach(model, Swap(1, 2)):
        model.run_with_hooks(TOKENS, fwd_hooks=[("blocks.1.hook_out", keep)], return_type="loss").backward()
        _, cache = model.run_with_cache(TOKENS, return_type="loss", incl_bwd=True)
    torch.testing.assert_close(cache["blocks.1.hook_out_grad"], kept[0].grad, atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(cache["blocks.1.hook_out"], kept[0].detach(), atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("hook_set", [Skip(1, 1), Reverse(1, 2), Duplicate(1, 2)], ids=str)
@pytest.mark.parametrize("bound", [{"stop_at_layer": 1}, {"stop_at_layer": -1}, {"start_at_layer": 1}], ids=str)
def test_bounds_are_refused_by_every_entrance(model, hook_set, bound):
    given = TOKENS if "stop_at_layer" in bound else torch.randn(1, 3, 32)
    with torch.no_grad(), mp.attach(model, hook_set):
        for call in (model, model.run_with_cache, model.run_with_hooks):
            with pytest.raises(mp.CannotReroute, match="mean nothing on a route"):
                call(given, **bound)
    with pytest.raises(mp.CannotReroute, match="mean nothing on a route"):
        list(mp.sweep(model, TOKENS, "0-3", stop_at_layer=2))


def test_bounds_of_the_models_own_order_are_the_models(model):
    with torch.no_grad():
        plain = model(TOKENS, stop_at_layer=2)
        _, cached = model.run_with_cache(TOKENS, stop_at_layer=2)
        with mp.attach(model, mp.HookSet()):
            assert torch.equal(model(TOKENS, stop_at_layer=2), plain)
            assert torch.equal(model.run_with_cache(TOKENS, stop_at_layer=2)[0], plain)
            assert list(model.run_with_cache(TOKENS, stop_at_layer=2)[1]) == list(cached)
            torch.testing.assert_close(model(plain, start_at_layer=2), model(TOKENS), atol=1e-5, rtol=1e-5)


def _metric(logits):
    return logits[0, -1, 3] - logits[0, -1, 7]


def _patched(model, hook_set, clean):
    """What patching the stream that enters each layer gives, one position after the other, by a hook of one's own."""
    rows = []
    for layer in range(4):
        rows.append([])
        for position in range(TOKENS.shape[1]):

            def patch(tensor, hook, layer=layer, position=position):
                tensor = tensor.clone()
                tensor[:, position] = clean[layer][:, position]
                return tensor

            with torch.no_grad(), mp.attach(model, hook_set + Hooks([(f"blocks.{layer}.hook_in", patch)])):
                rows[-1].append(_metric(model(OTHER)))
    return torch.tensor(rows)


@pytest.mark.parametrize("hook_set", [mp.HookSet(), Swap(1, 2), Reverse(0, 3), Average(1, 2)], ids=str)
def test_activation_patching_is_that_of_a_plain_loop(model, hook_set):
    with torch.no_grad(), mp.attach(model, hook_set):
        _, clean = model.run_with_cache(TOKENS)
        found = patching.get_act_patch_resid_pre(model, OTHER, clean, _metric)
    expected = _patched(model, hook_set, [clean[f"blocks.{layer}.hook_in"] for layer in range(4)])
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


def test_activation_patching_equals_the_built_models(module, model):
    route = Swap(1, 2).route(4)
    built = _built(module, route)
    with torch.no_grad(), mp.attach(model, Swap(1, 2)):
        _, clean = model.run_with_cache(TOKENS)
        found = patching.get_act_patch_resid_pre(model, OTHER, clean, _metric)
    with torch.no_grad():
        expected = patching.get_act_patch_resid_pre(built, OTHER, built.run_with_cache(TOKENS)[1], _metric)
    torch.testing.assert_close(found[[0, 2, 1, 3]], expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("hook_set", [Skip(1, 1), Duplicate(1, 2)], ids=str)
def test_activation_patching_is_refused_where_a_layer_runs_twice_or_not_at_all(model, hook_set):
    with torch.no_grad():
        _, clean = model.run_with_cache(TOKENS)
        with mp.attach(model, hook_set), pytest.raises(mp.InputError, match=r"layer 1 (runs 2 times|does not run)"):
            patching.get_act_patch_resid_pre(model, OTHER, clean, _metric)


@pytest.fixture
def compatible(module):
    """A model in compatibility mode, which attribution needs."""
    model = mp.load(copy.deepcopy(module))
    model.enable_compatibility_mode(disable_warnings=True)
    return model


def test_attribution_in_the_models_own_order_is_the_models(compatible):
    plain = attribution_patch(compatible, TOKENS, OTHER, _metric)
    direct = direct_logit_attribution(compatible, TOKENS, 3)
    with mp.attach(compatible, mp.HookSet()):
        found = attribution_patch(compatible, TOKENS, OTHER, _metric)
        assert str(direct_logit_attribution(compatible, TOKENS, 3)) == str(direct)
    assert str(found) == str(plain)


@pytest.mark.parametrize("hook_set", [Skip(1, 1), *OUT_OF_ORDER], ids=str)
def test_attribution_on_other_routes_is_refused(compatible, hook_set):
    with mp.attach(compatible, hook_set), pytest.raises(mp.InputError):
        attribution_patch(compatible, TOKENS, OTHER, _metric)


@pytest.mark.parametrize("hook_set", OUT_OF_ORDER, ids=str)
def test_direct_attribution_out_of_order_is_refused(compatible, hook_set):
    with mp.attach(compatible, hook_set), pytest.raises(mp.CannotReroute):
        direct_logit_attribution(compatible, TOKENS, 3)


def test_a_hook_on_a_layer_that_does_not_run_is_refused_and_a_filter_is_not(model):
    def nothing(tensor, hook):
        return None

    with torch.no_grad(), mp.attach(model, Skip(1, 1)):
        with pytest.raises(mp.HookSetError, match=r"'blocks.1.hook_out' would never fire: layer 1 does not run"):
            model.run_with_hooks(TOKENS, fwd_hooks=[("blocks.1.hook_out", nothing)])
        with (
            pytest.raises(mp.HookSetError, match="would never fire"),
            model.hooks(fwd_hooks=[("blocks.1.ln1.hook_out", nothing)]),
        ):
            pass
        model.run_with_hooks(TOKENS, fwd_hooks=[(lambda name: name.endswith("hook_out"), nothing)])
    model.run_with_hooks(TOKENS, fwd_hooks=[("blocks.1.hook_out", nothing)])


def test_entries_of_layers_that_do_not_run_say_so(model):
    with torch.no_grad(), mp.attach(model, Skip(1, 1)):
        _, cache = model.run_with_cache(TOKENS)
    for key in (("pattern", 1), "blocks.1.hook_out", ("z", 1)):
        with pytest.raises(KeyError, match="layer 1 does not run on the route 0 2-3"):
            cache[key]
    with pytest.raises(KeyError, match="nonsense"):
        cache["nonsense"]


def test_a_model_in_evaluation_stays_in_it(model):
    with mp.attach(model, Reverse(0, 3)):
        assert not any(part.training for part in model.modules())
        assert not any(part.training for part in model.original_model.modules())
        model.train()
    assert all(part.training for part in model.original_model.modules())
    model.eval()
    assert not any(part.training for part in model.original_model.modules())
    assert "run_with_cache" not in vars(model)


def test_direct_paths_need_the_models_order(model):
    with torch.no_grad(), mp.attach(model, Swap(1, 2)):
        clean, corrupt = model.run_with_cache(TOKENS)[1], model.run_with_cache(OTHER)[1]
        with pytest.raises(mp.CannotReroute, match="patching a direct path"):
            patching.get_act_patch_direct_path(model, OTHER, clean, corrupt, _metric, 1, 0)


def test_every_way_to_name_a_skipped_layer_is_refused(model):
    def nothing(tensor, hook):
        return None

    with torch.no_grad(), mp.attach(model, Skip(1, 1)):
        with pytest.raises(mp.HookSetError, match="would never fire"):
            model.run_with_hooks(TOKENS, fwd_hooks=(("blocks.1.hook_out", nothing),))
        with pytest.raises(mp.HookSetError, match="would never fire"):
            model.add_hook("blocks.1.hook_out", nothing)
        model.add_hook("blocks.2.hook_out", nothing)
        model.reset_hooks()


@pytest.mark.parametrize("wrong", [lambda x: x[:, :1], lambda x: 5, lambda x: x.numpy(), lambda x: (x, x)])
def test_a_hook_that_returns_something_else_is_refused(model, wrong):
    said = "expected None, or a tensor like the one that it got"
    for where in ("blocks.1.hook_out", "blocks.3.hook_out"):
        hook_set = Average(1, 2) + Hooks([(where, lambda x, hook: wrong(x))])
        with torch.no_grad(), mp.attach(model, hook_set), pytest.raises(mp.HookSetError, match=said):
            model(TOKENS)


NO_HOOKS = ([("blocks.1.hook_out", 3)], [(3, print)], {"a": print}, [("a",)], 5, print, "ab")


@pytest.mark.parametrize("functions", NO_HOOKS, ids=str)
def test_hooks_are_pairs_of_a_place_and_a_function(functions, as_users_run):
    with pytest.raises(mp.HookSetError, match="expected pairs of a hook name"):
        Hooks(functions)


def test_a_sweep_takes_no_cache_and_no_input_that_would_be_ignored(model):
    with pytest.raises(mp.InputError, match="has no key-value cache"):
        mp.sweep(model, TOKENS, "0-3", past_key_values=hf.DynamicCache())
    with pytest.raises(mp.InputError, match="takes no 'positon_ids', but 'position_ids'"):
        mp.sweep(model, TOKENS, "0-3", positon_ids=TOKENS)
    with pytest.raises(ValueError, match="no real token"):
        mp.sweep(model, TOKENS, "0-3", attention_mask=torch.zeros_like(TOKENS), positions="last")


def test_a_list_of_hidden_states_is_refused_on_a_route():
    model = tiny.bridge("llama")
    plain = model.original_model(TOKENS % 97, output_hidden_states=True).hidden_states
    with mp.attach(model, mp.Route.identity(tiny.N_LAYERS)):
        attached = model.original_model(TOKENS % 97, output_hidden_states=True).hidden_states
    assert all(map(torch.equal, plain, attached))
    for hook_set in ("skip(1, 2)", "swap(1, 2)", "average(1, 2)"):
        with mp.attach(model, hook_set), pytest.raises(mp.CannotReroute, match="output_hidden_states"):
            model.original_model(TOKENS % 97, output_hidden_states=True)
