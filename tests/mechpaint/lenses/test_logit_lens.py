"""The logit lens against a plain loop over Hugging Face's layers, cut short after every step."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest
import torch
import transformers as hf
from transformer_lens.tools.analysis import logit_lens as their_logit_lens

import mechpaint as mp
from mechpaint import lenses
from mechpaint.errors import DrawingError, HookSetError, InputError, LoadError
from mechpaint.hooks import Ablate, Hooks
from mechpaint.lenses import reading, readout
from tests import plain, tiny

TOKENS = tiny.tokens(1, 7)
ROUTE = "0 3 (1 2) 3 (4+5) 5"
STEPS = [0, 3, (1, 2), 3, [4, 5], 5]


@pytest.mark.parametrize("name", ["llama", "gpt2", "gemma3", "gpt_neox", "bloom"])
def test_every_stage_is_a_loop_cut_short(name):
    read = lenses.logit_lens(tiny.bridge(name), TOKENS, ROUTE, answer=5, top=3, keep_logits=True)
    assert read.stages == ("embedding", "0", "3#1", "(1-2)", "3#2", "(4+5)", "5")
    with torch.no_grad():
        loop = plain.hugging_face(tiny.module(name), TOKENS)
        expected = torch.stack([loop.logits(STEPS[:i])[0] for i in range(7)])
    torch.testing.assert_close(read.logits, expected, atol=3e-5, rtol=3e-5)
    chances = expected.double().softmax(-1)
    torch.testing.assert_close(read.probabilities, chances.sort(-1, descending=True).values[..., :3].float())
    torch.testing.assert_close(read.top, expected.argsort(-1, descending=True)[..., :3])
    entropy = torch.distributions.Categorical(probs=chances).entropy().float()
    torch.testing.assert_close(read.entropy, entropy, atol=2e-5, rtol=1e-5)
    kl = torch.nn.functional.kl_div(chances.log(), chances[-1:].expand_as(chances), reduction="none").sum(-1)
    torch.testing.assert_close(read.kl, kl.float(), atol=2e-5, rtol=1e-4)
    rank = (expected.argsort(-1, descending=True) == 5).int().argmax(-1) + 1
    assert read.answer_rank.equal(rank)
    torch.testing.assert_close(read.answer_probability, chances[..., 5].float())


def test_as_transformer_lens_reads_an_unrolled_route():
    model = tiny.bridge("llama")
    unrolled = mp.unroll(model, "0 4-1 3 5")
    theirs = their_logit_lens(unrolled, TOKENS, vocab=list(range(tiny.VOCABULARY)), return_type="logits")
    read = lenses.logit_lens(model, TOKENS, "0 4-1 3 5", positions=-1, keep_logits=True)
    expected = theirs.readout.values.reshape(len(read.stages), -1)
    torch.testing.assert_close(read.logits[:, 0], expected.detach(), atol=2e-5, rtol=2e-5)


def test_positions_are_those_of_the_whole_text(llama):
    whole = lenses.logit_lens(llama, TOKENS[0].tolist())
    some = lenses.logit_lens(llama, TOKENS, positions=[-1, 2])
    assert some.positions == (6, 2)
    torch.testing.assert_close(some.entropy, whole.entropy[:, [6, 2]], atol=1e-5, rtol=1e-5)


def test_blocks_of_positions_are_the_whole(llama, monkeypatch):
    whole = lenses.logit_lens(llama, TOKENS, keep_logits=True)
    monkeypatch.setattr(reading, "MOST_LOGITS", 2 * tiny.VOCABULARY)
    blocks = lenses.logit_lens(llama, TOKENS, keep_logits=True)
    torch.testing.assert_close(blocks.logits, whole.logits, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(blocks.kl, whole.kl, atol=1e-5, rtol=1e-5)


def test_under_an_intervention(llama):
    read = lenses.logit_lens(llama, TOKENS, mp.HookSet() + Ablate(mlp="2"), keep_logits=True)
    untouched = lenses.logit_lens(llama, TOKENS, keep_logits=True)
    changed = (read.logits - untouched.logits).abs().amax((1, 2)) > 1e-3
    assert changed.tolist() == [False] * 3 + [True] * 4
    with torch.no_grad(), mp.attach(llama, Ablate(mlp="2")):
        torch.testing.assert_close(read.logits[-1], llama(TOKENS)[0], atol=2e-5, rtol=2e-5)


def test_a_hook_after_the_layers_is_refused(llama):
    with pytest.raises(HookSetError, match="after the layers"):
        lenses.logit_lens(llama, TOKENS, Hooks([("ln_final.hook_out", lambda x, hook: 2 * x)]))


def test_the_table(speaking):
    read = lenses.logit_lens(speaking, "The city", "0 1 0 2", answer=" city", positions=[-1, -2])
    table = read.table()
    assert len(table) == 5 * 2
    assert list(table["stage"][::2]) == ["embedding", "0#1", "1", "0#2", "2"]
    row = table.iloc[7]
    assert (row["steps"], row["position"]) == (3, read.positions[1])
    assert row["top"] == speaking.tokenizer.decode([int(read.top[3, 1, 0])])
    assert row["answer rank"] == int(read.answer_rank[3, 1])
    assert row["kl"] == pytest.approx(float(read.kl[3, 1]))


def test_the_picture(speaking):
    first = lenses.logit_lens(speaking, "The city of <b>", top=2)
    answer = int(first.top[-1, -1, 0])
    read = lenses.logit_lens(speaking, "The city of <b>", answer=answer, top=2)
    picture = ElementTree.fromstring(read.diagram.svg)
    svg = "{http://www.w3.org/2000/svg}"
    cells = list(picture.iter(f"{svg}g"))
    columns = len(read.positions)
    assert len(cells) == columns * (1 + len(read.stages))
    last = cells[-1]
    assert repr(read.texts[answer]) in last.find(f"{svg}title").text.splitlines()[0]
    framed = [g for g in cells if g.find(f"{svg}rect").get("stroke-width") == "2"]
    assert len(framed) == int((read.top[..., 0] == answer).sum())
    assert last in framed
    assert "At the last position" in read.diagram.alt
    assert read.diagram.svg in read._repr_html_()
    assert "<b>" not in read._repr_html_()


def test_too_much_to_draw_is_a_table_alone(llama, monkeypatch):
    monkeypatch.setattr(readout, "MOST_CELLS", 48)
    read = lenses.logit_lens(llama, TOKENS)
    with pytest.raises(DrawingError, match=r"positions=\[-1\]"):
        _ = read.diagram
    assert "<svg" not in read._repr_html_()


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"answer": " Paris in France"}, "single token"),
        ({"answer": 100_000}, "a number from 0 to"),
        ({"answer": True}, "expected a token"),
        ({"positions": 99}, "position 99 does not exist"),
        ({"positions": []}, "no positions"),
        ({"top": 0}, "most likely tokens"),
    ],
)
def test_what_is_refused(speaking, asked, message, as_users_run):
    with pytest.raises(InputError, match=message):
        lenses.logit_lens(speaking, "The city", **asked)


def test_a_model_that_predicts_no_tokens_is_refused():
    with pytest.raises(LoadError, match="logit lens needs a language model"):
        lenses.logit_lens(mp.load(hf.LlamaModel(hf.LlamaConfig(**tiny.LLAMA)).eval()), TOKENS)
