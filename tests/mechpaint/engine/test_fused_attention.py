"""Fused attention in sweeps: where it runs, where it must not, and that nothing is left switched."""

from __future__ import annotations

from unittest import mock

import pytest
import torch
from torch.nn import functional
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

import mechpaint as mp
from mechpaint.engine.fused_attention import can_fuse
from mechpaint.engine.route_runner import RouteRunner
from mechpaint.routes.route import Route
from tests import plain, tiny

SIX = Route.parse("0-5", 6)


def _fused_calls(model, **options):
    """How often torch's kernel runs in a sweep."""
    list(mp.sweep(model, tiny.tokens(), [SIX]))  # layers have been compared now
    real = functional.scaled_dot_product_attention
    with mock.patch.object(functional, "scaled_dot_product_attention", side_effect=real) as kernel:
        list(mp.sweep(model, tiny.tokens(), [SIX], **options))
    return kernel.call_count


def _can_fuse(model):
    runner = RouteRunner(model)
    with torch.no_grad():
        return can_fuse(runner, runner.fastest())


def test_attention_is_fused_where_nobody_listens():
    model = tiny.bridge("llama")
    assert _fused_calls(model) == 6
    assert _fused_calls(model, attention_mask=torch.ones_like(tiny.tokens())) == 6
    model.add_hook("blocks.3.attn.hook_pattern", lambda pattern, hook: pattern)
    assert _fused_calls(model) == 0


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("name", ["llama", "gpt2", "gemma3"])
def test_padded_rows_have_the_logits_of_a_plain_loop(name, side):
    model, tokens = tiny.bridge(name), tiny.tokens(2, 9).clamp(min=1)
    real = slice(3, None) if side == "left" else slice(6)
    mask = torch.zeros_like(tokens)
    mask[:, real] = 1
    assert _can_fuse(model)
    ((_, logits),) = mp.sweep(model, tokens, [Route.parse("5-0", 6)], attention_mask=mask)
    with torch.no_grad():
        expected = plain.hugging_face(tiny.module(name), tokens[:, real]).logits([5, 4, 3, 2, 1, 0])
    assert (logits[:, real] - expected).abs().max() < 2e-4


def test_what_is_switched_is_switched_back():
    model = tiny.bridge("llama")
    config = model.original_model.config
    seen = []
    for _ in mp.sweep(model, tiny.tokens(), [SIX, Route.parse("5-0", 6)]):
        seen.append(config._attn_implementation)
    assert seen == ["eager", "eager"]

    def fail(*_):
        if config._attn_implementation == "sdpa":
            seen.append(config._attn_implementation)
            raise ArithmeticError

    model.blocks[2].original_component.mlp.original_component.register_forward_hook(fail)
    with pytest.raises(ArithmeticError):
        list(mp.sweep(model, tiny.tokens(), [SIX]))
    assert seen[2:] == ["sdpa"]
    assert config._attn_implementation == "eager"


def test_softcaps_and_models_that_say_no_keep_eager_attention():
    for name in ("gemma2", "gpt_oss"):
        assert not _can_fuse(tiny.bridge(name))
    model = tiny.bridge("gemma2")
    with mock.patch.object(type(model.original_model), "_supports_sdpa", True):
        assert not _can_fuse(model)  # the kernel refuses its softcaps


def test_a_kernel_that_computes_something_else_is_noticed():
    def without_causality(module, query, key, value, attention_mask, **options):
        return real(module, query, key, value, None, **{**options, "is_causal": False})

    real = ALL_ATTENTION_FUNCTIONS["sdpa"]
    with mock.patch.dict(ALL_ATTENTION_FUNCTIONS._global_mapping, {"sdpa": without_causality}):
        model = tiny.bridge("llama")
        assert not _can_fuse(model)
    ((_, logits),) = mp.sweep(model, tiny.tokens(), [SIX])
    assert torch.allclose(logits, model(tiny.tokens()).detach(), atol=1e-5)


def test_another_attention_that_somebody_chose_is_kept():
    model = tiny.bridge("llama")
    model.original_model.config._attn_implementation = "sdpa"
    assert not _can_fuse(model)
    list(mp.sweep(model, tiny.tokens(), [SIX]))
    assert model.original_model.config._attn_implementation == "sdpa"
