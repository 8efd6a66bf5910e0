"""The tuned lens: closed forms where there are some, and less divergence than the logit lens where there are none."""

from __future__ import annotations

import pytest
import torch
import transformers as hf

import mechpaint as mp
from mechpaint import lenses
from mechpaint.data import read_text
from mechpaint.errors import InputError
from mechpaint.lenses import TunedLens, fitting
from mechpaint.lenses.tuned import probe
from tests import plain, tiny

TEXT = "The city of Paris"
SMALL = {"windows": 16, "length": 24, "steps": 3, "rows": 64}


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    """The beginning of the text that comes with Python, so that there is less to read."""
    path = tmp_path_factory.mktemp("text") / "beginning.txt"
    path.write_text(read_text(None)[:20_000], encoding="utf-8")
    return str(path)


@pytest.fixture(scope="module")
def fitted(speaking, text):
    return lenses.fit_tuned_lens(speaking, "0-2 4 3 5", text=text, **SMALL)


def test_it_is_nearer_to_the_last_stage_than_the_logit_lens(speaking, fitted):
    """On text that it was not fitted on, by distributions of a plain loop over layers."""
    text = "When Mary and John went to the store, the capital of France is the city of Paris"
    read = lenses.tuned_lens(speaking, text, fitted, keep_logits=True)
    plainly = lenses.logit_lens(speaking, text, "0-2 4 3 5")
    assert read.stages == plainly.stages
    better = read.kl[:-1].mean(1) < plainly.kl[:-1].mean(1)
    assert better.float().mean() >= 0.8
    assert read.kl[:-1].mean() < 0.8 * plainly.kl[:-1].mean()
    assert all(after <= before for before, after in zip(fitted.before, fitted.after, strict=True))
    module = speaking.original_model
    tokens = speaking.to_tokens(text)
    with torch.no_grad(), mp.attach(speaking, "0-2 4 3 5"):
        torch.testing.assert_close(read.logits[-1], module(tokens).logits[0], atol=2e-5, rtol=2e-5)


