"""The induction head's picture: which heads it is of, and what it says of them."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest

import mechpaint as mp
from mechpaint.circuits import induction_diagram
from mechpaint.circuits.heads import HeadScore, head_scores, repeated_tokens
from mechpaint.circuits.induction import induction_pair
from mechpaint.errors import DrawingError
from mechpaint.routes.steps import Visit


def _score(step, head, previous=0.0, prefix=0.0, copying=0.0):
    return HeadScore(Visit(step, step), head, previous, 0.0, prefix, copying)


def test_the_previous_token_head_comes_before():
    scores = [_score(0, 0, 0.3), _score(0, 1, 0.6), _score(1, 0, 0.1, 0.8), _score(2, 0, 0.99, 0.2)]
    first, second = induction_pair(scores)
    assert (first.name, second.name) == ("L0H1", "L1H0")  # L2H0 looks back better, but too late


def test_a_first_layer_cannot_have_the_induction_head():
    first, second = induction_pair([_score(0, 0, 0.9, 0.9), _score(1, 0, 0.1, 0.2)])
    assert (first.visit.layer, second.visit.layer) == (0, 1)


@pytest.mark.parametrize("scores", [[], [_score(0, 0, 1.0, 1.0), _score(0, 1, 1.0, 1.0)]])
def test_one_layer_is_too_few(scores):
    with pytest.raises(DrawingError, match="two layers or more"):
        induction_diagram(scores)


def test_strengths_are_written_and_drawn():
    diagram = induction_diagram([_score(0, 1, 0.9), _score(1, 3, 0.1, 0.25, 0.5)])
    root = ElementTree.fromstring(diagram.svg)
    texts = [text.text for text in root.iter("{http://www.w3.org/2000/svg}text")]
    assert "L0H1, previous token: 0.90" in texts
    assert "L1H3, prefix matching: 0.25" in texts
    assert "copying 0.50" in texts
    widths = [
        float(p.attrib["stroke-width"]) for p in root.iter("{http://www.w3.org/2000/svg}path") if "C" in p.attrib["d"]
    ]
    assert widths == pytest.approx([0.8 + 7 * 0.9, 0.8 + 7 * 0.25])


def test_the_shipped_toy_has_one():
    model = mp.load("toy-induction")
    first, second = induction_pair(head_scores(model, repeated_tokens(model, 16, 24)))
    assert (first.visit.layer, second.visit.layer) == (0, 1)
    assert first.previous_token > 0.9
    assert second.prefix_matching > 0.3
    assert second.copying > 0.9
