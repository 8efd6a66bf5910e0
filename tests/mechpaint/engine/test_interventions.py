"""Interventions against torch hooks on the modules of Hugging Face, in a plain loop over its layers."""

from __future__ import annotations

from functools import cache

import pytest
import torch

import mechpaint as mp
from mechpaint.hooks import (
    Ablate,
    Freeze,
    Hooks,
    Knockout,
    Patch,
    Read,
    ReadResidual,
    ReadStream,
    Reroute,
    Scale,
    Steer,
)
from mechpaint.routes.hookset import HookSet
from mechpaint.routes.route import Route
from mechpaint.routes.steps import Visit
from tests import edited, plain, tiny

NAMES = tuple(edited.NAMES)
TEXT, STEPS = "3 1 3 (2 4)", [3, 1, 3, (2, 4)]
VISITS = tuple(Route.parse(TEXT, tiny.N_LAYERS).visits())
POINTS = {"heads": "attn.hook_z", "attention": "hook_attn_out", "mlp": "hook_mlp_out", "layer": "hook_out"}
BOUND = 2e-5
"""Of differences that are rounding, relative to the largest number."""


@cache
def _bridge(name):
    return tiny.bridge(name)


@cache
def _module(name):
    return tiny.module(name)


def _tokens(seed=1):
    return torch.randint(0, 97, (3, 9), generator=torch.Generator().manual_seed(seed))


def _found(name, hook_set, tokens=None, text=TEXT):
    """The residual stream after the last step, and the session."""
    with torch.no_grad(), mp.attach(_bridge(name), Reroute(text) + hook_set + ReadStream()) as session:
        _bridge(name)(_tokens() if tokens is None else tokens)
    return session.stream[-1], session


@cache
def _bare(name, seed):
    with torch.no_grad():
        return plain.hugging_face(_module(name), _tokens(seed))


def _expected(name, changes, seed=1, steps=STEPS, kept=None):
    with torch.no_grad():
        return edited.loop(_bare(name, seed), _module(name), edited.NAMES[name], changes, kept).residual(steps)


@cache
def _clean(name):
    return _expected(name, {})


@cache
def _other(name):
    """Another prompt's activations: as a cache, and as the plain loop saw them."""
    reads = HookSet()
    for point in POINTS.values():
        reads = reads + Read(point)
    _, session = _found(name, reads, _tokens(2))
    kept: dict = {}
    _expected(name, {}, 2, kept=kept)
    return session.cache, kept


def _same(found, expected, clean):
    scale = expected.abs().max()
    assert (found - expected).abs().max() < BOUND * scale
    assert (clean - expected).abs().max() > 10 * BOUND * scale, "this change shows nothing"


def _direction():
    return torch.randn(32, generator=torch.Generator().manual_seed(3))


