"""Unrolled models against the exported checkpoint, a plain loop, and the attached model."""

from __future__ import annotations

import copy

import psutil
import pytest
import tokenizers
import torch
import transformers as hf
from transformer_lens import patching
from transformer_lens.head_detector import detect_head
from transformer_lens.tools.analysis import attribution_patch, direct_logit_attribution, logit_lens

import mechpaint as mp
from mechpaint import models
from mechpaint.hooks import Average, Loop, ReadAttention, ReadResidual, Reroute, Reverse, Skip
from mechpaint.models import rearranged
from mechpaint.models import unroll as unrolling
from mechpaint.routes.route import Route
from tests import plain, tiny
from tests.architectures.recipes import RECIPES
from tests.mechpaint.models.test_export import (
    _compatible,
    _edited_in_the_bridge,
    _hooked,
    _native,
    _own_code,
    _quantised,
    _scaled,
    _t5,
    _toy,
)

ROUTES = {
    "0-1 4-5": [0, 1, 4, 5],
    "0 4-1 5": [0, 4, 3, 2, 1, 5],
    "3 1 4 0 5 2": [3, 1, 4, 0, 5, 2],
    "0 2x3 5": [0, 2, 2, 2, 5],
    "0 [1 2]x2 5": [0, 1, 2, 1, 2, 5],
}
"""Skipped, reversed, shuffled, repeated and looped."""
NAMES = ("gpt2", "llama", "gemma3", "gpt_neox")
QUICK = {
    ("gpt2", 1),
    ("gpt2", 4),
    ("llama", 0),
    ("llama", 1),
    ("gemma3", 2),
    ("gemma3", 4),
    ("gpt_neox", 1),
    ("gpt_neox", 3),
}
ON_ROUTES = [
    pytest.param(name, text, marks=[] if (name, i) in QUICK else pytest.mark.slow)
    for name in NAMES
    for i, text in enumerate(ROUTES)
]
"""Every route and every model is among what the fast tests run."""
OTHERS = (
    "bloom", "bert", "mixtral", "qwen2 (sliding)", "gpt_neo", "smollm3",
)  # fmt: skip
TOKENS = torch.tensor([[5, 17, 42]])
OTHER = torch.tensor([[5, 3, 42]])
EVERY = list(range(tiny.VOCABULARY))


def _close(found, expected):
    torch.testing.assert_close(found, expected, atol=2e-5, rtol=2e-5)


def _storages(*bridges):
    """The distinct memory of weights and buffers: where it is, and its bytes."""
    wholes = [whole for bridge in bridges for whole in (bridge, bridge.original_model)]
    storages = [t.untyped_storage() for whole in wholes for t in (*whole.parameters(), *whole.buffers())]
    return {(storage.data_ptr(), storage.nbytes()) for storage in storages}


def _tokenizer():
    """A word for every token that tiny models have."""
    words = tokenizers.models.WordLevel({f"w{i}": i for i in range(tiny.VOCABULARY)}, unk_token="w0")
    made = tokenizers.Tokenizer(words)
    made.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    return hf.PreTrainedTokenizerFast(tokenizer_object=made, bos_token="w1", eos_token="w2", pad_token="w0")


def _both(name, text, folder):
    """An unrolled model, and a bridge on the checkpoint of the same route."""
    model = mp.load(tiny.module(name), tokenizer=_tokenizer())
    mp.export(model, text, folder)
    return model, mp.unroll(model, text), mp.load(folder)


def _metric(logits):
    return logits[0, -1, 3] - logits[0, -1, 7]


