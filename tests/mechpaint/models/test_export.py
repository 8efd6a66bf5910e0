"""Exported checkpoints, as plain transformers loads them."""

from __future__ import annotations

import json
import resource
import signal
from itertools import pairwise

import pytest
import torch
import transformers as hf
import yaml
from safetensors import safe_open
from transformer_lens.config import TransformerBridgeConfig
from transformer_lens.model_bridge import TransformerBridge

import mechpaint as mp
from mechpaint import toy
from mechpaint.errors import CannotWrite
from mechpaint.hooks import Average, ReadAttention, Reroute, Reverse, Skip
from mechpaint.models import checkpoint, rearranged
from mechpaint.models import export as exporting
from mechpaint.models.mergekit import passthrough
from mechpaint.routes.route import Route
from tests import plain, tiny
from tests.architectures.recipes import LLAMA

ROUTES = {
    "0-1 4-5": [0, 1, 4, 5],
    "0 4-1 5": [0, 4, 3, 2, 1, 5],
    "0 2x9 5": [0, *[2] * 9, 5],
    "3 1 4 0 5 2": [3, 1, 4, 0, 5, 2],
    "0 4 2-3 1 5": [0, 4, 2, 3, 1, 5],
    "0-3 [4 5]x2": [0, 1, 2, 3, 4, 5, 4, 5],
}
EVERY_ROUTE = [(name, text) for name in ("gpt2", "llama", "gemma3") for text in ROUTES]
OTHERS = [name for name in ("bloom", *tiny.MORE) if name != "deepseek_v3"]  # whose first layers must stay first


def _route(text):
    return Route.parse(text, tiny.N_LAYERS)


def _plainly(folder, tokens, kind=hf.AutoModelForCausalLM, **options):
    with torch.no_grad():
        return kind.from_pretrained(folder, **options)(tokens).logits


@pytest.mark.parametrize(
    ("name", "text"), [*EVERY_ROUTE, *((name, text) for name in OTHERS for text in ("0 4-1 5", "0 2x9 5"))]
)
def test_a_checkpoint_has_the_routed_models_logits(name, text, tmp_path):
    """Twice: those under attach, and those of a plain loop over Hugging Face layers. Windows are of 4 and 8 tokens."""
    model, tokens = tiny.bridge(name), tiny.tokens(length=40)
    exported = mp.export(model, _route(text), tmp_path / "out")
    with torch.no_grad():
        unrouted = model(tokens)
        with mp.attach(model, Reroute(text)):
            routed = model(tokens)
    loaded = _plainly(tmp_path / "out", tokens, attn_implementation="eager")  # as the bridge computes it
    assert (loaded - routed).abs().max() < 1e-5
    assert (loaded - plain.logits(tiny.module(name), tokens, ROUTES[text])).abs().max() < 1e-5
    assert (loaded - _plainly(tmp_path / "out", tokens)).abs().max() < 5e-5
    assert (loaded - unrouted).abs().max() > 0.05  # so that the route mattered
    assert exported.order == tuple(ROUTES[text])
    assert exported.difference < 5e-5  # attention of the sweep it was compared with is fused
    assert exported.tokens == 62 + 2 * (name == "bloom")  # Bloom has as many positions as are asked for


@pytest.mark.parametrize("text", ["0 4-1 5", "0 2x9 5"])
def test_an_encoder(text, tmp_path):
    tokens = tiny.tokens(length=40)
    mp.export(tiny.bridge("bert"), _route(text), tmp_path / "out")
    loaded = _plainly(tmp_path / "out", tokens, hf.AutoModelForMaskedLM)
    assert (loaded - plain.logits(tiny.module("bert"), tokens, ROUTES[text])).abs().max() < 1e-5