EVERY = {
    "zero heads": (
        lambda v, c: Ablate(heads=[(v, 1), (v, 3)]), "heads", lambda o: edited.of_heads([1, 3], edited.zero),
    ),
    "zero attention": (lambda v, c: Ablate(attention=v), "attention", lambda o: edited.zero),
    "zero mlp": (lambda v, c: Ablate(mlp=v), "mlp", lambda o: edited.zero),
    "zero layer": (lambda v, c: Ablate(layers=v), "added", lambda o: edited.zero),
    "zero mlp at positions": (
        lambda v, c: Ablate(mlp=v, positions=[2, -1]), "mlp", lambda o: edited.at([2, 8], edited.zero),
    ),
    "zero layer at a position": (
        lambda v, c: Ablate(layers=v, positions=3), "added", lambda o: edited.at([3], edited.zero),
    ),
    "zero a head at a position": (
        lambda v, c: Ablate(heads=[(v, 2)], positions=-2), "heads",
        lambda o: edited.of_heads([2], edited.at([7], edited.zero)),
    ),
    "mean of the batch": (
        lambda v, c: Ablate("mean", attention=v), "attention", lambda o: lambda x: x.mean(0, keepdim=True).expand_as(x),
    ),
    "mean of what a layer adds": (
        lambda v, c: Ablate("mean", layers=v), "added", lambda o: lambda x: x.mean(0, keepdim=True).expand_as(x),
    ),
    "mean of another text": (
        lambda v, c: Ablate(c.mean(), mlp=v), "mlp", lambda o: lambda x: o["mlp"].mean((0, 1)).expand_as(x),
    ),
    "mean of another text by position": (
        lambda v, c: Ablate(c.mean("batch"), heads=[(v, 0)]), "heads",
        lambda o: edited.of_heads([0], lambda x: o["heads"].mean(0, keepdim=True)),
    ),
    "resample": (lambda v, c: Ablate(c, attention=v), "attention", lambda o: lambda x: o["attention"]),
    "scale mlp": (lambda v, c: Scale(-1.5, mlp=v), "mlp", lambda o: lambda x: -1.5 * x),
    "scale attention": (lambda v, c: Scale(2.0, attention=v), "attention", lambda o: lambda x: 2 * x),
    "scale layer": (lambda v, c: Scale(0.5, layers=v), "added", lambda o: lambda x: 0.5 * x),
    "steer": (
        lambda v, c: Steer(_direction(), 2.0, visits=v, positions=-1), "layer",
        lambda o: edited.at([8], lambda x: x + 2 * _direction()),
    ),
    "steer what attention adds": (
        lambda v, c: Steer(_direction(), visits=v, point="hook_attn_out"), "attention",
        lambda o: lambda x: x + _direction(),
    ),
    "patch a layer at positions": (
        lambda v, c: Patch(c, visits=v, positions=[1, 4]), "layer", lambda o: edited.at([1, 4], lambda x: o["layer"]),
    ),
    "patch mlp": (lambda v, c: Patch(c, "hook_mlp_out", visits=v), "mlp", lambda o: lambda x: o["mlp"]),
    "patch heads": (
        lambda v, c: Patch(c, heads=[(v, 0), (v, 2)], positions=5), "heads",
        lambda o: edited.of_heads([0, 2], edited.at([5], lambda x: o["heads"])),
    ),
    "knock out edges": (
        lambda v, c: Knockout(2, queries=[4, -1], visits=v), "mask", lambda o: edited.cut([4, 8], [2], range(4)),
    ),
    "knock out edges of heads": (
        lambda v, c: Knockout([7, -1], queries=8, heads=[(v, 1), (v, 2)]), "mask",
        lambda o: edited.cut([8], [7, 8], [1, 2]),
    ),
}  # fmt: skip


def _check(name, what, number):
    make, part, change = EVERY[what]
    source, kept = _other(name)
    found, _ = _found(name, make(VISITS[number], source))
    _same(found, _expected(name, {number: [(part, change(kept[number]))]}), _clean(name))


@pytest.mark.parametrize("what", EVERY)
def test_every_visit_alone(what):
    for number in range(len(VISITS)):
        _check("llama", what, number)


EVERYWHERE = (
    "zero a head at a position", "zero layer at a position", "mean of the batch", "scale mlp", "scale attention",
    "steer", "patch mlp", "knock out edges of heads",
)  # fmt: skip
"""One of each part, on architectures that call them otherwise or have norms after them."""


@pytest.mark.parametrize("what", EVERYWHERE)
@pytest.mark.parametrize("name", NAMES[1:])
def test_the_second_visit_of_a_layer_alone(name, what):
    _check(name, what, VISITS.index(Visit(2, 3)))


def test_a_layer_at_all_of_its_visits_is_several_changes():
    found, _ = _found("llama", Ablate(heads="3.1, 3#2.0, @3.2"))
    first, second = edited.of_heads([1], edited.zero), edited.of_heads([0, 1], edited.zero)
    both = edited.of_heads([2], edited.zero)
    changes = {0: [("heads", first)], 2: [("heads", second)], 3: [("heads", both)], 4: [("heads", both)]}
    _same(found, _expected("llama", changes), _clean("llama"))