# ---- the same numbers as on the checkpoint --------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:Backward hooks on hook_scale")
@pytest.mark.parametrize(("name", "text"), ON_ROUTES)
def test_transformer_lens_finds_what_it_finds_in_the_checkpoint(name, text, tmp_path):
    source, unrolled, exported = _both(name, text, tmp_path / "out")
    assert unrolled.cfg.n_layers == exported.cfg.n_layers == len(ROUTES[text])
    assert list(unrolled.hook_dict) == list(exported.hook_dict)
    found, expected = ([*_everything(model)] for model in (unrolled, exported))
    for (what, a), (_, b) in zip(found, expected, strict=True):
        assert torch.as_tensor(a).isfinite().all(), what
        _close(a, b)
    with torch.no_grad():
        expected = plain.logits(tiny.module(name), TOKENS, ROUTES[text])
        _close(unrolled(TOKENS), expected)
        assert (expected - source(TOKENS)).abs().max() > 0.05  # so that the route mattered
    lens = logit_lens(unrolled, TOKENS, vocab=EVERY, return_type="logits").readout.values
    assert len(lens) == len(ROUTES[text]) + 1
    _close(lens[-1].flatten(), expected[0, -1])


def _everything(model):
    """What TransformerLens's tools find in a model, by name."""
    logits, cache = model.run_with_cache(TOKENS, return_type="logits")
    yield "logits", logits
    yield from cache.items()
    yield "accumulated", cache.accumulated_resid(incl_mid=not model.cfg.parallel_attn_mlp)
    yield "decomposed", cache.decompose_resid()
    yield "lens", logit_lens(model, TOKENS, vocab=EVERY, return_type="logits").readout.values
    with torch.no_grad():
        for patched in (patching.get_act_patch_resid_pre, patching.get_act_patch_attn_head_out_all_pos):
            yield "patched", patched(model, OTHER, cache, _metric)
    yield "heads", detect_head(model, "w5 w6 w5 w6", "previous_token_head")
    _, gradients = model.run_with_cache(TOKENS, incl_bwd=True, return_type="loss")
    yield from ((key, value) for key, value in gradients.items() if key.endswith("_grad"))
    model.zero_grad()


@pytest.mark.parametrize(("name", "text"), ON_ROUTES)
def test_compatibility_mode_is_that_of_the_checkpoint_and_leaves_the_source_alone(name, text, tmp_path):
    source, unrolled, exported = _both(name, text, tmp_path / "out")
    with torch.no_grad():
        before, own = source(TOKENS), unrolled(TOKENS).log_softmax(-1)
    digest = models.digest(source)
    for model in (unrolled, exported):
        model.enable_compatibility_mode(disable_warnings=True)
    with torch.no_grad():
        assert torch.equal(source(TOKENS), before)
        torch.testing.assert_close(unrolled(TOKENS).log_softmax(-1), own, atol=1e-4, rtol=1e-4)
    assert models.digest(source) == digest
    assert not {id(p) for p in unrolled.parameters()} & {id(p) for p in source.parameters()}
    for found, expected in zip(_attributed(unrolled), _attributed(exported), strict=True):
        torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)


def _attributed(model):
    """Direct logit attribution and attribution patching, which want compatibility mode."""
    attributed = direct_logit_attribution(model, TOKENS, 3)
    patched = attribution_patch(model, TOKENS, OTHER, _metric)
    return [torch.tensor(_numbers(attributed)), torch.tensor(_numbers(patched))]


def _numbers(result):
    """All numbers in a result of TransformerLens's, in order."""
    if isinstance(result, torch.Tensor):
        return result.detach().double().flatten().tolist()
    if isinstance(result, dict):
        return [number for value in result.values() for number in _numbers(value)]
    if isinstance(result, list | tuple):
        return [number for value in result for number in _numbers(value)]
    if isinstance(result, float):
        return [result]
    return _numbers(vars(result)) if hasattr(result, "__dict__") else []


# ---- shared weights -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_no_memory_is_added(name):
    model = tiny.bridge(name)
    unrolled = mp.unroll(model, "0-5 [1 2]x3 5")
    assert unrolled.cfg.n_layers == 13
    assert _storages(model, unrolled) == _storages(model)
    assert {id(p) for p in unrolled.parameters()} == {id(p) for p in model.parameters()}