@pytest.mark.parametrize("name", ["llama", "gpt2", "gemma3", "gpt_neo"])
def test_the_models_own_order_gives_the_model_itself(name, tmp_path):
    tiny.module(name).save_pretrained(tmp_path / "in")
    mp.export(mp.load(tmp_path / "in"), _route("0-5"), tmp_path / "out")
    tokens = tiny.tokens(length=40)
    assert torch.equal(_plainly(tmp_path / "out", tokens), _plainly(tmp_path / "in", tokens))
    for file in ("config.json", "generation_config.json"):
        assert json.loads((tmp_path / "out" / file).read_text()) == json.loads((tmp_path / "in" / file).read_text())
    assert _stored(tmp_path / "out").keys() == _stored(tmp_path / "in").keys()


def _stored(folder):
    with safe_open(folder / "model.safetensors", "pt") as file:
        return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118, not iterable


def test_copies_are_stored_each_and_tied_embeddings_once(tmp_path):
    mp.export(tiny.bridge("gpt2"), _route("0 2x3 5"), tmp_path / "out")
    stored, own = _stored(tmp_path / "out"), tiny.module("gpt2").state_dict()
    assert "lm_head.weight" not in stored
    assert {name.split(".")[2] for name in stored if ".h." in name} == set("01234")
    for place, layer in enumerate([0, 2, 2, 2, 5]):
        name = "transformer.h.{}.attn.c_attn.weight"
        assert torch.equal(stored[name.format(place)], own[name.format(layer)])
    loaded = hf.AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    assert loaded.lm_head.weight is loaded.transformer.wte.weight
    with torch.no_grad():  # each copy can be trained by itself
        loaded.transformer.h[1].ln_1.weight.zero_()
    assert loaded.transformer.h[2].ln_1.weight.abs().min() > 0


@pytest.mark.parametrize("name", ["llama", "gpt2", "gemma3", "gpt_neo"])
def test_generating_with_a_cache_equals_generating_without(name, tmp_path):
    mp.export(tiny.bridge(name), _route("5 0 2x3 4-1"), tmp_path / "out")
    loaded, tokens = hf.AutoModelForCausalLM.from_pretrained(tmp_path / "out"), tiny.tokens(length=10)
    options = {"max_new_tokens": 12, "do_sample": False, "eos_token_id": None, "output_logits": True}
    options |= {"return_dict_in_generate": True, "attention_mask": torch.ones_like(tokens), "pad_token_id": 0}
    cached, uncached = (loaded.generate(tokens, use_cache=use, **options) for use in (True, False))
    assert torch.equal(cached.sequences, uncached.sequences)
    assert (torch.stack(cached.logits) - torch.stack(uncached.logits)).abs().max() < 5e-5


def test_the_configuration_says_what_each_layer_is(tmp_path):
    mp.export(tiny.bridge("gemma3"), _route("3 0 3x2 1"), tmp_path / "out")
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    full, sliding = "full_attention", "sliding_attention"
    assert config["layer_types"] == [full, sliding, full, full, sliding]
    assert config["num_hidden_layers"] == 5
    mp.export(tiny.bridge("qwen2_moe"), _route("3 1 5 3"), tmp_path / "moe")  # layers 3 and 5 have experts
    config = json.loads((tmp_path / "moe" / "config.json").read_text())
    assert (config["mlp_only_layers"], config["decoder_sparse_step"]) == ([1], 1)


def test_a_checkpoint_is_loaded_and_rerouted_again(folder, tmp_path):
    model = mp.load(folder)
    mp.export(model, Reverse(1, 4), tmp_path / "out")
    again, text = mp.load(tmp_path / "out"), "The capital of France"
    with torch.no_grad(), mp.attach(model, Reverse(1, 4)):
        expected = model(text)
    with torch.no_grad():
        assert torch.equal(again(text), expected)
    mp.export(again, Reverse(1, 4), tmp_path / "back")
    tokens = tiny.tokens()
    assert torch.equal(_plainly(tmp_path / "back", tokens), _plainly(folder, tokens))


