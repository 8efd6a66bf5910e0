"""Bodies and classification heads as bridges, and encoders under routes, against a plain loop over their layers."""

from __future__ import annotations

import pytest
import torch
import transformers as hf

import mechpaint as mp
from mechpaint.circuits import token_losses
from mechpaint.circuits.heads import copying_scores
from mechpaint.hooks import Average, ReadAttention, ReadResidual, Reroute, Skip
from mechpaint.routes.route import Route
from mechpaint.routes.steps import Visit
from tests import plain, tiny
from tests.architectures.recipes import RECIPES

N = tiny.N_LAYERS
BODY = hf.AutoModel
LABELS = hf.AutoModelForSequenceClassification
TAGS = hf.AutoModelForTokenClassification
WORDS = hf.AutoModelForMaskedLM
ROUTES = {
    "0-5": [0, 1, 2, 3, 4, 5],
    "0-1 4-5": [0, 1, 4, 5],
    "5-0": [5, 4, 3, 2, 1, 0],
    "0 2x7 5": [0, *[2] * 7, 5],
    "0 (1-4)x2 5": [0, (1, 2, 3, 4), (1, 2, 3, 4), 5],
    "0 (2+3) 5": [0, [2, 3], 5],
}
ENCODERS = [(name, auto) for name in ("bert", "roberta") for auto in (WORDS, BODY, LABELS, TAGS)]
DECODERS = [(name, auto) for name in ("llama", "gpt2", "gemma3", "qwen2") for auto in (BODY, LABELS)]
OTHERS = [("bloom", BODY), ("mistral", TAGS), ("gpt_neox", LABELS), ("opt", BODY), ("opt", LABELS)]


def _config(name):
    config = RECIPES[name].module().config
    config.pad_token_id = config.pad_token_id or 0
    return config


def _module(name, auto):
    """The same at every call, with no norm or bias that could be left out unnoticed."""
    config = _config(name)
    config.num_labels = 3
    torch.manual_seed(0)
    module = auto.from_config(config, attn_implementation="eager")
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter, mean=0.8 if parameter.ndim == 1 else 0.0, std=0.2)
    return module.eval()


def _inputs(name):
    """Tokens, padded on the right, with two segments where there are such."""
    tokens = 2 + tiny.tokens() % (tiny.VOCABULARY - 2)
    mask = torch.ones_like(tokens)
    mask[1, 6:] = 0
    config = _config(name)
    tokens[1, 6:] = config.pad_token_id
    inputs = {"attention_mask": mask}
    if getattr(config, "type_vocab_size", 1) > 1:
        inputs["token_type_ids"] = (torch.arange(tokens.shape[1]) > 3).long().expand_as(tokens)
    return tokens, inputs


@pytest.mark.parametrize(("name", "auto"), [*ENCODERS, *DECODERS, *OTHERS], ids=str)
def test_routes_equal_a_plain_loop(name, auto):
    """Under attach and in a sweep, with padding and segments; the identity is the model as it was."""
    tokens, inputs = _inputs(name)
    module = _module(name, auto)
    expected = {text: plain.logits(module, tokens, steps, **inputs) for text, steps in ROUTES.items()}
    shape = {BODY: (2, 9, 32), LABELS: (2, 3), TAGS: (2, 9, 3), WORDS: (2, 9, tiny.VOCABULARY)}[auto]
    model = mp.load(module)
    with torch.no_grad():
        unrouted = model(tokens, **inputs)
    swept = dict(mp.sweep(model, tokens, [Route.parse(text, N) for text in ROUTES], **inputs))
    for text in ROUTES:
        with torch.no_grad(), mp.attach(model, Reroute(text)):
            attached = model(tokens, **inputs)
        assert attached.shape == shape
        if text == "0-5":
            assert torch.equal(attached, unrouted)
        real = inputs["attention_mask"].bool() if attached.ndim == 3 else ...
        scale = expected[text][real].abs().max()
        assert (attached - expected[text])[real].abs().max() < 1e-5 * scale
        assert (swept[Route.parse(text, N)] - attached)[real].abs().max() < 1e-5 * scale


