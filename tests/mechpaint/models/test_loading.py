from __future__ import annotations

import pytest
import torch
import transformers as hf

import mechpaint as mp
from mechpaint.errors import LoadError
from mechpaint.hooks import Reroute
from mechpaint.models.loading import digest
from tests import tiny


def test_a_module_in_memory_without_a_tokenizer():
    module, tokens = tiny.module("llama"), tiny.tokens()
    with torch.no_grad():
        expected = module(tokens).logits
        model = mp.load(module)
        assert torch.equal(model(tokens), expected)
    assert model.tokenizer is None
    assert not model.training


def test_a_bridge_is_given_back(llama):
    assert mp.load(llama) is llama


def test_a_local_folder_with_its_tokenizer(folder):
    model = mp.load(folder)
    plain = hf.AutoModelForCausalLM.from_pretrained(folder, attn_implementation="eager")
    tokens = hf.AutoTokenizer.from_pretrained(folder)("The capital of France", return_tensors="pt").input_ids
    with torch.no_grad():
        assert torch.equal(model("The capital of France"), plain(tokens).logits)
    assert str(mp.load(str(folder)).cfg.dtype) == "torch.float32"


def test_a_local_folder_without_a_tokenizer(tmp_path):
    tiny.module("llama").save_pretrained(tmp_path)
    model = mp.load(tmp_path)
    assert model.tokenizer is None
    with torch.no_grad():
        assert torch.equal(model(tiny.tokens()), tiny.module("llama")(tiny.tokens()).logits)


def test_a_tokenizer_in_memory(folder):
    tokenizer = hf.AutoTokenizer.from_pretrained(folder)
    tokenizer.init_kwargs.pop("name_or_path", None)
    module = hf.LlamaForCausalLM.from_pretrained(folder)
    model = mp.load(module, tokenizer=tokenizer)
    assert model.to_tokens("France").tolist() == [tokenizer("France").input_ids]


ON_DISK = {"model.embed_tokens": "cpu", "model.norm": "cpu", "model.rotary_emb": "cpu", "lm_head": "cpu"} | {
    f"model.layers.{i}": "disk" if i in (1, 4) else "cpu" for i in range(6)
}


@pytest.mark.parametrize("device_map", ["auto", ON_DISK], ids=["auto", "disk"])
def test_a_model_that_is_spread(folder, device_map):
    """Over the devices that there are here: main memory, and the disk. Several accelerators were not tried."""
    expected, model = mp.load(folder, device="cpu"), mp.load(folder, device_map=device_map)
    if device_map is ON_DISK:
        assert {p.device.type for p in model.original_model.parameters()} == {"cpu", "meta"}
    assert model.cfg.device == "cpu"
    tokens = torch.tensor([[1, 2, 3, 4], [5, 6, 7, 8]])
    routes = [mp.Route.parse(text, 6) for text in ("0-5", "0-1 4-2 5", "0 (1-4)x2 5", "0-1 4x3 5")]
    swept = dict(mp.sweep(model, tokens, routes))
    for route, logits in mp.sweep(expected, tokens, routes):
        assert torch.allclose(swept[route], logits, atol=1e-5)
        with torch.no_grad(), mp.attach(model, Reroute(route)):
            assert torch.allclose(model(tokens), logits, atol=1e-5)
    assert digest(model) == digest(expected)


@pytest.mark.parametrize(
    ("model", "options", "words"),
    [
        (None, {"device": "cpu", "device_map": "auto"}, "a device or a device map, got both: 'cpu' and 'auto'"),
        ("toy-induction", {"device_map": "auto"}, "models that Hugging Face reads.*toy-induction"),
        ("module", {"device_map": "auto"}, "models that Hugging Face reads.*a LlamaForCausalLM"),
        (None, {"device_map": "everywhere"}, "everywhere"),
        (None, {"device_map": {"": "nowhere"}}, "nowhere"),
    ],
)
def test_device_maps_that_cannot_be(folder, model, options, words):
    given = folder if model is None else tiny.module("llama") if model == "module" else model
    with pytest.raises(LoadError, match=words):
        mp.load(given, **options)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", torch.float64])
def test_dtypes(folder, dtype):
    model = mp.load(folder, dtype=dtype)
    expected = dtype if isinstance(dtype, torch.dtype) else getattr(torch, dtype)
    assert {p.dtype for p in model.original_model.parameters()} == {expected}
    assert model.cfg.dtype == expected
    assert model(torch.tensor([[1, 2]])).dtype == expected


def test_attention_can_be_read_whatever_it_was_loaded_with(folder):
    module = hf.LlamaForCausalLM.from_pretrained(folder, attn_implementation="sdpa")
    with torch.no_grad():
        _, cache = mp.load(module).run_with_cache(torch.tensor([[5, 6, 7]]))
    assert cache["blocks.0.attn.hook_pattern"].shape == (1, 4, 3, 3)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (
            {"model": "no/such/folder/at/all"},
            "there is no such folder\nExpected a folder written by save_pretrained, .*, or one of smollm2-135m",
        ),
        ({"dtype": "float3"}, "no dtype 'float3': expected one of float32"),
        ({"device": "cuda:99"}, "no device 'cuda:99'"),
        ({"device": "abacus"}, "no device 'abacus'"),
        ({"model": torch.nn.Linear(2, 2)}, "cannot wrap a Linear"),
    ],
)
def test_what_cannot_be_loaded_is_said(folder, arguments, words, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    given = {"model": folder, **arguments}
    with pytest.raises(LoadError, match=words):
        mp.load(given.pop("model"), **given)


def test_a_folder_that_is_no_model_is_said(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(LoadError, match="cannot load the model"):
        mp.load(tmp_path)


def test_a_digest_is_of_the_weights():
    model = tiny.bridge("llama")
    before = digest(model)
    assert before == digest(tiny.bridge("llama"))
    with torch.no_grad():
        model.original_model.model.norm.original_component.weight[3] += 1e-6
    assert digest(model) != before