@pytest.mark.parametrize("name", NAMES)
def test_gradients_of_all_visits_add_up_in_the_models_own_parameters(name):
    model, module = tiny.bridge(name), tiny.module(name)
    direction = torch.randn(1, 3, tiny.VOCABULARY, generator=torch.Generator().manual_seed(2))
    (mp.unroll(model, "0 2x3 [1 2]x2 5")(TOKENS) * direction).sum().backward()
    (plain.hugging_face(module, TOKENS).logits([0, 2, 2, 2, 1, 2, 1, 2, 5]) * direction).sum().backward()
    own = {n.replace("._original_component", ""): p.grad for n, p in model.original_model.named_parameters()}
    expected = {n: p.grad for n, p in module.named_parameters() if p.grad is not None and own.get(n) is not None}
    assert len(expected) > 20
    largest = max(grad.abs().max() for grad in expected.values())
    for parameter, grad in expected.items():
        assert (own[parameter] - grad).abs().max() < 1e-5 * largest
    assert all(p.grad is None for p in model.blocks[4].parameters())


def test_a_step_of_training_trains_the_model():
    model = tiny.bridge("llama")
    unrolled = mp.unroll(model, "0 2x3 5")
    optimizer = torch.optim.SGD(unrolled.parameters(), lr=0.1)
    unrolled(TOKENS, return_type="loss").backward()
    optimizer.step()
    with torch.no_grad(), mp.attach(model, "0 2x3 5"):
        assert torch.equal(model(TOKENS), unrolled(TOKENS))
    assert models.digest(model) != models.digest(tiny.bridge("llama"))


@pytest.mark.parametrize("name", ["gpt2", "llama", "gemma3"])
def test_tied_embeddings_stay_tied(name):
    model = tiny.bridge(name)
    module = mp.unroll(model, "5-0").original_model
    tied = module.get_output_embeddings().weight is module.get_input_embeddings().weight
    assert tied == (name != "llama")
    assert module.get_input_embeddings().weight is model.original_model.get_input_embeddings().weight


def test_weights_that_only_the_bridge_has_are_shared_too():
    model = _edited_in_the_bridge()  # export refuses it
    with torch.no_grad(), mp.attach(model, "5-0"):
        expected = model(TOKENS)
    assert torch.equal(mp.unroll(model, "5-0")(TOKENS), expected)


# ---- every architecture ---------------------------------------------------------------------------------------------


WHY = ("layers by their place", "depends on the number of layers", "does not run", "cannot be built with other layers")
"""What may be said of a route that a checkpoint cannot have either."""


@pytest.mark.parametrize(
    "name", [n if n in OTHERS else pytest.param(n, marks=pytest.mark.slow) for n in RECIPES if n not in NAMES]
)
def test_every_architecture_computes_what_the_attached_model_does(name):
    """On texts longer than sliding windows. Layers that cannot be moved can be left where they are."""
    model, tokens = tiny.bridge(name), tiny.tokens(length=40).clamp(min=5)
    unrolled, refused = {}, []
    for text in ("0 4-1 5", "0-3 2-5", "0-5"):
        try:
            unrolled[text] = mp.unroll(model, text)
        except mp.CannotUnroll as error:
            refused.append(str(error))
    assert not refused or name not in OTHERS
    assert all(any(why in text for why in WHY) for text in refused), refused
    assert "0-5" in unrolled
    for text, made in unrolled.items():
        with torch.no_grad(), mp.attach(model, text):
            expected = model(tokens)
        assert (made(tokens) - expected).abs().max() < 1e-5
    assert _storages(model, *unrolled.values()) == _storages(model)


# ---- it is a bridge like any other ----------------------------------------------------------------------------------


def test_what_is_given_is_what_attach_takes():
    model = tiny.bridge("llama")
    route = Route.parse("0 4-1 5", 6)
    made = [mp.unroll(model, what) for what in (route, Reverse(1, 4), "reverse(1, 4)", "0 4-1 5", Reroute(route))]
    assert {one.route for one in made} == {route}
    for one in made[1:]:
        assert torch.equal(one(TOKENS), made[0](TOKENS))