@pytest.mark.parametrize(("name", "auto"), [("bert", LABELS), ("roberta", LABELS), ("bert", BODY), ("llama", LABELS)])
def test_a_normal_bridge(name, auto):
    """Hooks fire, also those of the head; caches, readings, gradients and saved weights are those of the module."""
    tokens, inputs = _inputs(name)
    module = _module(name, auto)
    model = mp.load(module)
    assert model.original_model is module
    with torch.no_grad(), mp.attach(model, Skip(2, 3) + ReadAttention() + ReadResidual()) as session:
        output, cache = model.run_with_cache(tokens, **inputs)
    assert list(session["residual"]) == [Visit(step, layer) for step, layer in enumerate([0, 1, 4, 5])]
    assert session["attention"][Visit(3, 5)].shape == (2, 4, 9, 9)
    assert torch.equal(cache["blocks.5.hook_out"], session["residual"][Visit(3, 5)])
    if auto is LABELS:
        head = "score" if name == "llama" else "classifier"
        if name != "llama":  # whose head is applied everywhere before a position is picked
            assert torch.equal(cache["classifier.hook_out"], output)
        zero = model.run_with_hooks(tokens, fwd_hooks=[(f"{head}.hook_out", lambda x, hook: x * 0)], **inputs)
        assert zero.abs().max() == 0
    with mp.attach(model, Average(1, 3) + Skip(4, 4)):
        model(tokens, **inputs).square().sum().backward()
    has = [any(p.grad is not None for p in block.parameters()) for block in model.blocks]
    assert has == [True, True, True, True, False, True]
    assert {id(p) for p in model.parameters()} == {id(p) for p in module.parameters()}
    assert sum(p.numel() for p in model.parameters()) == sum(p.numel() for p in _module(name, auto).parameters())
    fresh = mp.load(_module(name, auto))
    for parameter in fresh.parameters():
        torch.nn.init.zeros_(parameter)
    fresh.load_state_dict(model.state_dict())
    with torch.no_grad():
        assert torch.equal(fresh(tokens, **inputs), model(tokens, **inputs))


@pytest.mark.parametrize(("name", "auto"), [("bert", LABELS), ("gemma3", LABELS), ("gpt2", BODY), ("roberta", BODY)])
def test_a_route_as_a_checkpoint(tmp_path, name, auto):
    tokens, inputs = _inputs(name)
    model = mp.load(_module(name, auto))
    mp.export(model, Route.parse("0 3-1 3x2 5", N), tmp_path / "out")
    plainly = auto.from_pretrained(tmp_path / "out", attn_implementation="eager", num_labels=3).eval()
    with torch.no_grad():
        output = plainly(tokens, **inputs)
    output = output.logits if auto is LABELS else output.last_hidden_state
    expected = plain.logits(_module(name, auto), tokens, [0, 3, 2, 1, 3, 3, 5], **inputs)
    real = inputs["attention_mask"].bool() if auto is BODY else ...
    assert (output - expected)[real].abs().max() < 1e-5 * expected[real].abs().max()


@pytest.mark.parametrize("auto", [BODY, LABELS])
def test_hook_points_alone_do_the_same(auto):
    tokens, inputs = _inputs("bert")
    model = mp.load(_module("bert", auto))
    with torch.no_grad():
        hooked = model.run_with_hooks(tokens, fwd_hooks=Skip(1, 2).fwd_hooks(model), **inputs)
        with mp.attach(model, Skip(1, 2)):
            assert torch.equal(hooked, model(tokens, **inputs))


@pytest.mark.parametrize("auto", [BODY, LABELS])
def test_a_folder(tmp_path, auto):
    tokens, inputs = _inputs("bert")
    _module("bert", auto).save_pretrained(tmp_path)
    model = mp.load(tmp_path, device="cpu")
    expected = mp.load(_module("bert", auto))
    assert type(model.original_model) is type(expected.original_model)
    with torch.no_grad():
        assert torch.equal(model(tokens, **inputs), expected(tokens, **inputs))


