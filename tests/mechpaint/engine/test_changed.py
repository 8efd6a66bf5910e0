"""What is changed after a model was loaded is followed, or refused: never left out without a word."""

from __future__ import annotations

import pytest
import torch
import transformers as hf
from torch import nn
from torch.nn.utils import parametrize, prune
from transformers.models.llama.modeling_llama import LlamaDecoderLayer

import mechpaint as mp
from mechpaint.hooks import Hooks, ReadResidual

TOKENS = torch.tensor([[5, 17, 42, 9, 3], [8, 1, 2, 30, 4]])


def _seeded(kind, config, **settings):
    torch.manual_seed(0)
    return kind(config(vocab_size=97, initializer_range=0.2, **settings)).eval()


def _neox():
    sizes = {"hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 64}
    return _seeded(hf.GPTNeoXForCausalLM, hf.GPTNeoXConfig, **sizes)


def _gpt2():
    return _seeded(hf.GPT2LMHeadModel, hf.GPT2Config, n_embd=32, n_layer=3, n_head=4, n_positions=64)


def _phi3():
    sizes = {"hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 64}
    return _seeded(hf.Phi3ForCausalLM, hf.Phi3Config, pad_token_id=0, **sizes)


def _llama(**settings):
    sizes = {"hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 64}
    return _seeded(hf.LlamaForCausalLM, hf.LlamaConfig, **sizes, **settings)


class _Eightfold(nn.Module):
    def forward(self, weight):
        return 8 * weight


def _replace_data(part):
    part.weight.data = 8 * part.weight.data


def _replace(part):
    part.weight = nn.Parameter(8 * part.weight)


EDITS = {
    "in place": lambda part: part.weight.mul_(8),
    "data": _replace_data,
    "parameter": _replace,
    "parametrization": lambda part: parametrize.register_parametrization(part, "weight", _Eightfold()),
    "pruned": lambda part: prune.l1_unstructured(part, "weight", 0.5),
    "hook": lambda part: part.register_forward_hook(lambda module, args, output: 8 * output),
}
MADE = {
    "neox": (_neox, "gpt_neox.layers.1.attention.query_key_value"),
    "gpt2": (_gpt2, "transformer.h.1.attn.c_attn"),
    "phi3": (_phi3, "model.layers.1.self_attn.qkv_proj"),
    "phi3 mlp": (_phi3, "model.layers.1.mlp.gate_up_proj"),
    "llama": (_llama, "model.layers.1.self_attn.q_proj"),
    "llama mlp": (_llama, "model.layers.1.mlp.down_proj"),
}


def _part(module, path):
    part = module.get_submodule(path)
    return getattr(part, "original_component", None) or part


@pytest.mark.parametrize("edit", EDITS)
@pytest.mark.parametrize("made", MADE)
def test_an_edited_part_is_followed_or_refused(made, edit):
    make, path = MADE[made]
    reference, module = make(), make()
    bridge = mp.load(module)
    [*mp.sweep(bridge, TOKENS, ["0-2"])]  # compares the layers
    with torch.no_grad():
        before = reference(TOKENS).logits
        EDITS[edit](_part(reference, path))
        expected = reference(TOKENS).logits
        EDITS[edit](_part(module, path))
    assert (expected - before).abs().max() > 1e-2
    for way in (_attached, _swept):
        try:
            found = way(bridge)
        except mp.CannotReroute as error:
            assert "was changed after it was loaded" in str(error)  # noqa: PT017
        else:
            assert torch.allclose(found, expected, atol=1e-4)


def _attached(bridge):
    with torch.no_grad(), mp.attach(bridge, "0-2"):
        return bridge(TOKENS)


def _swept(bridge):
    [(_, logits)] = mp.sweep(bridge, TOKENS, ["0-2"])
    return logits


@pytest.mark.parametrize(("make", "path"), [MADE["neox"], MADE["gpt2"]])
def test_a_hook_on_what_never_runs_is_refused(make, path):
    module = make()
    bridge = mp.load(module)
    module.get_submodule(path).register_forward_hook(lambda module, args, output: 8 * output)
    for way in (_attached, _swept):
        with pytest.raises(mp.CannotReroute, match="was changed after it was loaded"):
            way(bridge)


def test_a_forward_given_to_attention_is_refused():
    module = _llama()
    bridge = mp.load(module)
    attention = module.model.layers[1].self_attn.original_component
    own = attention.forward
    attention.forward = lambda *args, **kwargs: (3 * (output := own(*args, **kwargs))[0], *output[1:])
    for way in (_attached, _swept):
        with pytest.raises(mp.CannotReroute, match="was changed after it was loaded"):
            way(bridge)


@pytest.mark.parametrize("change", [lambda layers: layers[:2], lambda layers: layers[::-1]])
def test_another_list_of_layers_is_refused(change):
    module = _llama()
    bridge = mp.load(module)
    module.model.layers = nn.ModuleList(change(list(module.model.layers)))
    for way in (_attached, _swept):
        with pytest.raises(mp.CannotReroute, match="list of layers"):
            way(bridge)


class _Writes(LlamaDecoderLayer):
    def forward(self, hidden_states, **kwargs):
        output = super().forward(hidden_states, **kwargs)
        hidden_states.mul_(0.5)
        return output


def test_a_layer_that_writes_into_its_input_is_seen_in_inference_mode():
    module = _llama()
    module.model.layers[1].__class__ = _Writes
    bridge = mp.load(module)
    with torch.inference_mode():
        with mp.attach(bridge, "0 (1-2)"), pytest.raises(mp.CannotReroute, match="writes into what it is handed"):
            bridge(TOKENS)
        with pytest.raises(mp.CannotReroute, match="writes into what it is handed"):
            [*mp.sweep(bridge, TOKENS, ["0-2", "0 (1-2)"])]


@pytest.mark.parametrize("make", [lambda: _llama(attention_dropout=0.5), _gpt2])
def test_a_sweep_of_a_part_in_training_is_refused_if_something_drops(make):
    bridge = mp.load(make())
    bridge.blocks[1].train()
    with pytest.raises(mp.InputError, match=r"model\.eval\(\)"):
        mp.sweep(bridge, TOKENS, ["0-2"])


@pytest.mark.parametrize("positions", ["all", "last"])
def test_hooks_on_the_tail_see_whole_rows(positions):
    def centred(values):
        return values - values.mean(1, keepdim=True)

    module = _llama()
    module.model.norm.register_forward_hook(lambda module, args, output: centred(output))
    with torch.no_grad():
        expected = module(TOKENS).logits
    bridge = mp.load(module)
    [(_, found)] = mp.sweep(bridge, TOKENS, ["0-2"], positions=positions)
    assert torch.allclose(found, expected if positions == "all" else expected[:, -1], atol=1e-5)
    bridge = mp.load(_llama())
    bridge.add_hook("ln_final.hook_in", lambda values, hook: centred(values))
    with torch.no_grad():
        expected = bridge(TOKENS)
    [(_, found)] = mp.sweep(bridge, TOKENS, ["0-2"], positions=positions)
    assert torch.allclose(found, expected if positions == "all" else expected[:, -1], atol=1e-5)


def test_hooks_that_are_added_while_a_sweep_is_under_way_are_refused():
    bridge = mp.load(_llama())
    bridge.enable_compatibility_mode()
    residuals = mp.sweep(bridge, TOKENS, ["0-2", "0 2", "1-2"], max_batch_tokens=1).residuals()
    next(residuals)
    doubled = Hooks([("blocks.2.hook_in", lambda values, hook: 2 * values)])
    with mp.attach(bridge, doubled), pytest.raises(mp.CannotReroute, match="under way"):
        next(residuals)


def test_a_pass_that_fails_leaves_nothing_to_read():
    passes = []

    def fail(values, hook):
        passes.append(hook)
        if len(passes) > 1:
            raise ZeroDivisionError

    bridge = mp.load(_llama())
    with mp.attach(bridge, ReadResidual() + Hooks([("blocks.1.hook_in", fail)])) as session:
        bridge(TOKENS)
        assert len(session["residual"]) == 3
        with pytest.raises(ZeroDivisionError):
            bridge(TOKENS)
        assert session.runs == 1
        with pytest.raises(KeyError, match="did not come to its end"):
            session["residual"]


def test_a_hook_that_returns_another_precision_is_refused():
    bridge = mp.load(_llama())
    halved = Hooks([("blocks.1.hook_out", lambda values, hook: values.half())])
    with mp.attach(bridge, halved), pytest.raises(mp.HookSetError, match=r"float16 on cpu: .* float32 on cpu"):
        bridge(TOKENS)


@pytest.mark.parametrize("value", [5, -1])
def test_a_mask_of_other_values_is_refused_everywhere(value):
    bridge = mp.load(_llama())
    mask = torch.ones_like(TOKENS)
    mask[1, :2] = value
    with pytest.raises(mp.InputError, match="1 at real tokens"):
        mp.sweep(bridge, TOKENS, ["0-2"], attention_mask=mask)
    with mp.attach(bridge, "0-2"), pytest.raises(mp.InputError, match="1 at real tokens"):
        bridge(TOKENS, attention_mask=mask)