@pytest.mark.parametrize("name", NAMES)
def test_generating_with_a_cache_equals_generating_without(name):
    model = tiny.bridge(name)
    unrolled, options = mp.unroll(model, "5 0 2x3 4-1"), {"max_new_tokens": 8, "do_sample": False, "verbose": False}
    options |= {"stop_at_eos": False, "return_type": "tokens"}
    cached = unrolled.generate(TOKENS, **options)
    assert torch.equal(cached, unrolled.generate(TOKENS, use_past_kv_cache=False, **options))
    with mp.attach(model, "5 0 2x3 4-1"):
        assert torch.equal(cached, model.generate(TOKENS, **options))


@pytest.mark.slow
def test_two_hundred_visits():
    model = tiny.bridge("llama")
    unrolled = mp.unroll(model, "0 3x200 5")
    assert unrolled.cfg.n_layers == 202
    with torch.no_grad(), mp.attach(model, "0 3x200 5"):
        assert torch.equal(model(TOKENS), unrolled(TOKENS))
    assert _storages(model, unrolled) == _storages(model)


def test_an_unrolled_model_is_unrolled_attached_swept_and_exported(tmp_path):
    model, module = tiny.bridge("gemma3"), tiny.module("gemma3")
    unrolled = mp.unroll(model, "0 3x2 1 5")
    again = mp.unroll(unrolled, "4-0")
    expected = plain.logits(module, TOKENS, [5, 1, 3, 3, 0])
    _close(again(TOKENS), expected)
    assert _storages(again, unrolled, model) == _storages(model)
    with torch.no_grad(), mp.attach(unrolled, Reroute("4-0") + ReadResidual()) as session:
        _close(unrolled(TOKENS), expected)
    assert len(session["residual"]) == 5
    ((_, swept),) = mp.sweep(unrolled, TOKENS, ["4-0"])
    _close(swept, expected)
    mp.export(unrolled, "4-0", tmp_path / "out")
    loaded = hf.AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    with torch.no_grad():
        _close(loaded(TOKENS).logits, expected)
    with torch.no_grad():  # each copy in the checkpoint can be trained by itself
        loaded.model.layers[2].mlp.up_proj.weight.zero_()
    assert loaded.model.layers[3].mlp.up_proj.weight.abs().min() > 0


def test_the_digest_tells_routes_apart():
    model = tiny.bridge("llama")
    texts = ["0-5", "5-0", "0-2 1 5", "0-2 2 5", "0-2 5 5"]
    digests = [models.digest(mp.unroll(model, text)) for text in texts]
    assert len({*digests}) == len(texts)
    assert digests[0] == models.digest(model)


def test_a_copy_has_weights_of_its_own():
    model = tiny.bridge("gpt2")
    unrolled = mp.unroll(model, "0 2x3 5")
    copied = copy.deepcopy(unrolled)
    assert torch.equal(copied(TOKENS), unrolled(TOKENS))
    assert copied.route == unrolled.route
    assert not _storages(copied) & _storages(model)
    with torch.no_grad():
        for parameter in copied.parameters():
            parameter.zero_()
    assert models.digest(model) == models.digest(tiny.bridge("gpt2"))


@pytest.mark.parametrize("dtype", ["bfloat16", "float64"])
def test_it_has_the_dtype_of_a_model_that_was_moved(dtype):
    model = tiny.bridge("gemma3")
    model.to(getattr(torch, dtype))
    unrolled = mp.unroll(model, "0 3x2 1 5")
    assert unrolled.cfg.dtype == getattr(torch, dtype)
    with torch.no_grad(), mp.attach(model, "0 3x2 1 5"):
        expected = model(TOKENS)
    assert torch.equal(unrolled(TOKENS), expected)
    assert unrolled(TOKENS).dtype == expected.dtype


def test_mode_tokenizer_and_switches_are_the_models(speaking):
    model = copy.deepcopy(speaking)
    model.train()
    model.blocks[2].eval()
    model.tokenizer.padding_side = "left"
    model.set_use_attn_result(True)
    unrolled = mp.unroll(model, "0 2x3 5")
    assert unrolled.training
    assert unrolled.original_model.training
    assert model.training
    assert not model.blocks[2].training  # the check, which runs without dropout, has left no trace
    assert unrolled.tokenizer is model.tokenizer
    text = "The capital of France"
    assert torch.equal(unrolled.to_tokens(text), model.to_tokens(text))
    unrolled.eval()
    assert "blocks.4.attn.hook_result" in unrolled.run_with_cache(text)[1]


