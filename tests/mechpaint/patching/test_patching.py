"""Patching gives TransformerLens's numbers, on unrolled routes too; gradients give what small changes give."""

from __future__ import annotations

import pytest
import torch
from transformer_lens import patching as theirs

import mechpaint as mp
from mechpaint import patching
from mechpaint.errors import HookSetError, InputError, LoadError
from mechpaint.hooks import Patch, Read
from tests import tiny

ROUTES = (
    "",
    "loop(1, 2, 2)",
    *(pytest.param(text, marks=pytest.mark.slow) for text in ("reverse(1, 3)", "skip(2, 2)")),
)


SLOW = [pytest.param(name, marks=pytest.mark.slow) for name in ("gemma3", "gpt_neox")]


@pytest.fixture(scope="module", params=["llama", "gpt2", *SLOW])
def model(request):
    return tiny.bridge(request.param)


@pytest.fixture(scope="module")
def pair():
    clean = tiny.tokens(2, 7)
    corrupted = clean.clone()
    corrupted[:, 3] = (corrupted[:, 3] + 7) % tiny.VOCABULARY
    return clean, corrupted


def quiet(done):
    """No progress bar."""


@pytest.mark.parametrize("route", ROUTES)
def test_activation_patching_is_transformer_lens_on_the_unrolled_route(model, pair, route):
    clean, corrupted = pair
    metric = patching.logit_difference(model, 5, 9)
    unrolled = mp.unroll(model, route) if route else model
    with torch.no_grad():
        _, cache = unrolled.run_with_cache(clean)
        told = [
            function(unrolled, corrupted, cache, lambda logits: metric(logits[:, -1]))
            for function in (
                theirs.get_act_patch_resid_pre,
                theirs.get_act_patch_attn_head_out_all_pos,
                theirs.get_act_patch_attn_head_out_by_pos,
            )
        ]
        assert (
            patching.activation_patching(model, clean, corrupted, metric, route, advance=quiet).corrupted
            == float(metric(unrolled(corrupted)[:, -1]))
            or route
        )
    for over, expected in zip(("position", "head", "head and position"), told, strict=True):
        found = patching.activation_patching(model, clean, corrupted, metric, route, over=over, advance=quiet)
        values = found.values.transpose(1, 2) if over == "head and position" else found.values
        torch.testing.assert_close(values, expected.cpu(), atol=2e-5, rtol=1e-4)
        assert found.values.std() > 0
        assert len(found.table()) == found.values.numel()


def test_all_patches_of_a_layer_are_one_sweep(pair):
    """Layers before a patch run once: 7 positions, each from 6 layers on to 1, and what they share."""
    model, calls = tiny.bridge("llama"), []
    clean, corrupted = pair
    patching.activation_patching(model, clean, corrupted, patching.logit_difference(model, 5, 9), advance=calls.append)
    assert sum(calls) == 7 * 21 + 5  # layer 5 runs patched only


@pytest.mark.parametrize("route", ["", "loop(1, 2, 2)", "average(1, 3)"])
def test_attribution_is_the_slope_of_patching(model, pair, route):
    """Patch a thousandth of the way: the metric changes by a thousandth of what is attributed."""
    clean, corrupted = pair
    metric = patching.logit_difference(model, 5, 9)
    found = patching.attribution_patching(model, clean, corrupted, metric, route, over="head")
    with torch.no_grad():
        reads = Read("attn.hook_z")
        caches = []
        for tokens in (clean, corrupted):
            with mp.attach(model, mp.HookSet() + reads if not route else _hook_set(route) + reads) as session:
                model(tokens)
            caches.append(session.cache)
        share = 1e-2
        mixed = mp.VisitCache(
            caches[1].route, {key: value + share * (caches[0][key] - value) for key, value in caches[1].items()}
        )
        for i, visit in list(enumerate(found.visits))[::3]:
            with mp.attach(model, _hook_set(route) + Patch(mixed, heads=[(visit, 1)])):
                there = float(metric(model(corrupted)[:, -1]))
            estimate = float(found.values[i, 1]) - found.corrupted
            assert (there - found.corrupted) / share == pytest.approx(estimate, rel=0.1, abs=2e-3)


def _hook_set(text):
    from mechpaint.engine.arguments import as_hook_set

    return as_hook_set(text)


