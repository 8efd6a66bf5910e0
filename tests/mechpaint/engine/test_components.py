"""On every architecture: what `Ablate` and `Scale` call attention and MLP is what these add to the residual stream."""

from __future__ import annotations

import pytest
import torch

import mechpaint as mp
from mechpaint.engine.route_runner import RouteRunner
from mechpaint.hooks import Ablate, ReadStream, Scale
from tests import tiny
from tests.architectures.recipes import RECIPES

LAYER = 3
FEW = ("bloom", "gemma2", "opt", "mpt")
"""With the residual connection within attention and MLP, with norms after them, and two that call them otherwise."""
MORE = {
    **dict.fromkeys(("bert", "bert (decoder)", "roberta"), "a norm after the sum"),
    "falcon_h1": "a Mamba mixer beside attention",
    "gemma4 (inputs per layer)": "inputs of each layer's own",
}
"""Architectures whose layers do something else to the stream as well; in the documentation's words."""

ALL = [pytest.param(name, marks=[] if name in FEW else pytest.mark.slow) for name in RECIPES if name not in MORE]


def _streams(model, hook_set):
    """The residual stream before and after the layer."""
    with torch.no_grad(), mp.attach(model, hook_set + ReadStream()) as session:
        model(tiny.tokens())
    return session.stream[LAYER], session.stream[LAYER + 1]


@pytest.mark.parametrize("name", ALL)
def test_without_them_the_stream_is_as_it_came_and_it_grows_with_each(name):
    model = tiny.bridge(name)
    RouteRunner(model)
    parts = [
        part
        for part, point in (("attention", "hook_attn_out"), ("mlp", "hook_mlp_out"))
        if f"blocks.{LAYER}.{point}" in model.hook_dict
    ]
    if len(parts) < 2:
        with pytest.raises(mp.HookSetError, match="no hook point"):
            _streams(model, Ablate(attention=LAYER, mlp=LAYER))
        return
    before, after = _streams(model, Ablate(attention=LAYER, mlp=LAYER))
    assert torch.equal(before, after)
    for part, other in (parts, parts[::-1]):
        alone = Ablate(**{other: LAYER})
        once, twice = (_streams(model, alone + Scale(by, **{part: LAYER}))[1] for by in (1.0, 2.0))
        assert (once - before).abs().max() > 0.1
        assert ((twice - before) - 2 * (once - before)).abs().max() < 1e-4 * twice.abs().max()


@pytest.mark.parametrize("name", [pytest.param(name, marks=pytest.mark.slow) for name in MORE])
def test_what_else_a_layer_does_stays(name):
    before, after = _streams(tiny.bridge(name), Ablate(attention=LAYER, mlp=LAYER))
    assert not torch.allclose(before, after, atol=0.1)
    before, after = _streams(tiny.bridge(name), Ablate(layers=LAYER))
    assert torch.equal(before, after)