def test_the_model_is_left_as_it_was():
    model = tiny.bridge("gemma3")
    before, settings = model(TOKENS), model.original_model.config.to_dict()
    unrolled = mp.unroll(model, "5-0")
    unrolled.run_with_hooks(TOKENS, fwd_hooks=[("blocks.2.hook_out", lambda x, hook: x * 0)])
    assert torch.equal(model(TOKENS), before)
    assert model.original_model.config.to_dict() == settings
    assert model.cfg.n_layers == 6


# ---- what is refused ------------------------------------------------------------------------------------------------


def _changed():
    model = tiny.bridge("llama")
    model.blocks[3].mlp.original_component.act_fn = torch.nn.Identity()
    return model


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (_t5, mp.CannotReroute, "T5ForConditionalGeneration is an encoder-decoder"),
        (_toy, mp.CannotUnroll, "SimplifiedTransformer is no Hugging Face model.*mechpaint.attach"),
        (_native, mp.CannotUnroll, "is no Hugging Face model"),
        (_own_code, mp.CannotUnroll, "the code of LlamaForCausalLM is not part of transformers"),
        (_compatible, mp.CannotUnroll, r"compatibility mode.*enable_compatibility_mode\(\) of the unrolled"),
        (_quantised, mp.CannotUnroll, "this LlamaForCausalLM is quantised"),
        (_scaled, mp.CannotUnroll, r"layer 1 has attn\.scaling 0\.17\d*, and as layer 0 of an unrolled .* 0\.35"),
        (_hooked, mp.CannotUnroll, r"has a hook at blocks\.4\.hook_out, .*reset_hooks"),
        (_changed, (mp.CannotReroute, mp.CannotUnroll), "changed after"),
    ],
)
def test_a_model_that_cannot_be_unrolled_is_refused(make, error, words):
    with pytest.raises(error, match=words):
        mp.unroll(make(), Skip(0, 0))


@pytest.mark.parametrize(
    ("what", "error", "words"),
    [
        (Average(1, 3), mp.CannotUnroll, r"\(1-3\) on the route 0 \(1-3\) 4-5 are averaged.*mechpaint\.attach"),
        (Average(1, 3) + Loop(1, 3, times=2), mp.CannotUnroll, "are averaged"),
        (Reroute("0 (1+2) 3-5"), mp.CannotUnroll, r"group \(1\+2\) .* are added.*mechpaint\.attach"),
        (Skip(1, 1) + ReadAttention(), mp.CannotUnroll, "expected hook sets that only reroute, and skip.*also reads"),
        (Skip(0, 5), mp.RouteError, "the route is empty"),
        (Skip(0, 9), mp.RouteError, "layers 0 to 5"),
        (Route.identity(4), mp.HookSetError, "made for 4 layers, the model has 6"),
    ],
)
def test_a_route_that_cannot_be_unrolled_is_refused(llama, what, error, words):
    with pytest.raises(error, match=words):
        mp.unroll(llama, what)


def test_an_attached_model_is_refused():
    model = tiny.bridge("llama")
    with mp.attach(model, "5-0"), pytest.raises(mp.CannotReroute, match="attached already"):
        mp.unroll(model, "0-5")


@pytest.mark.parametrize("name", ["gemma3", "qwen2 (sliding)"])
def test_settings_in_the_wrong_order_would_not_get_through(name, monkeypatch):
    """First by what the layers would be, and with that blinded by the logits."""
    monkeypatch.setattr(rearranged, "_rearrange", lambda config, order: ())
    with pytest.raises(mp.CannotUnroll, match="makes its layers by their place"):
        mp.unroll(tiny.bridge(name), "3 1-2 0 4-5")
    monkeypatch.setattr(rearranged, "_difference", lambda *arguments: None)
    with pytest.raises(mp.CannotUnroll, match=r"computes something else than under mechpaint\.attach"):
        mp.unroll(tiny.bridge(name), "3 1-2 0 4-5")