@pytest.mark.parametrize("special", [{"bos_token": "<bos>", "eos_token": "<eos>"}, {"eos_token": "<eos>"}])
def test_the_tokenizer_is_as_it_was_stored(folder, tmp_path, special):
    """TransformerLens gives tokenizers a padding token, a BOS token and a padding side."""
    inner = hf.AutoTokenizer.from_pretrained(folder).backend_tokenizer
    hf.LlamaForCausalLM.from_pretrained(folder).save_pretrained(tmp_path / "in")
    hf.PreTrainedTokenizerFast(tokenizer_object=inner, **special).save_pretrained(tmp_path / "in")
    before = hf.AutoTokenizer.from_pretrained(tmp_path / "in")
    model = mp.load(tmp_path / "in")
    assert model.tokenizer.special_tokens_map != before.special_tokens_map
    mp.export(model, Skip(1, 1), tmp_path / "out")
    after = hf.AutoTokenizer.from_pretrained(tmp_path / "out")
    assert after.special_tokens_map == before.special_tokens_map
    assert after("The capital of <eos>").input_ids == before("The capital of <eos>").input_ids
    assert after.padding_side == before.padding_side
    assert len(after) == len(before)


def test_another_tokenizer_or_none(speaking, tmp_path):
    mp.export(tiny.bridge("llama"), Skip(1, 1), tmp_path / "none")
    assert not list((tmp_path / "none").glob("*token*"))
    mp.export(tiny.bridge("llama"), Skip(1, 1), tmp_path / "given", tokenizer=speaking.tokenizer)
    assert (tmp_path / "given" / "tokenizer.json").exists()


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float64"])
def test_other_dtypes(dtype, tmp_path):
    model = mp.load(tiny.module("gemma3"), dtype=dtype)
    mp.export(model, _route("0 4-1 5"), tmp_path / "out")
    assert json.loads((tmp_path / "out" / "config.json").read_text())["dtype"] == dtype
    assert {tensor.dtype for tensor in _stored(tmp_path / "out").values()} == {getattr(torch, dtype)}
    assert yaml.safe_load((tmp_path / "out" / "mergekit.yaml").read_text())["dtype"] == dtype


def test_the_model_is_left_as_it_was(tmp_path):
    model, tokens = tiny.bridge("gemma3"), tiny.tokens()
    before, settings = model(tokens), model.original_model.config.to_dict()
    mp.export(model, _route("5-0"), tmp_path / "out")
    assert torch.equal(model(tokens), before)
    assert model.original_model.config.to_dict() == settings
    assert mp.models.digest(model) == mp.models.digest(tiny.bridge("gemma3"))


def test_weights_that_were_edited_in_the_bridge_are_exported(tmp_path):
    model, tokens = tiny.bridge("gpt2"), tiny.tokens()
    with torch.no_grad():
        before = model(tokens)
        model.blocks[4].attn.W_V.mul_(9)  # a part of GPT-2's joint matrix
        edited = model(tokens)
    mp.export(model, _route("0-5"), tmp_path / "out")
    assert (edited - before).abs().max() > 1
    assert (_plainly(tmp_path / "out", tokens) - edited).abs().max() < 1e-5


# ---- what cannot be exported ---------------------------------------------------------------------------------------


def _t5():
    config = hf.T5Config(
        vocab_size=50, d_model=16, d_kv=4, d_ff=32, num_layers=2, num_heads=4, decoder_start_token_id=0
    )
    return mp.load(hf.T5ForConditionalGeneration(config))


def _toy():
    task = toy.BigramTask(toy.Chain.shakespeare())
    return toy.as_bridge(toy.SimplifiedTransformer(toy.SimplifiedConfig(dim=32, length=16)), task)


def _native():
    config = TransformerBridgeConfig(
        d_model=16, d_head=4, n_layers=6, n_ctx=32, n_heads=4, d_vocab=20, d_mlp=32, act_fn="gelu"
    )  # fmt: skip
    return TransformerBridge.boot_native(config)


