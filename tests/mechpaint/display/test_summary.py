"""How things show themselves, in a notebook and in a terminal."""

from __future__ import annotations

from dataclasses import dataclass
from html.parser import HTMLParser
from io import StringIO

import pytest
import torch
from rich.console import Console

import mechpaint as mp
from mechpaint import toy
from mechpaint.display.summary import Summary
from mechpaint.hooks import Average, Loop, ReadAttention, Skip
from mechpaint.routes.hookset import HookSet
from tests.hostile import HOSTILE


def _terminal(thing, width=120):
    out = StringIO()
    Console(file=out, width=width).print(thing)
    return out.getvalue()


class _Text(HTMLParser):
    def __init__(self, page):
        super().__init__()
        self.tags, self.text = [], []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)

    def handle_data(self, data):
        self.text.append(data)


def _notebook(thing):
    return " ".join(_Text(thing._repr_html_()).text)


def test_a_route():
    route = mp.Route.parse("0-3 (4-13)x3 14-17", 18)
    for shown in (_terminal(route), _notebook(route)):
        assert "0-3 (4-13)x3 14-17" in shown
        assert "38 layer calls; the model has 18 layers" in shown
    assert route._repr_html_().count("<svg") == 1
    assert "1 layer call; " in _terminal(mp.Route.parse("3", 18))


def test_a_route_too_long_to_draw_is_still_shown():
    route = mp.Route.of([i * i % 7 for i in range(1001)], 7)
    assert "<svg" not in route._repr_html_()
    assert "1,001 layer calls" in route._repr_html_()


def test_a_hook_set():
    hook_set = Average(4, 13) + Loop(4, 13, 3) + ReadAttention(layers=[5])
    for shown in (_terminal(hook_set, 200), _notebook(hook_set)):
        assert "average(4, 13)" in shown
        assert "Let layers `first` to `last` read the same residual stream" in shown
        assert "attn.hook_pattern at visits 5" in shown
    assert "changes and reads nothing" in _terminal(HookSet())
    assert "every visit" in _terminal(ReadAttention())


def test_a_hook_set_without_a_docstring():
    @dataclass(frozen=True)
    class Bare(HookSet):
        text: str = "x"

    Bare.__doc__ = None
    assert "bare(text='[red]')" in _terminal(Bare("[red]") + Skip(0, 0))


def test_a_session(llama):
    with mp.attach(llama, Skip(1, 2) + ReadAttention()) as session:
        assert "not run yet" in _terminal(session)
        llama(torch.tensor([[1, 2, 3]]))
    for shown in (_terminal(session), _notebook(session)):
        assert "skip(1, 2) + read_attention()" in shown
        assert "0 3-5" in shown
        assert f"1 {llama.cfg.n_heads} 3 3" in shown


def test_a_sweep(llama):
    routes = [mp.Route.identity(6), mp.Route.parse("0-2 5", 6)]
    sweep = mp.sweep(llama, torch.tensor([[1, 2]]), routes)
    for shown in (_terminal(sweep), _notebook(sweep)):
        assert "7; every route by itself would take 10" in shown
        assert "0-2 5" in shown


def test_a_history():
    rows = tuple({"step": i, "loss": 4.0 - i / 10, "recall_output": i / 20} for i in range(21))
    for shown in (_terminal(toy.History(rows)), _notebook(toy.History(rows))):
        assert "recall output" in shown
        assert "4.000" in shown  # the first
        assert "2.000" in shown  # the last
    assert len(_Text(toy.History(rows)._repr_html_()).text) < 40
    assert _terminal(toy.History(()))


@pytest.mark.parametrize("text", HOSTILE)
def test_text_stays_text(text):
    shown = Summary(text, [(text, text)], (text,), [(text,)])
    page = shown.html()
    assert set(_Text(page).tags) <= set("div p strong table tbody thead tr th td".split())
    assert _Text(page).text.count(HOSTILE[text]) == 5
    assert _terminal(shown.rich(), 400).count(HOSTILE[text].strip()) == 5  # rich breaks lines at U+2028


def test_long_tables_say_what_is_left_out():
    shown = Summary("a", (), ("n",), [(str(i),) for i in range(45)])
    assert "… and 5 more" in shown.html()
    assert "… and 5 more" in _terminal(shown.rich())
    assert "more" not in _terminal(Summary("a", (), ("n",), [("1",)]).rich())