def test_a_stage_is_the_models_tail_of_its_affine_map(fitted, speaking, folder):
    """By Hugging Face's own layers, norm and unembedding."""
    read = lenses.tuned_lens(speaking, TEXT, fitted, keep_logits=True)
    module = hf.AutoModelForCausalLM.from_pretrained(folder, attn_implementation="eager").eval()
    with torch.no_grad():
        loop = plain.hugging_face(module, speaking.to_tokens(TEXT))
        for stage, steps in enumerate([[], [0], [0, 1], [0, 1, 2], [0, 1, 2, 4], [0, 1, 2, 4, 3]]):
            stream = loop.residual(steps)
            moved = stream + stream @ fitted.weight[stage] + fitted.bias[stage]
            torch.testing.assert_close(read.logits[stage], loop.tail(moved)[0], atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_of_linear_layers_it_is_the_product_of_their_maps(folder, text, monkeypatch):
    """With a matrix in the place of each layer, what the layers after a stage do is one matrix."""
    model = mp.load(folder)
    width = model.cfg.d_model
    maps = [torch.randn((width, width), generator=torch.Generator().manual_seed(i)) / width for i in range(6)]
    streams = {}

    def came(x, hook, visit):
        streams[visit] = x.clone()

    def leaves(out, hook, visit):
        return streams[visit] @ (torch.eye(width) + maps[visit.layer])

    hooked = [(f"blocks.{i}.hook_{end}", call) for i in range(6) for end, call in (("in", came), ("out", leaves))]
    monkeypatch.setattr(fitting, "_RIDGE", 0.0)
    lens = lenses.fit_tuned_lens(model, mp.hooks.Hooks(hooked), text=text, windows=16, length=32, steps=0)
    assert lens.before[0] > 1e-3
    assert max(lens.after) < 1e-6
    rest = torch.eye(width)
    for stage in range(5, 0, -1):
        rest = (torch.eye(width) + maps[stage]) @ rest
        torch.testing.assert_close(torch.eye(width) + lens.weight[stage], rest, atol=2e-3, rtol=2e-3)
        torch.testing.assert_close(lens.bias[stage], torch.zeros(width), atol=2e-3, rtol=0)


def test_a_lens_that_changes_nothing_is_the_logit_lens(llama):
    route = mp.Route.parse("0 (1 2) 3", 6)
    lens = TunedLens(route, torch.zeros(3, 32, 32), torch.zeros(3, 32), probe(llama))
    read = lenses.tuned_lens(llama, tiny.tokens(1, 7), lens, keep_logits=True)
    expected = lenses.logit_lens(llama, tiny.tokens(1, 7), route, keep_logits=True)
    torch.testing.assert_close(read.logits, expected.logits)
    assert read.route == route


def test_layer_by_layer_on_another_route(speaking, fitted):
    read = lenses.tuned_lens(speaking, TEXT, fitted, "0 3 1 1 5", by="layer", keep_logits=True)
    with torch.no_grad(), mp.attach(speaking, mp.hooks.Reroute("0 3 1 1 5") + mp.hooks.ReadStream()) as session:
        speaking(TEXT)
    stages = [0, 1, 5, 2, 2]  # in "0-2 4 3 5" layer 3 is the fifth to run
    expected = [session.stream[i] + session.stream[i] @ fitted.weight[j] + fitted.bias[j] for i, j in enumerate(stages)]
    tail = speaking.original_model.lm_head, speaking.original_model.model.norm
    with torch.no_grad():
        for i, stream in enumerate(expected):
            torch.testing.assert_close(read.logits[i], tail[0](tail[1](stream))[0], atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(read.logits[-1], tail[0](tail[1](session.stream[-1]))[0], atol=1e-4, rtol=1e-4)


def test_saved_and_loaded(speaking, fitted, tmp_path):
    path = tmp_path / "lens.safetensors"
    fitted.save(path)
    loaded = TunedLens.load(path)
    assert (loaded.route, loaded.before, loaded.after) == (fitted.route, fitted.before, fitted.after)
    for name in ("weight", "bias", "probe"):
        assert getattr(loaded, name).equal(getattr(fitted, name))
    assert lenses.tuned_lens(speaking, TEXT, path).kl.equal(lenses.tuned_lens(speaking, TEXT, fitted).kl)
    assert f"{fitted.after[2]:.3f}" in loaded._repr_html_()


def test_another_model_is_refused(fitted, folder, llama):
    changed = mp.load(folder)
    with torch.no_grad():
        changed.original_model.lm_head.weight[3] += 5
    with pytest.raises(InputError, match="another model"):
        lenses.tuned_lens(changed, TEXT, fitted)
    other = TunedLens(mp.Route.identity(2), torch.zeros(2, 32, 32), torch.zeros(2, 32), torch.zeros(97))
    with pytest.raises(InputError, match="2 layers"):
        lenses.tuned_lens(llama, tiny.tokens(1, 5), other)


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"hook_set": "0-5"}, 'by="layer"'),
        ({"hook_set": "0 (1 2) 3", "by": "layer"}, r"\(1-2\)"),
        ({"lens": "none.safetensors"}, "cannot read a tuned lens"),
    ],
)
def test_what_is_refused(speaking, fitted, asked, message):
    with pytest.raises(InputError, match=message):
        lenses.tuned_lens(speaking, TEXT, **{"lens": fitted, **asked})


def test_what_cannot_be_fitted(speaking, llama, text):
    with pytest.raises(InputError, match="no tokenizer"):
        lenses.fit_tuned_lens(llama)
    with pytest.raises(InputError, match="8 windows or more"):
        lenses.fit_tuned_lens(speaking, windows=4)
    with pytest.raises(InputError, match="windows of 64 tokens, expected 100000"):
        lenses.fit_tuned_lens(speaking, text=text, windows=100_000, length=64)