def _own_code():
    own = type("Own", (hf.LlamaForCausalLM,), {"__module__": "somewhere.else"})
    made = own(hf.LlamaConfig(**LLAMA))
    made.__class__.__name__ = "LlamaForCausalLM"
    return mp.load(made)


def _compatible():
    model = tiny.bridge("gpt2")
    model.enable_compatibility_mode()
    return model


def _training():
    model = tiny.bridge("gpt2")
    model.train()
    return model


def _quantised():
    model = tiny.bridge("llama")
    model.original_model.config.quantization_config = {"quant_method": "bitsandbytes"}
    return model


def _scaled():
    module = tiny.module("gpt2")
    module.config.scale_attn_by_inverse_layer_idx = True
    return mp.load(hf.GPT2LMHeadModel(module.config).eval())


def _edited_in_the_bridge():
    model = tiny.bridge("bloom")  # TransformerLens splits its joint matrix into copies
    with torch.no_grad():
        model.blocks[4].attn.q.original_component.weight.mul_(9)
    return model


def _hooked():
    model = tiny.bridge("llama")
    model.add_hook("blocks.4.hook_out", lambda x, hook: x * 1.1)
    return model


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (_t5, mp.CannotReroute, "T5ForConditionalGeneration is an encoder-decoder"),
        (_toy, mp.CannotExport, "SimplifiedTransformer is no Hugging Face model"),
        (_native, mp.CannotExport, "is no Hugging Face model"),
        (_own_code, mp.CannotExport, "the code of LlamaForCausalLM is not part of transformers"),
        (_compatible, mp.CannotExport, "compatibility mode"),
        (_training, mp.CannotExport, r"model\.eval\(\) first"),
        (_quantised, mp.CannotExport, "this LlamaForCausalLM is quantised"),
        (_scaled, mp.CannotExport, r"layer 1 has attn\.scaling 0\.17\d*, and as layer 0 of a checkpoint .* 0\.35"),
        (lambda: tiny.bridge("deepseek_v3"), mp.CannotExport, "layer 2 has mlp DeepseekV3MoE, and as layer 1 .*V3MLP"),
        (_edited_in_the_bridge, mp.CannotExport, "differ from the routed model's by .* changed in the bridge alone"),
        (_hooked, mp.CannotExport, "differ from the routed model's by"),
    ],
)
def test_a_model_that_no_checkpoint_can_hold_is_refused(make, error, words, tmp_path):
    with pytest.raises(error, match=words):
        mp.export(make(), Skip(0, 0), tmp_path / "out")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("what", "error", "words"),
    [
        (Average(1, 3), mp.CannotExport, r"\(1-3\) on the route 0 \(1-3\) 4-5 are averaged. A checkpoint is a list"),
        (Reroute("0 (1+2) 3-5"), mp.CannotExport, r"group \(1\+2\) .* are added.*mechpaint\.attach"),
        (Skip(1, 1) + ReadAttention(), mp.CannotExport, "has no hooks; expected hook sets that reroute, got skip"),
        (Skip(0, 9), mp.RouteError, "layers 0 to 5"),
        (Route.identity(4), mp.RouteError, "made for 4 layers, the model has 6"),
    ],
)
def test_a_route_that_no_checkpoint_can_hold_is_refused(llama, what, error, words, tmp_path):
    with pytest.raises(error, match=words):
        mp.export(llama, what, tmp_path / "out")
    assert not list(tmp_path.iterdir())