@pytest.mark.parametrize("name", ["llama", "gpt2"])
@pytest.mark.parametrize("route", ["", "loop(1, 2, 2)"])
def test_paths_add_up_to_what_is_attributed_to_their_senders(name, route, pair):
    """All that reads a component, and the logits: together the gradient with respect to what it writes."""
    model = tiny.bridge(name)
    clean, corrupted = pair
    metric = patching.logit_difference(model, 5, 9)
    paths = patching.path_patching(model, clean, corrupted, metric, route)
    for offset, point in enumerate(("attn.hook_out", "mlp.hook_out")):
        whole = patching.attribution_patching(model, clean, corrupted, metric, route, over="visit", point=point)
        torch.testing.assert_close(
            paths.values[offset::2].nan_to_num().sum(1), whole.values - whole.corrupted, atol=1e-5, rtol=1e-3
        )
    last = paths.values[-1].nan_to_num()
    assert last[:-1].abs().max() == 0  # nothing but the logits reads what the last MLP writes
    assert last[-1] != 0


def test_a_path_is_what_its_reader_makes_of_a_small_change(pair):
    """Change what layer 1's attention writes, as layer 3's MLP alone reads it."""
    model = tiny.bridge("llama")
    clean, corrupted = pair
    metric = patching.logit_difference(model, 5, 9)
    paths = patching.path_patching(model, clean, corrupted, metric)
    with torch.no_grad():
        _, one = model.run_with_cache(clean)
        _, other = model.run_with_cache(corrupted)
        name, share = "blocks.1.attn.hook_out", 1e-2
        step = share * (one[name] - other[name])
        there = model.run_with_hooks(corrupted, fwd_hooks=[("blocks.3.ln2.hook_in", lambda x, hook: x + step)])
        expected = (float(metric(there[:, -1])) - paths.corrupted) / share
    found = paths.values[paths.senders.index("1@1 attention"), paths.receivers.index("3@3 MLP")]
    assert float(found) == pytest.approx(expected, rel=0.1, abs=2e-3)


@pytest.mark.parametrize(
    ("change", "error", "said"),
    [
        ({"clean": "one two", "corrupted": "one"}, LoadError, "no tokenizer"),
        ({"positions": [9]}, InputError, "do not all exist"),
        ({"visits": "5#2"}, HookSetError, "has no visit 5#2"),
        ({"hook_set": "read_residual()"}, HookSetError, "reads or hooks"),
        ({"point": "hook_nothing"}, HookSetError, "no hook point"),
    ],
)
def test_what_cannot_be_patched_is_refused_before_anything_is(change, error, said, pair):
    model = tiny.bridge("llama")
    given = {"clean": pair[0], "corrupted": pair[1], "metric": patching.logit_difference(model, 5, 9), **change}
    with pytest.raises(error, match=said):
        patching.activation_patching(model, **given, advance=quiet)


def test_other_lengths_and_other_places_are_refused(pair, as_users_run):
    model, metric = tiny.bridge("llama"), lambda logits: logits.sum()
    with pytest.raises(InputError, match="all of one length"):
        patching.activation_patching(model, tiny.tokens(2, 6), pair[1], metric, advance=quiet)
    for function in (patching.activation_patching, patching.attribution_patching):
        with pytest.raises(InputError, match="expected over one of"):
            function(model, *pair, metric, over="neuron")


@pytest.mark.parametrize("name", ["gemma3", "gpt_neox", "bloom"])
def test_paths_are_refused_where_components_do_not_write_as_they_are(name, pair):
    model = tiny.bridge(name)
    with pytest.raises(InputError, match="paths"):
        patching.path_patching(model, *pair, patching.logit_difference(model, 5, 9))


def test_what_was_found_can_be_looked_at(pair):
    model = tiny.bridge("llama")
    metric = patching.logit_difference(model, 5, 9)
    found = patching.activation_patching(model, *pair, metric, "loop(1, 2, 2)", over="head", advance=quiet)
    drawn = found.figure()
    assert drawn.alt == "Heatmap of attn.hook_z patched by head on the route 0-2 1-5."
    assert drawn.html.count("<svg") == 1
    assert "normalised" in found._repr_html_()
    assert float(found.normalised.max()) == pytest.approx(
        (float(found.values.max() if found.clean > found.corrupted else found.values.min()) - found.corrupted)
        / (found.clean - found.corrupted)
    )
    with pytest.raises(InputError, match="metric that differs"):
        _ = patching.activation_patching(model, pair[0], pair[0], metric, over="visit", advance=quiet).normalised
