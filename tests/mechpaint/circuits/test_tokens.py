"""Token by token: the numbers are the model's, and the tokens stay text."""

from __future__ import annotations

import math
from html.parser import HTMLParser

import pytest
import torch

import mechpaint as mp
from mechpaint import circuits
from mechpaint.circuits import Tokens
from mechpaint.errors import DrawingError
from mechpaint.hooks import Reverse
from tests import tiny

TOKENS = torch.tensor([3, 1, 4, 1, 5, 9])


def test_losses_are_those_of_hugging_face(speaking, folder):
    from transformers import AutoModelForCausalLM

    shown = circuits.token_losses(speaking, TOKENS)
    with torch.no_grad():
        logits = AutoModelForCausalLM.from_pretrained(folder)(TOKENS[None]).logits[0, :-1]
    expected = torch.nn.functional.cross_entropy(logits, TOKENS[1:], reduction="none")
    assert shown.values[0] is None
    assert shown.values[1:] == pytest.approx(expected.tolist(), abs=1e-4)
    assert shown.most == pytest.approx(float(expected.max()), abs=1e-4)


def test_probabilities_under_a_route(llama):
    shown = circuits.token_probabilities(llama, TOKENS, Reverse(1, 4))
    with torch.no_grad(), mp.attach(llama, Reverse(1, 4)):
        probabilities = llama(TOKENS[None])[0].softmax(-1)
    expected = [float(probabilities[i, TOKENS[i + 1]]) for i in range(5)]
    assert shown.values[1:] == pytest.approx(expected, abs=1e-6)
    plain = circuits.token_probabilities(llama, TOKENS)
    assert plain.values[1:] != pytest.approx(expected, abs=1e-6)
    losses = circuits.token_losses(llama, TOKENS)
    assert plain.values[1:] == pytest.approx([math.exp(-loss) for loss in losses.values[1:]])


class _Read(HTMLParser):
    def __init__(self, page):
        super().__init__()
        self.tags, self.text, self.shades = [], [], []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        style = dict(attrs).get("style", "")
        if "inline-block" in style:
            self.shades.append(style.rsplit("background:", 1)[1])
        assert not [name for name, _ in attrs if name.startswith("on")]

    def handle_data(self, data):
        self.text.append(data)


def test_shades_follow_values_and_values_are_written():
    read = _Read(Tokens(["a", " b", "\n", ""], [None, 0.0, 1.0, 2.0], "loss", 2.0).html)
    assert read.shades == ["#ffffff", "#ffffff", "#f8ca9e", "#f0963c"]
    assert read.text[:8] == ["a", "–", "·b", "0.00", "↵", "1.00", "∅", "2.00"]
    assert str(Tokens(["a", " b"], [None, 0.5], "loss", 2.0)) == "a[–] ·b[0.50]"


def test_every_value_the_same():
    assert _Read(Tokens(["a"], [0.0], "loss", 0.0).html).shades == ["#ffffff"]


@pytest.mark.parametrize("hostile", ["<img src=x onerror=alert(1)>", '" onmouseover="x', "</figure><script>", "\ud800"])
def test_tokens_stay_text(hostile):
    read = _Read(Tokens([hostile], [1.0], hostile, 1.0).html)
    assert set(read.tags) <= {"figure", "div", "span", "br", "small", "figcaption"}
    assert "".join(read.text).count(hostile.replace(" ", "·").replace("\ud800", "�")) >= 1


@pytest.mark.parametrize(
    ("tokens", "values"), [(["a"], []), ([], []), (["a"], [math.nan]), (["a", "b"], [None, math.inf])]
)
def test_what_cannot_be_shown_is_refused(tokens, values):
    with pytest.raises(DrawingError):
        Tokens(tokens, values, "loss", 1.0)


def test_a_single_token_predicts_nothing(llama):
    with pytest.raises(DrawingError, match="single token"):
        circuits.token_losses(llama, torch.tensor([1]))


def test_an_encoder_predicts_no_next_token():
    with pytest.raises(DrawingError, match="expected a causal model"):
        circuits.token_probabilities(tiny.bridge("bert"), TOKENS)