@pytest.mark.parametrize("name", ["llama", "gpt_neox"])
@pytest.mark.parametrize(("text", "steps"), [("0 3 (1 2) 3", [0, 3, (1, 2), 3]), ("0 3 (1+2) 3", [0, 3, [1, 2], 3])])
def test_a_group_is_edited_by_member_and_read_merged(name, text, steps):
    """What one member adds is halved: in a mean its share of the stream, in a sum all of it."""
    changes = {2: [("added", lambda x: 0.5 * x)]}
    stream = _expected(name, changes, steps=steps[:3])
    found, session = _found(name, Scale(0.5, layers=Visit(2, 1)) + ReadResidual(), text=text)
    assert len(session.stream) == len(steps) + 1
    assert (session.stream[3] - stream).abs().max() < BOUND * stream.abs().max()
    added = [session["residual"][Visit(2, layer)] - session.stream[2] for layer in (1, 2)]
    merged = session.stream[2] + (sum(added) if isinstance(steps[2], list) else torch.stack(added).mean(0))
    assert (session.stream[3] - merged).abs().max() < BOUND * stream.abs().max()
    _same(found, _expected(name, changes, steps=steps), _expected(name, {}, steps=steps))


@pytest.mark.parametrize("name", ["llama", "gemma3"])
def test_changes_at_one_point_apply_in_the_order_of_their_sum(name):
    steer, ablate = Steer(_direction(), visits="3#2", point="hook_mlp_out"), Scale(0.5, mlp="3#2")
    add, halve = ("mlp", lambda x: x + _direction()), ("mlp", lambda x: 0.5 * x)
    first, _ = _found(name, steer + ablate)
    second, _ = _found(name, ablate + steer)
    _same(first, _expected(name, {2: [add, halve]}), _expected(name, {2: [halve, add]}))
    _same(second, _expected(name, {2: [halve, add]}), _expected(name, {2: [add, halve]}))


def test_reads_before_and_after_a_change():
    steer = Steer(_direction(), visits="3#2")
    _, plainly = _found("llama", ReadResidual(visits="3#2"))
    _, before = _found("llama", ReadResidual(visits="3#2") + steer)
    _, after = _found("llama", steer + ReadResidual(visits="3#2"))
    clean = plainly["residual"]["3#2"]
    assert torch.equal(before["residual"]["3#2"], clean)
    assert torch.equal(after["residual"]["3#2"], clean + _direction())
    assert torch.equal(before.cache["hook_out", "3#2"], clean)


def test_the_same_change_twice_is_made_twice():
    steer = Steer(_direction(), visits="3#2")
    found, _ = _found("llama", steer + steer)
    expected, _ = _found("llama", Steer(_direction(), 2.0, visits="3#2"))
    assert (found - expected).abs().max() < 1e-4


def test_what_a_layer_adds_is_told_from_what_it_was_handed_by_other_changes():
    """`Ablate(layers=...)` hands on what entered the layer after an earlier set changed that."""
    found, _ = _found("llama", Steer(_direction(), visits="3#2", point="hook_in") + Ablate(layers="3#2"))
    expected, _ = _found("llama", Steer(_direction(), visits="1") + Ablate(layers="3#2"))
    assert torch.allclose(found, expected, atol=1e-4)


def _patterns(name, seed):
    """The attention pattern of every visit, as Hugging Face's attention returns it."""
    seen: list[torch.Tensor] = []
    modules = [layer.self_attn for layer in plain._layers(_module(name))]
    keep = [lambda m, args, output: seen.append(output[1])] * len(modules)
    _bare(name, seed)
    _with_hooks(modules, keep, lambda: _expected(name, {}, seed))
    return seen


