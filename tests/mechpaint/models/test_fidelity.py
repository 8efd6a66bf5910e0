"""A model is what Hugging Face says it is, or it is refused with the reason."""

from __future__ import annotations

import copy
import json
import os

import pytest
import torch
import transformers as hf
from safetensors.torch import load_file, save_file
from torch import nn

import mechpaint as mp
from mechpaint import Route, circuits
from mechpaint.errors import LoadError
from mechpaint.hooks import Read, ReadAttention, ReadResidual, Reverse
from tests import tiny

TOKENS = torch.tensor([[5, 17, 42, 9, 3]])


def _llama(layers=2):
    torch.manual_seed(0)
    config = hf.LlamaConfig(
        vocab_size=97,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=layers,
        num_attention_heads=4,
        initializer_range=0.2,
    )
    return hf.LlamaForCausalLM(config).eval()


def _gpt2():
    torch.manual_seed(0)
    config = hf.GPT2Config(vocab_size=97, n_embd=32, n_layer=2, n_head=4, n_positions=64, initializer_range=0.2)
    return hf.GPT2LMHeadModel(config).eval()


@pytest.fixture
def saved(tmp_path):
    _llama().save_pretrained(tmp_path / "model")
    return tmp_path / "model"


def _weights(folder, change):
    weights = load_file(folder / "model.safetensors")
    save_file(change(weights), folder / "model.safetensors", metadata={"format": "pt"})


def _config(folder, **new):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | new))


def _without(name):
    return lambda weights: {k: v for k, v in weights.items() if k != name}


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda d: _config(d, num_hidden_layers=3), "model.layers.2.input_layernorm.weight, .* are missing"),
        (lambda d: _weights(d, _without("model.norm.weight")), "model.norm.weight are missing and would be random"),
        (lambda d: _weights(d, lambda w: {f"_orig_mod.{k}": v for k, v in w.items()}), "are missing and would be"),
        (lambda d: _config(d, num_hidden_layers=1), "model.layers.1.input_layernorm.weight, .* have no place in"),
        (
            lambda d: _weights(d, lambda w: {**w, "model.extra.weight": torch.ones(2)}),
            "model.extra.weight have no place",
        ),
        (lambda d: _config(d, intermediate_size=40), "mlp.down_proj.weight, .* have other shapes than config.json"),
        (lambda d: _config(d, vocab_size=90), "lm_head.weight, model.embed_tokens.weight have other shapes"),
        (lambda d: os.truncate(d / "model.safetensors", 2000), "cannot load the model"),
        (lambda d: (d / "config.json").write_text("{"), "cannot load the model"),
        (lambda d: (d / "config.json").write_text('{"model_type": "nothing-like-it"}'), "cannot load the model"),
        (lambda d: (d / "tokenizer.json").write_text("{}"), "cannot load the tokenizer"),
        (lambda d: _config(d, quantization_config={"quant_method": "gptq", "bits": 4}), "cannot load the model"),
        (lambda d: _config(d, quantization_config={"quant_method": "awq"}), "cannot load the model"),
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_a_checkpoint_that_does_not_fit_is_refused(saved, spoil, said):
    spoil(saved)
    with pytest.raises(mp.LoadError, match=f"(?s){said}"):
        mp.load(saved)


def test_heads_of_pretraining_may_be_left_over(tmp_path):
    config = hf.BertConfig(
        vocab_size=97, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=48
    )
    hf.BertForPreTraining(config).save_pretrained(tmp_path)
    _config(tmp_path, architectures=["BertForMaskedLM"])
    assert mp.load(tmp_path)(TOKENS).shape == (1, 5, 97)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("/nonexistent/model", "there is no such folder"),
        ("~/nonexistent-model", "there is no such folder"),
        ("./model", "there is no such folder"),
        ("a/b/c", "there is no such folder"),
        (os.devnull, "it is a file"),
        ("x" * 300, "cannot load the model"),
        ("a\0b", "cannot load the model"),
    ],
)
def test_a_place_that_is_none_is_said_to_be_none(name, said):
    with pytest.raises(mp.LoadError, match=said):
        mp.load(name)


def test_a_tilde_is_a_home(saved, monkeypatch):
    monkeypatch.setenv("HOME", str(saved.parent))
    assert torch.equal(mp.load("~/model")(TOKENS), mp.load(saved)(TOKENS))