def test_weights_in_the_wrong_order_would_not_get_through(monkeypatch):
    real = unrolling._share
    monkeypatch.setattr(unrolling, "_share", lambda model, made, route, order: real(model, made, route, order[::-1]))
    for dtype in ("float32", "bfloat16"):
        with pytest.raises(mp.CannotUnroll, match="logits differ by"):
            mp.unroll(mp.load(tiny.module("llama"), dtype=dtype), "0 4-1 5-4")


@pytest.mark.filterwarnings("ignore:Backward hooks on hook_scale")
def test_what_attach_refuses_by_name_says_that_unroll_can():
    model = tiny.bridge("llama")
    with mp.attach(model, "5-0"), pytest.raises(mp.CannotReroute, match=r'mechpaint\.unroll\(model, "5-0"\).*read by'):
        logit_lens(model, TOKENS)
    with mp.attach(model, Average(1, 3)), pytest.raises(mp.CannotReroute) as refused:
        logit_lens(model, TOKENS)
    assert "unroll" not in str(refused.value)


# ---- a real model ---------------------------------------------------------------------------------------------------


@pytest.mark.models
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Backward hooks on hook_scale")
@pytest.mark.parametrize(
    "text", ["0-9 20-29", "0-9 19-10 20-29", "0-5 8 6 9 7 10-29", "0-9 9x3 10-29", "0-9 [10 11]x3 12-29"]
)
def test_smollm2(text, tmp_path):
    model, text_read = mp.load("smollm2-135m"), "The capital of France is"
    process = psutil.Process()
    mp.unroll(model, "0-29")  # what is allocated once
    before = process.memory_info().rss
    unrolled = mp.unroll(model, text)
    weights = sum(nbytes for _, nbytes in _storages(model))
    assert process.memory_info().rss - before < 0.1 * weights  # modules and hook points
    assert _storages(model, unrolled) == _storages(model)
    mp.export(model, text, tmp_path / "out")
    exported = mp.load(tmp_path / "out")
    with torch.no_grad():
        (logits, cache), (expected, stored) = (one.run_with_cache(text_read) for one in (unrolled, exported))
        torch.testing.assert_close(logits, expected, atol=1e-3, rtol=1e-3)
        for name in ("accumulated_resid", "decompose_resid"):
            torch.testing.assert_close(getattr(cache, name)(), getattr(stored, name)(), atol=1e-2, rtol=1e-3)
        lenses = [
            logit_lens(one, text_read, vocab=[0, 1, 2], return_type="logits").readout.values
            for one in (unrolled, exported)
        ]
        torch.testing.assert_close(*lenses, atol=1e-3, rtol=1e-3)
        torch.testing.assert_close(lenses[0][-1].reshape(-1, 3), logits[0, -1:, :3], atol=1e-3, rtol=1e-3)
        heads = [detect_head(one, text_read, "previous_token_head") for one in (unrolled, exported)]
        torch.testing.assert_close(*heads, atol=1e-4, rtol=1e-3)
        corrupted = unrolled.to_tokens("The capital of Italy is")
        patched = [
            patching.get_act_patch_resid_pre(one, corrupted, one.run_with_cache(text_read)[1], _metric)
            for one in (unrolled, exported)
        ]
        torch.testing.assert_close(*patched, atol=1e-3, rtol=1e-3)
    for one in (unrolled, exported):
        one.enable_compatibility_mode(disable_warnings=True)
    answer = int(unrolled.to_tokens(" Paris", prepend_bos=False)[0, 0])
    shown = [torch.tensor(_numbers(direct_logit_attribution(one, text_read, answer))) for one in (unrolled, exported)]
    torch.testing.assert_close(*shown, atol=1e-3, rtol=1e-3)
    shown = [
        torch.tensor(_numbers(attribution_patch(one, one.to_tokens(text_read), corrupted, _metric)))
        for one in (unrolled, exported)
    ]
    torch.testing.assert_close(*shown, atol=1e-3, rtol=1e-3)