@pytest.mark.parametrize("name", ["llama", "gemma3"])
def test_frozen_patterns_are_another_runs_and_move_this_runs_values(name):
    _, other = _found(name, Read("attn.hook_pattern"), _tokens(2))
    patterns = _patterns(name, 2)
    values: list[torch.Tensor] = []

    def frozen(z):
        value = values[-1].unflatten(-1, (2, -1)).transpose(1, 2).repeat_interleave(2, dim=1)
        return (patterns[2] @ value).transpose(1, 2)

    layer = plain._layers(_module(name))[3]
    handle = layer.self_attn.v_proj.register_forward_hook(lambda m, args, output: values.append(output))
    expected = _expected(name, {2: [("heads", frozen)]})
    handle.remove()
    found, _ = _found(name, Freeze(other.cache, visits="3#2"))
    _same(found, expected, _clean(name))


@pytest.mark.filterwarnings("ignore:A forward hook edited hook_scale")  # TransformerLens, of rounding
@pytest.mark.parametrize("name", ["llama", "gpt2"])
def test_frozen_norms_divide_by_another_runs_scale(name):
    reads = Read("ln1.hook_scale") + Read("ln2.hook_scale")
    _, other = _found(name, reads, _tokens(2))
    layer = plain._layers(_module(name))[3]
    norms = (layer.ln_1, layer.ln_2) if name == "gpt2" else (layer.input_layernorm, layer.post_attention_layernorm)
    held: list[list[torch.Tensor]] = [[], []]

    def centred(x):
        return x - x.mean(-1, keepdim=True) if name == "gpt2" else x

    def note(which):
        return lambda m, args, output: held[which].append((centred(args[0]).square().mean(-1, keepdim=True)).sqrt())

    def hold(which, calls):
        def replace(m, args, output):
            calls.append(None)
            if len(calls) != 2:
                return None
            out = centred(args[0]) / held[which][1] * m.weight
            return out + m.bias if name == "gpt2" else out

        return replace

    _bare(name, 1), _bare(name, 2)  # which run the whole model, and not under these hooks
    _with_hooks(norms, [note(0), note(1)], lambda: _expected(name, {}, 2))
    expected = _with_hooks(norms, [hold(0, []), hold(1, [])], lambda: _expected(name, {}))
    found, _ = _found(name, Freeze(other.cache, "norms", visits="3#2"))
    _same(found, expected, _clean(name))


def _with_hooks(modules, hooks, run):
    handles = [module.register_forward_hook(hook) for module, hook in zip(modules, hooks, strict=True)]
    try:
        return run()
    finally:
        for handle in handles:
            handle.remove()


def test_a_patch_from_another_route_takes_the_same_layer_for_the_same_time():
    _, other = _found("llama", ReadResidual(), text="3 0 3 5")
    kept: dict = {}
    _expected("llama", {}, steps=[3, 0, 3, 5], kept=kept)
    found, _ = _found("llama", Patch(other.cache, visits="3#2"))
    _same(found, _expected("llama", {2: [("layer", lambda x: kept[2]["layer"])]}), _clean("llama"))


def test_a_run_patched_with_all_of_another_is_the_other():
    _, other = _found("gpt2", ReadResidual(), _tokens(2))
    found, _ = _found("gpt2", Patch(other.cache))
    assert torch.equal(found, _found("gpt2", HookSet(), _tokens(2))[0])


INTERVENTIONS = {
    "ablate": lambda c: Ablate(heads="3#2.1", mlp="1"),
    "ablate a layer": lambda c: Ablate(layers="3#1"),
    "mean": lambda c: Ablate("mean", attention="3#2"),
    "mean of another text": lambda c: Ablate(c.mean(), mlp="3#2"),
    "scale": lambda c: Scale(0.3, layers="3#2", mlp="1"),
    "steer": lambda c: Steer(_direction(), 1.5, visits="3#-1"),
    "steer a position": lambda c: Steer(_direction(), 3.0, visits="1", positions=2),
    "knockout": lambda c: Knockout(2, queries=[3, 4], visits="3#2"),
    "knockout for all that comes": lambda c: Knockout(1, queries=range(2, 9), layers=3),
}