# ---- what stands in a module ---------------------------------------------------------------------------------------


def _everywhere(model, module_logits):
    """Forward, attach, sweep and generation compute what the module computes."""
    with torch.no_grad():
        torch.testing.assert_close(model(TOKENS), module_logits, atol=1e-4, rtol=1e-3)
        with mp.attach(model, mp.HookSet()):
            torch.testing.assert_close(model(TOKENS), module_logits, atol=1e-4, rtol=1e-3)
            text = model.generate(TOKENS, max_new_tokens=2, do_sample=False, stop_at_eos=False, verbose=False)
        ((_, swept),) = mp.sweep(model, TOKENS, [Route.identity(2)])
    torch.testing.assert_close(swept, module_logits, atol=1e-4, rtol=1e-3)
    assert text[0, 5] == module_logits[0, -1].argmax()


class _Twice(nn.Module):
    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, x):
        return 2 * self.inner(x)


def _hooked(module):
    module.model.layers[1].mlp.register_forward_hook(lambda m, a, out: 2 * out)


def _wrapped(module):
    module.model.layers[0].mlp.gate_proj = _Twice(module.model.layers[0].mlp.gate_proj)


def _overridden(module):
    real = module.model.layers[1].mlp.forward
    module.model.layers[1].mlp.forward = lambda x: 2 * real(x)


def _parametrized(module):
    nn.utils.parametrizations.weight_norm(module.model.layers[1].mlp.gate_proj)


def _orthogonal(module):
    nn.utils.parametrizations.orthogonal(module.model.layers[0].self_attn.o_proj)


def _norm_hooked(module):
    module.model.layers[0].input_layernorm.register_forward_hook(lambda m, a, out: 2 * out)


CHANGES = (_hooked, _wrapped, _overridden, _parametrized, _orthogonal, _norm_hooked)


@pytest.mark.parametrize("change", CHANGES, ids=lambda f: f.__name__)
def test_a_module_that_was_changed_is_right_everywhere_or_refused(change):
    module = _llama()
    change(module)
    with torch.no_grad():
        truth = module(TOKENS).logits.clone()
    try:
        model = mp.load(module)
    except mp.LoadError as error:
        if "leaves out" not in str(error):
            raise
    else:
        _everywhere(model, truth)


@pytest.mark.parametrize("effect", [0.3, 0.0], ids=["that does something", "that does nothing yet"])
def test_an_adapter_on_a_fused_projection_is_refused(effect):
    peft = pytest.importorskip("peft")
    module = _gpt2()
    module.add_adapter(peft.LoraConfig(r=4, task_type="CAUSAL_LM", fan_in_fan_out=True))
    for name, parameter in module.named_parameters():
        if "lora_" in name and effect:
            nn.init.normal_(parameter, std=effect)
    with pytest.raises(mp.LoadError, match=r"leaves out transformer.h.0.attn.c_attn"):
        mp.load(module)


def test_an_adapter_on_plain_projections_is_right_everywhere():
    peft = pytest.importorskip("peft")
    module = _llama()
    module.add_adapter(peft.LoraConfig(r=4, task_type="CAUSAL_LM", target_modules=["gate_proj", "q_proj"]))
    for name, parameter in module.named_parameters():
        if "lora_" in name:
            nn.init.normal_(parameter, std=0.3)
    with torch.no_grad():
        truth = module.eval()(TOKENS).logits.clone()
    _everywhere(mp.load(module), truth)


def test_a_folder_with_an_adapter_is_merged(saved, tmp_path):
    peft = pytest.importorskip("peft")
    adapted = peft.get_peft_model(
        hf.LlamaForCausalLM.from_pretrained(saved), peft.LoraConfig(r=4, target_modules=["gate_proj"])
    )
    for name, parameter in adapted.named_parameters():
        if "lora_" in name:
            nn.init.normal_(parameter, std=0.3)
    adapted.save_pretrained(tmp_path / "adapter")
    with torch.no_grad():
        truth = adapted.eval()(TOKENS).logits
    _everywhere(mp.load(tmp_path / "adapter"), truth)


def _adapter(folder, base, **config):
    """A folder with an adapter that does something, and the logits of the adapted model."""
    import peft

    adapted = peft.get_peft_model(hf.LlamaForCausalLM.from_pretrained(base), peft.LoraConfig(r=4, **config))
    for name, parameter in adapted.named_parameters():
        if "lora_" in name:
            nn.init.normal_(parameter, std=0.3)
    adapted.save_pretrained(folder)