def test_a_route_that_leaves_layers_where_they_are_is_exported_from_any_model(tmp_path):
    """GPT-2 that scales by the layer's number, and DeepSeek with its dense layers first."""
    tokens = tiny.tokens(length=40)
    for name, model, steps in (("scaled", _scaled(), [0, 1, 2]), ("deep", tiny.bridge("deepseek_v3"), [0, 1, 4, 3, 3])):
        mp.export(model, Route.of(steps, 6), tmp_path / name)
        with torch.no_grad(), mp.attach(model, Reroute(" ".join(map(str, steps)))):
            expected = model(tokens)
        assert (_plainly(tmp_path / name, tokens) - expected).abs().max() < 1e-5


def test_something_that_is_there_already_is_left_alone(llama, tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "precious").write_text("as it was")
    (tmp_path / "file").write_text("as it was")
    for name in ("folder", "file"):
        with pytest.raises(mp.CannotExport, match=f"something at .*{name} already; expected a new or an empty folder"):
            mp.export(llama, Skip(1, 1), tmp_path / name)
    assert (tmp_path / "folder" / "precious").read_text() == (tmp_path / "file").read_text() == "as it was"
    (tmp_path / "empty").mkdir()
    mp.export(llama, Skip(1, 1), tmp_path / "empty")
    assert (tmp_path / "empty" / "config.json").exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty", "file", "folder"]


@pytest.mark.parametrize("name", ["gemma3", "qwen2 (sliding)", "gpt_neo", "smollm3"])
def test_settings_in_the_wrong_order_would_not_get_through(name, monkeypatch, tmp_path):
    """First by what the layers would be, and with that blinded by the logits."""
    monkeypatch.setattr(rearranged, "_rearrange", lambda config, order: ())
    model = tiny.bridge(name)
    with pytest.raises(mp.CannotExport, match="makes its layers by their place"):
        mp.export(model, _route("3 1-2 0 4-5"), tmp_path / "out")
    monkeypatch.setattr(rearranged, "_difference", lambda *arguments: None)
    with pytest.raises(mp.CannotExport, match=r"differ from the routed model's by .* so it was not written"):
        mp.export(model, _route("3 1-2 0 4-5"), tmp_path / "out")
    assert not list(tmp_path.iterdir())


def test_weights_in_the_wrong_order_would_not_get_through(monkeypatch, tmp_path):
    real = checkpoint._weights
    monkeypatch.setattr(checkpoint, "_weights", lambda model, new, path, order: real(model, new, path, order[::-1]))
    for dtype in ("float32", "bfloat16"):
        with pytest.raises(mp.CannotExport, match="differ from the routed model's by"):
            mp.export(mp.load(tiny.module("llama"), dtype=dtype), _route("0 4-1 5-4"), tmp_path / "out")
    assert not list(tmp_path.iterdir())


def test_a_weight_that_did_not_arrive_would_be_noticed(monkeypatch, tmp_path):
    def lose(self, folder):
        kept = {name: tensor for name, tensor in self.module.state_dict().items() if "layers.2.mlp.up" not in name}
        self.module.save_pretrained(folder, state_dict=kept)

    monkeypatch.setattr(checkpoint.Checkpoint, "save", lose)
    with pytest.raises(mp.CannotExport, match=r"does not take back its own weights.*model\.layers\.2\.mlp\.up_proj"):
        mp.export(tiny.bridge("llama"), Skip(1, 1), tmp_path / "out")
    assert not list(tmp_path.iterdir())


def test_a_full_disk_leaves_nothing(tmp_path):
    model = tiny.bridge("llama")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        with pytest.raises(CannotWrite, match=r"cannot write .*out: no space left.*--out. Nothing was left there"):
            mp.export(model, Skip(1, 1), tmp_path / "out")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)
    assert not list(tmp_path.iterdir())


