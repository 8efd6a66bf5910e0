"""Rerouting by hook points alone, against the route runner."""

from __future__ import annotations

import pytest
import torch

import mechpaint as mp
from mechpaint.hooks import Average, Hooks, Loop, Pair, ReadAttention, ReadResidual, Reverse, Skip
from tests import tiny


@pytest.mark.parametrize("name", tiny.MAKERS)
@pytest.mark.parametrize(
    "hook_set",
    [
        Skip(1, 4),
        Skip(0, 0) + Skip(5, 5),
        Average(1, 4),
        Average(0, 1) + Average(3, 5),
        Pair(1, 4),
        Average(1, 4) + Skip(2, 2),
    ],
    ids=str,
)
def test_equal_to_the_route_runner(name, hook_set):
    model, tokens = tiny.bridge(name), tiny.tokens()
    with torch.no_grad():
        logits = model.run_with_hooks(tokens, fwd_hooks=hook_set.fwd_hooks(model))
        with mp.attach(model, hook_set):
            expected = model(tokens)
        bare = model(tokens)
    assert (logits - expected).abs().max() < 2e-5
    assert (bare - expected).abs().max() > 0.05


def test_reads_are_the_same(llama):
    hook_set, tokens, store = Average(1, 3) + ReadAttention([2]) + ReadResidual([3, 4]), tiny.tokens(), {}
    with torch.no_grad():
        llama.run_with_hooks(tokens, fwd_hooks=hook_set.fwd_hooks(llama, store))
        with mp.attach(llama, hook_set) as session:
            llama(tokens)
    assert set(store) == {"attention", "residual"}
    for key, read in store.items():
        assert read.keys() == session[key].keys()
        assert all(torch.allclose(read[visit], session[key][visit], atol=1e-5) for visit in read)


def test_own_hooks_are_passed_on(llama):
    def zero(x, hook):
        return x * 0

    assert Hooks([("hook_embed", zero)]).fwd_hooks(llama) == [("hook_embed", zero)]


@pytest.mark.parametrize(
    ("hook_set", "words"),
    [
        (Reverse(1, 4), "layer 3 runs elsewhere after layer 4"),
        (Loop(1, 2, 2), "layer 1 runs again after layer 2"),
        (Average(1, 4) + Loop(1, 4, 2), "runs again"),
        (ReadAttention(), "store={}"),
    ],
)
def test_what_hook_points_cannot_do_is_refused(llama, hook_set, words):
    with pytest.raises(mp.HookSetError, match=words):
        hook_set.fwd_hooks(llama)