@pytest.mark.filterwarnings("ignore")
def test_an_adapter_that_lacks_weights_or_has_others_is_refused(saved, tmp_path):
    pytest.importorskip("peft")
    file = tmp_path / "adapter" / "adapter_model.safetensors"
    for change, said in (
        (lambda w: dict(sorted(w.items())[1:]), "are missing and would be as new"),
        (lambda w: {k.replace("model.model", "model.xx"): v for k, v in w.items()}, "have no place in it"),
    ):
        _adapter(tmp_path / "adapter", saved, target_modules=["gate_proj"])
        save_file(change(load_file(file)), file, metadata={"format": "pt"})
        with pytest.raises(mp.LoadError, match=said):
            mp.load(tmp_path / "adapter")
    file.unlink()
    with pytest.raises(mp.LoadError, match=r"has no adapter_model.safetensors"):
        mp.load(tmp_path / "adapter")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("target", ["lm_head", "embed_tokens"])
def test_an_adapter_of_weights_that_are_shared_is_refused(tmp_path, target):
    pytest.importorskip("peft")
    module = _llama()
    module.config.tie_word_embeddings = True
    module.tie_weights()
    module.save_pretrained(tmp_path / "base")
    _adapter(tmp_path / "adapter", tmp_path / "base", target_modules=[target])
    with pytest.raises(mp.LoadError, match=r"merging the adapter .* changes what it computes"):
        mp.load(tmp_path / "adapter")


def test_a_bridge_in_training_is_loaded_for_evaluation():
    model = mp.load(_gpt2())
    model.train()
    assert not any(part.training for part in mp.load(model).original_model.modules())


def test_a_folder_with_an_adapter_is_refused_by_name_without_peft(saved, tmp_path, monkeypatch):
    (tmp_path / "adapter_config.json").write_text("{}")
    monkeypatch.setitem(__import__("sys").modules, "peft", None)
    with pytest.raises(mp.LoadError, match="is an adapter, not a model: pip install peft"):
        mp.load(tmp_path)


def _hook_it(wrapped):
    wrapped.original_component.register_forward_hook(lambda m, a, out: 2 * out)


def _replace_it(wrapped):
    wrapped._modules["_original_component"] = _Twice(wrapped.original_component)


@pytest.mark.parametrize("change", [_hook_it, _replace_it], ids=lambda f: f.__name__)
def test_what_is_changed_after_loading_is_noticed(change):
    module = _gpt2()
    model = mp.load(module)
    list(mp.sweep(model, TOKENS, ["0-1"]))
    change(module.transformer.h[0].attn.original_component.c_attn)  # the bridge runs copies of its parts
    with pytest.raises(mp.CannotReroute, match="was changed after it was loaded"):
        list(mp.sweep(model, TOKENS, ["0-1"]))
    with pytest.raises(mp.CannotReroute, match="was changed after it was loaded"), mp.attach(model, "1 0"):
        pass


def test_offloaded_weights_run_and_are_not_exported(tmp_path):
    accelerate = pytest.importorskip("accelerate")
    module = _llama()
    with torch.no_grad():
        truth = module(TOKENS).logits.clone()
    accelerate.cpu_offload(module, execution_device=torch.device("cpu"))
    model = mp.load(module)
    _everywhere(model, truth)
    with pytest.raises(mp.CannotExport, match="on disk or offloaded"):
        mp.export(model, Reverse(0, 1), tmp_path / "out")
    assert not list(tmp_path.iterdir())


@pytest.mark.filterwarnings("ignore")
def test_a_quantised_module_is_refused():
    with pytest.raises(mp.LoadError, match="cannot wrap a LlamaForCausalLM"):
        mp.load(torch.ao.quantization.quantize_dynamic(_llama(), {nn.Linear}))


def test_a_module_has_one_bridge():
    module = _llama()
    first = mp.load(module)
    assert mp.load(module) is first
    with torch.no_grad(), mp.attach(first, ReadAttention()) as session:
        first(TOKENS)
    assert len(session["attention"]) == 2
    copied = copy.deepcopy(module)
    assert mp.load(copied) is not first