# ---- what lies beside it -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", [*ROUTES, "5-0", "0-5", "1x2 0 3-5"])
def test_the_slices_of_mergekit_are_the_route(text):
    order = [step.layers[0] for step in _route(text).steps]
    merge = yaml.safe_load(passthrough("some/model", order, "float32"))
    assert merge["merge_method"] == "passthrough"
    ranges = [source["layer_range"] for part in merge["slices"] for source in part["sources"]]
    assert [layer for first, end in ranges for layer in range(first, end)] == order
    assert {source["model"] for part in merge["slices"] for source in part["sources"]} == {"some/model"}
    assert all(len(part["sources"]) == 1 for part in merge["slices"])
    breaks = sum(after != before + 1 for before, after in pairwise(order))
    assert len(ranges) == breaks + 1


def test_mergekit_is_told_what_it_cannot_do(tmp_path):
    mp.export(tiny.bridge("gemma3"), _route("3 0-2 4-5"), tmp_path / "gemma3", name="gemma-3-270m")
    told = (tmp_path / "gemma3" / "mergekit.yaml").read_text()
    assert "mergekit cannot reorder layer_types" in told
    assert "gemma-3-270m is mechpaint's own name" in told
    mp.export(tiny.bridge("llama"), _route("3 0-2 4-5"), tmp_path / "llama", name="some/where")
    assert "cannot" not in (tmp_path / "llama" / "mergekit.yaml").read_text()


def test_the_card_says_how_it_was_made(tmp_path):
    made_by = "mechpaint export --model 'a`b' --route '2 0'"
    done = mp.export(tiny.bridge("llama"), _route("2 0"), tmp_path / "out", name="a`b\n# c", made_by=made_by)
    card = (tmp_path / "out" / "README.md").read_text()
    assert "# `` a`b # c `` along the route `2 0`\n" in card
    assert f"mechpaint {mp.__version__}: `` {made_by} ``" in card
    assert "    2 0\n" in card
    assert f"{done.tokens} random tokens" in card
    assert "transformers.LlamaForCausalLM.from_pretrained(" in card


def test_what_is_written_can_be_read_by_others(tmp_path):
    done = mp.export(tiny.bridge("llama"), Skip(1, 1), tmp_path / "a" / "out")
    assert done.folder == tmp_path / "a" / "out"
    assert done.folder.stat().st_mode & 0o555 == 0o555
    names = {"config.json", "generation_config.json", "model.safetensors", "README.md", "mergekit.yaml"}
    assert {path.name for path in done.folder.iterdir()} == names
    assert all(path.stat().st_mode & 0o444 == 0o444 for path in done.folder.iterdir())


def test_the_check_reaches_beyond_windows_that_it_can_afford():
    made = checkpoint.Checkpoint.of(tiny.bridge("gemma3"), [0, 1])
    assert (made.window, made.positions) == (4, 64)
    model = tiny.bridge("llama")
    for window, length in ((0, 64), (512, 576), (1024, 1088), (4096, 64)):
        made.module.config.sliding_window = window
        made.module.config.max_position_embeddings = 32768
        assert exporting._tokens(model, made).shape == (1, length)


@pytest.mark.models
@pytest.mark.slow
def test_gemma_reversed(tmp_path):
    """Layers 5, 11 and 17 look at everything, the others at 512 tokens; the text is longer."""
    model = mp.load("gemma-3-270m")
    route = Route.parse("0-3 13-4 14x2 15-17", 18)
    done = mp.export(model, route, tmp_path / "out", name="gemma-3-270m")
    tokens = torch.randint(10, 200_000, (1, 600), generator=torch.Generator().manual_seed(0))
    last = torch.zeros_like(tokens, dtype=torch.bool)
    last[:, -8:] = True
    ((_, expected),) = mp.sweep(model, tokens, [route], positions=last)
    loaded = hf.AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    with torch.no_grad():
        logits = loaded(tokens, logits_to_keep=8).logits[0]
    assert done.tokens == 576
    assert (logits - expected).abs().max() < 1e-4 * expected.abs().max()
    text = "The capital of France is"
    assert hf.AutoTokenizer.from_pretrained(tmp_path / "out")(text).input_ids == model.to_tokens(text)[0].tolist()