@pytest.mark.parametrize("what", INTERVENTIONS)
@pytest.mark.parametrize("name", ["llama"])
def test_generating_with_and_without_the_cache_is_the_same(name, what):
    hook_set = Reroute(TEXT) + INTERVENTIONS[what](_other(name)[0])
    model, prompt = _bridge(name), _tokens()
    options = {"max_new_tokens": 4, "do_sample": False, "stop_at_eos": False, "verbose": False, "output_logits": True}
    with torch.no_grad(), mp.attach(model, hook_set):
        cached = model.generate(prompt, use_past_kv_cache=True, **options)
        again = model.generate(prompt, use_past_kv_cache=False, **options)
    with torch.no_grad(), mp.attach(model, Reroute(TEXT)):
        clean = model.generate(prompt, use_past_kv_cache=True, **options)
    assert torch.equal(cached.sequences, again.sequences)
    for one, other in zip(cached.logits, again.logits, strict=True):
        assert (one - other).abs().max() < 1e-3
    assert (torch.stack(cached.logits) - torch.stack(clean.logits)).abs().max() > 0.01


@pytest.mark.parametrize("name", ["llama", "gpt2"])
def test_gradients_flow_through_interventions(name):
    """Down to the embeddings, which the plain loop's reach too; tied weights get those of the unembedding as well."""
    hook_set = Ablate(heads="3#2.1") + Scale(0.5, mlp="1") + Steer(_direction(), visits="3#1") + Ablate(layers="4")
    changes = {
        0: [("layer", lambda x: x + _direction())],
        1: [("mlp", lambda x: 0.5 * x)],
        2: [("heads", edited.of_heads([1], edited.zero))],
        4: [("added", edited.zero)],
    }
    model, module = _bridge(name), _module(name)
    embedding = module.get_input_embeddings().weight
    loop = edited.loop(plain.hugging_face(module, _tokens()), module, edited.NAMES[name], changes)
    expected = torch.autograd.grad(loop.logits(STEPS)[:, -1].square().sum(), embedding)[0]
    weight = model.original_model.get_input_embeddings().weight
    with mp.attach(model, Reroute(TEXT) + hook_set):
        logits = model(_tokens())
    found = torch.autograd.grad(logits[:, -1].square().sum(), weight)[0]
    assert (found - expected).abs().max() < 1e-4 * expected.abs().max()


def test_a_hook_is_told_its_visit():
    seen = []

    def halve(tensor, hook, visit):
        seen.append((hook.name, visit))
        return tensor * 0.5 if visit == Visit(2, 3) else None

    found, _ = _found("llama", Hooks([("blocks.3.hook_mlp_out", halve)]))
    assert [visit for _, visit in seen] == [Visit(0, 3), Visit(2, 3)]
    _same(found, _expected("llama", {2: [("mlp", lambda x: 0.5 * x)]}), _clean("llama"))
    _found("llama", Hooks([("blocks.3.hook_mlp_out", halve)]))
    assert len(seen) == 4  # and nothing is carried from one call to the next


def test_an_intervention_leaves_the_model_as_it_was():
    with torch.no_grad():
        before = _bridge("llama")(_tokens())
    _found("llama", Ablate(layers="*") + Steer(_direction()))
    with torch.no_grad():
        assert torch.equal(_bridge("llama")(_tokens()), before)


def test_half_precision_stays_what_it_is():
    model = mp.load(_module("llama").__class__(_module("llama").config).to(torch.bfloat16).eval())
    hook_set = Ablate("mean", mlp=2) + Steer(_direction(), layers=1) + Scale(0.5, layers=3) + ReadResidual()
    with torch.no_grad(), mp.attach(model, hook_set) as session:
        assert model(_tokens()).dtype == torch.bfloat16
    assert {value.dtype for value in session["residual"].values()} == {torch.bfloat16}
