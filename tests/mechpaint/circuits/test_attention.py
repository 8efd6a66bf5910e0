"""Attention of any visit: what is shown is what the model did."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest
import torch

import mechpaint as mp
from mechpaint import circuits, toy
from mechpaint.circuits import Diagram, Views
from mechpaint.errors import DrawingError, InputError
from mechpaint.hooks import Duplicate, Skip

TOKENS = torch.tensor([3, 1, 4, 1, 5])


def _summary(views):
    """The pattern of each head that is drawn, by its name."""
    found = {}
    for view in views.views:
        for name, pattern in zip(view.props["attentionHeadNames"], view.props["attention"], strict=True):
            found[name] = torch.tensor(pattern)
    return found


def test_every_head_of_the_model(llama):
    shown = _summary(circuits.attention(llama, TOKENS))
    _, cache = llama.run_with_cache(TOKENS[None])
    heads = llama.cfg.n_heads
    assert list(shown) == [f"L{layer}H{head}" for layer in range(6) for head in range(heads)]
    for layer in range(6):
        for head in range(heads):
            pattern = cache[f"blocks.{layer}.attn.hook_pattern"][0, head]
            torch.testing.assert_close(shown[f"L{layer}H{head}"], pattern, atol=5.1e-5, rtol=0)


def test_chosen_heads_on_every_visit(llama):
    views = circuits.attention(llama, TOKENS[None], Duplicate(2, 2) + Skip(0, 0), layers=[2, 4], heads=[1])
    assert list(_summary(views)) == ["L2H1 at step 1", "L2H1 at step 2", "L4H1"]
    first, again, _ = _summary(views).values()
    assert not torch.allclose(first, again, atol=1e-3)


def test_eight_heads_a_view(llama):
    views = circuits.attention(llama, TOKENS)
    counts = [len(view.props["attention"]) for view in views.views]
    assert max(counts) <= 8
    assert sum(counts) == 6 * llama.cfg.n_heads
    assert len({view.name for view in views.views}) == len(counts)


def test_the_table_names_the_strongest(llama):
    view = circuits.attention(llama, TOKENS, layers=[0], heads=[0]).views[0]
    pattern = _summary(Views((view,)))["L0H0"]
    assert view.columns == ("token", "L0H0 attends to")
    for query, (token, strongest) in enumerate(view.rows):
        key = int(pattern[query].argmax())
        assert token == f"{query}: {int(TOKENS[query])}"
        assert strongest == f"{key}: {int(TOKENS[key])} ({pattern[query, key]:.2f})"


def test_long_texts_are_heatmaps():
    model = toy.as_bridge(toy.SimplifiedTransformer(toy.SimplifiedConfig(vocabulary=20, dim=16, length=100)))
    tokens = torch.arange(100) % 20
    shown = circuits.attention(model, tokens, layers=[1])
    assert isinstance(shown, Diagram)
    assert "L1H0" in shown.alt
    assert "100x100" in shown.alt
    ElementTree.fromstring(shown.svg)
    assert len(shown.svg) < 300_000
    assert shown == circuits.attention(model, tokens, layers=[1])


def test_text_needs_a_tokenizer(llama, speaking):
    view = circuits.attention(speaking, "hello there", layers=[0]).views[0]
    assert "".join(view.props["tokens"]).endswith("hello there")
    with pytest.raises(InputError, match="no tokenizer"):
        circuits.attention(llama, "hello")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"layers": [6]}, "layer 6 is not on the route"),
        ({"layers": [0], "hook_set": Skip(0, 0)}, "layer 0 is not on the route"),
        ({"heads": [99]}, "there is no head 99"),
        ({"heads": [-1]}, "there is no head -1"),
        ({"layers": []}, "nothing to show"),
        ({"heads": []}, "nothing to show"),
    ],
)
def test_what_is_not_there_is_named(llama, arguments, words):
    with pytest.raises(DrawingError, match=words):
        circuits.attention(llama, TOKENS, **arguments)


@pytest.mark.parametrize("tokens", [torch.tensor([], dtype=torch.long), torch.zeros(10**6, dtype=torch.long)])
def test_no_token_or_too_many(llama, tokens):
    with pytest.raises(InputError, match="expected 1 to"):
        circuits.attention(llama, tokens)


@pytest.mark.parametrize(
    ("patterns", "words"),
    [
        ({}, "got 0 heads"),
        ({str(i): torch.eye(2) for i in range(49)}, "got 49 heads"),
        ({"a": torch.full((2, 2), torch.nan)}, "not a number"),
    ],
)
def test_heatmaps_that_cannot_be(patterns, words):
    with pytest.raises(DrawingError, match=words):
        circuits.attention_heatmap(patterns)


def test_a_heads_name_is_no_formula():
    shown = circuits.attention_heatmap({"$\\frac{": torch.eye(3)})
    ElementTree.fromstring(shown.svg)


def test_the_model_is_as_it_was(llama):
    before = llama(TOKENS[None])
    circuits.attention(llama, TOKENS, Skip(1, 2))
    with mp.attach(llama, Skip(1, 1)):  # not attached any more
        pass
    torch.testing.assert_close(llama(TOKENS[None]), before)