# ---- messages name the cause ---------------------------------------------------------------------------------------


def test_what_was_not_read_says_why(llama):
    for hook_set, within, said in (
        (Read("attn.hook_hidden_states"), lambda: None, "nothing passed its hook point"),
        (ReadResidual(), llama.reset_hooks, "the hooks were removed within the block"),
    ):
        with torch.no_grad(), mp.attach(llama, hook_set) as session:
            with pytest.raises(KeyError, match="the model has not run yet"):
                session[session.keys()[0]]
            within()
            llama(tiny.tokens(1))
        with pytest.raises(KeyError, match=said):
            session[session.keys()[0]]


def test_token_ids_may_be_a_list(llama, as_users_run):
    assert len(circuits.attention(llama, [5, 17, 42], layers=[0]).views) == 1
    for given in ([0.5, 1.5], [[1, 2], [3, 4]], {"a": 1}, None):
        with pytest.raises(mp.InputError, match="expected a text, or the token ids of one"):
            circuits.attention(llama, given)


# ---- padding: an encoder's positions count it, a decoder's do not ----------------------------------------------------

_MASK = torch.tensor([[1, 1, 1, 1, 1, 1], [0, 0, 1, 1, 1, 1], [1, 1, 0, 1, 1, 1]])


@pytest.mark.parametrize("name", ["BertForMaskedLM", "BertModel", "BertForTokenClassification"])
def test_an_encoder_has_hugging_faces_positions_at_padding_on_either_side(name):
    torch.manual_seed(0)
    config = hf.BertConfig(
        vocab_size=97,
        hidden_size=32,
        num_hidden_layers=3,
        num_attention_heads=4,
        intermediate_size=64,
        max_position_embeddings=32,
        initializer_range=0.3,
    )
    module = getattr(hf, name)(config).eval()
    tokens, real = torch.randint(1, 97, (3, 6)), _MASK.bool()
    with torch.no_grad():
        expected = module(tokens, attention_mask=_MASK)[0]
        bridge = mp.load(module)
        found = {"forward": bridge(tokens, attention_mask=_MASK)}
        with mp.attach(bridge, Route.identity(3)):
            found["attach"] = bridge(tokens, attention_mask=_MASK)
    if name != "BertModel":
        [(_, found["sweep"])] = mp.sweep(bridge, tokens, [Route.identity(3)], attention_mask=_MASK)
    for how, output in found.items():
        assert (output - expected)[real].abs().max() < 2e-5, how


@pytest.mark.parametrize("make", [_llama, _gpt2])
def test_a_decoders_left_padded_row_is_the_row_without_padding(make):
    model = mp.load(make())
    row = torch.tensor([[5, 17, 42, 9]])
    padded, mask = torch.tensor([[1, 1, 5, 17, 42, 9]]), torch.tensor([[0, 0, 1, 1, 1, 1]])
    [(_, expected)] = mp.sweep(model, row, [Route.identity(2)], positions="last")
    [(_, found)] = mp.sweep(model, padded, [Route.identity(2)], attention_mask=mask, positions="last")
    assert torch.allclose(found, expected, atol=1e-5)


def test_what_is_wrapped_around_a_model_is_named_with_the_way_to_it():
    peft = pytest.importorskip("peft")
    with pytest.raises(LoadError, match="_orig_mod"):
        mp.load(torch.compile(_llama()))
    with pytest.raises(LoadError, match="merge_and_unload"):
        mp.load(peft.get_peft_model(_llama(), peft.LoraConfig(target_modules=["q_proj"])))


@pytest.mark.parametrize("given", [5, None, b"x", "", hf.LlamaConfig()], ids=str)
def test_what_is_no_model_is_refused(given):
    with pytest.raises((LoadError, TypeError), match=r"expected a preset|violates type hint"):
        mp.load(given)


def test_precisions_devices_and_tokenizers_that_cannot_be_are_refused():
    for settings in ({"dtype": torch.int8}, {"dtype": torch.complex64}, {"device": "meta"}):
        for model in ("toy-induction", _llama()):
            with pytest.raises(LoadError, match="there is no"):
                mp.load(model, **settings)
    mixed = _llama()
    mixed.model.layers[1].mlp.to(torch.bfloat16)
    with pytest.raises(LoadError, match=r"torch\.bfloat16 and torch\.float32"):
        mp.load(mixed)