def test_bfloat16():
    tokens, inputs = _inputs("bert")
    model = mp.load(_module("bert", LABELS), dtype="bfloat16")
    route = Route.parse("0 (1-4)x2 5", N)
    expected = plain.logits(_module("bert", LABELS).to(torch.bfloat16), tokens, ROUTES[str(route)], **inputs)
    ((_, output),) = mp.sweep(model, tokens, [route], **inputs)
    assert output.dtype == torch.bfloat16
    assert (output - expected).abs().max() < 0.1 * expected.abs().max()


@pytest.mark.parametrize("positions", ["last", torch.ones((2, 9), dtype=torch.bool)], ids=["last", "mask"])
def test_whole_sequences_have_no_output_at_single_positions(positions):
    tokens, inputs = _inputs("bert")
    model = mp.load(_module("bert", LABELS))
    words = "BertForSequenceClassification has one output for a whole sequence.*expected positions="
    with pytest.raises(mp.CannotReroute, match=words):
        mp.sweep(model, tokens, [Route.identity(N)], positions=positions, **inputs)


def test_the_last_states_of_a_body_can_be_had_at_single_positions():
    """Normed, as its forward gives them; the residual streams are not."""
    tokens, inputs = _inputs("llama")
    model, route = mp.load(_module("llama", BODY)), Route.parse("5-0", N)
    ((_, everywhere),) = mp.sweep(model, tokens, [route], **inputs)
    ((_, last),) = mp.sweep(model, tokens, [route], positions="last", **inputs)
    ((_, residual),) = mp.sweep(model, tokens, [route], **inputs).residuals()
    assert torch.allclose(last, everywhere[[0, 1], [8, 5]], atol=1e-5)
    with torch.no_grad():
        assert torch.allclose(model.ln_final(residual), everywhere, atol=1e-5)
    assert not torch.allclose(residual, everywhere, atol=0.1)


def _generate(model):
    model.generate(torch.tensor([[5, 6]]), max_new_tokens=2, verbose=False)


@pytest.mark.parametrize(
    ("name", "auto", "use", "error", "words"),
    [
        ("bert", WORDS, _generate, NotImplementedError, "generation is not supported by the BertForMaskedLM"),
        ("bert", BODY, _generate, NotImplementedError, "generation is not supported by the BertModel"),
        ("llama", BODY, _generate, NotImplementedError, "generation is not supported by the LlamaModel"),
        ("llama", LABELS, lambda m: m(tiny.tokens(), return_type="loss"), NotImplementedError, "causal loss"),
        ("llama", BODY, lambda m: m.enable_compatibility_mode(), RuntimeError, "not support compatibility"),
        ("llama", BODY, lambda m: token_losses(m, tiny.tokens(1)), mp.LoadError, "LlamaModel does not predict tokens"),
        ("gpt2", LABELS, copying_scores, mp.LoadError, "copying score.*GPT2ForSequenceClassification"),
    ],
)
def test_what_needs_a_language_model_is_refused(name, auto, use, error, words):
    with pytest.raises(error, match=words):
        use(mp.load(_module(name, auto)))


def test_what_cannot_be_fitted_is_refused():
    for auto, config in [
        (hf.AutoModelForQuestionAnswering, _config("bert")),
        (hf.AutoModel, hf.DistilBertConfig(vocab_size=9, dim=8, n_heads=2, hidden_dim=8, n_layers=1)),
        (hf.AutoModel, hf.BartConfig(vocab_size=9, d_model=16, encoder_layers=1, decoder_layers=1)),
    ]:
        module = auto.from_config(config)
        with pytest.raises(mp.LoadError, match=rf"{type(module).__name__}\. Expected .* bare or with a head"):
            mp.load(module)
