"""A linear layer's weight is read once for the same input, and again for another or when it was changed."""

from __future__ import annotations

from collections import Counter

import pytest
import torch
from torch import nn
from torch.overrides import TorchFunctionMode
from transformers import LlamaConfig, LlamaForCausalLM

import mechpaint as mp
from mechpaint.models.linear_outputs import LinearOutputs


class _Products(TorchFunctionMode):
    """Counts the products with each weight."""

    def __init__(self) -> None:
        super().__init__()
        self.with_weight: Counter[int] = Counter()

    def __torch_function__(self, func, types, args=(), kwargs=None):
        if getattr(func, "__name__", "") == "linear":
            self.with_weight[id(args[1])] += 1
        return func(*args, **(kwargs or {}))


def test_loading_a_model_multiplies_with_each_weight_once():
    config = LlamaConfig(
        hidden_size=16, intermediate_size=16, num_hidden_layers=3, num_attention_heads=2, num_key_value_heads=2,
        vocab_size=40,
    )  # fmt: skip
    module = LlamaForCausalLM(config)
    linear = [part for part in module.modules() if isinstance(part, nn.Linear)]
    with _Products() as products:
        mp.load(module)
    assert len(linear) == 3 * 7 + 1
    assert {id(part.weight) for part in linear} == products.with_weight.keys()
    assert set(products.with_weight.values()) == {1}
    assert not any("forward" in vars(part) for part in linear)


def _edit(layer):
    layer.weight.mul_(2)


def _assign(layer):
    layer.weight = nn.Parameter(layer.weight * 2)


def _replace_data(layer):
    layer.weight.data = layer.weight * 2


def _reload(layer):
    layer.load_state_dict({"weight": layer.weight * 2, "bias": layer.bias})


@torch.no_grad()
@pytest.mark.parametrize("change", [_edit, _assign, _replace_data, _reload])
def test_a_weight_that_was_changed_is_read_again(change):
    layer, x = nn.Linear(4, 3), torch.randn(2, 4)
    outputs = LinearOutputs(layer)
    with outputs.reused():
        before = layer(x)
    change(layer)
    with outputs.reused():
        after = layer(x)
    torch.testing.assert_close(after - layer.bias, 2 * (before - layer.bias))


@torch.no_grad()
def test_another_input_is_computed_and_what_a_caller_writes_into_is_its_own():
    layer, x = nn.Linear(4, 3), torch.randn(2, 4)
    with LinearOutputs(layer).reused():
        first = layer(x)
        kept = first.clone()
        first.zero_()
        assert layer(x).equal(kept)
        x.add_(1)
        torch.testing.assert_close(layer(x), nn.functional.linear(x, layer.weight, layer.bias))
        nan = torch.full((2, 4), torch.nan)
        assert layer(nan).isnan().all()
        assert layer(nan).isnan().all()
