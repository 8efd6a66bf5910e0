"""Views in a notebook: a frame that draws what it was given, and can do nothing else."""

from __future__ import annotations

import base64
import gzip
import hashlib
import re
from html.parser import HTMLParser

import pytest
import torch

from mechpaint import circuits
from mechpaint.circuits import Tokens, Views, attention_view, route_diagram
from mechpaint.display.views import library
from mechpaint.routes.route import Route
from tests.browser import DESK, PHONE
from tests.hostile import HOSTILE


def _views(count=2, tokens=("a", "b", "c")):
    names = ["L0H0", "L0H1"]
    patterns = torch.ones(2, len(tokens), len(tokens)).tril()
    patterns = patterns / patterns.sum(-1, keepdim=True)
    return Views(
        tuple(attention_view(f"v{i}", f"View {i}", "What.", "Alt.", tokens, patterns, names) for i in range(count))
    )


class _Frame(HTMLParser):
    def __init__(self, page):
        super().__init__()
        self.found = []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))


def test_the_frame_may_run_scripts_and_nothing_else():
    ((tag, attributes),) = _Frame(_views().html).found
    assert tag == "iframe"
    assert attributes["sandbox"] == "allow-scripts"
    assert attributes["srcdoc"] == _views().page


def test_the_script_is_there_once_and_is_circuitsvis():
    page = _views(3).page
    (packed,) = re.findall(r'atob\("(.*?)"\)', page)
    assert gzip.decompress(base64.b64decode(packed)).decode() == library()
    assert page.count("CircuitsVis.render(") == 3
    assert len(page) < 600_000


def test_two_scripts_are_allowed_by_what_they_say():
    page = _views().page
    (script,) = re.findall(r"<script>(.*)</script>", page, re.S)
    (policy,) = re.findall(r'content="(.*?)"', page)
    hashes = [base64.b64encode(hashlib.sha256(s.encode()).digest()).decode() for s in (script, library())]
    sources = " ".join(f"'sha256-{digest}'" for digest in hashes)
    assert policy == f"default-src 'none'; style-src 'unsafe-inline'; script-src {sources}"


def test_a_view_alone_shows_itself_as_a_frame():
    (view,) = _views(1).views
    assert view._repr_html_() == _views(1)._repr_html_()


def _notebook(folder, *shown):
    """A page with outputs in it, as an exported notebook has them."""
    path = folder / "notebook.html"
    body = "".join(f"<div>{one._repr_html_()}</div>" for one in shown)
    path.write_text(f'<!doctype html><meta charset="utf-8"><title>calm</title>{body}', "utf-8")
    return path


@pytest.mark.parametrize("size", [PHONE, DESK])
def test_heads_can_be_pointed_at_and_chosen(chromium, tmp_path, size):
    with chromium.open(_notebook(tmp_path, _views(2), route_diagram(Route.identity(6))), size) as opened:
        opened.page.locator("iframe").scroll_into_view_if_needed()
        frame = opened.page.frame_locator("iframe")
        first = frame.locator("#view-v0")
        first.locator("canvas").nth(2).wait_for()
        first.locator("canvas").nth(1).hover()
        first.get_by_text("L0H1 Zoomed").wait_for()
        first.locator("canvas").nth(1).click()
        frame.get_by_text("View 1").hover()
        frame.locator("#view-v1 canvas").nth(2).wait_for()  # drawn when it is seen
        assert first.get_by_text("L0H1 Zoomed").count() == 1  # it stays
        assert opened.page.evaluate("document.documentElement.scrollWidth") <= size[0]
        opened.check_quiet()


def test_what_comes_from_a_model_stays_text(chromium, tmp_path):
    texts = list(HOSTILE)
    patterns = torch.eye(len(texts))[None]
    shown = [
        *(Views((attention_view(f"h{i}", t, t, t, texts, patterns, [t]),)) for i, t in enumerate(texts[:6])),
        Tokens(texts, [0.5] * len(texts), "loss", 1.0),
    ]
    with chromium.open(_notebook(tmp_path, *shown)) as opened:
        for i, text in enumerate(texts[:6]):
            opened.page.locator("iframe").nth(i).scroll_into_view_if_needed()
            frame = opened.page.frame_locator("iframe").nth(i)
            frame.locator("canvas").nth(1).wait_for()
            assert frame.locator("h3").first.text_content() == HOSTILE[text]
            assert frame.locator("script").count() == 2
            assert frame.locator("img, svg, iframe, link, base").count() == 0
        assert opened.page.locator("figure > div > span").count() == len(texts)
        assert opened.page.locator("img, svg, script, link, base").count() == 0
        assert opened.page.title() == "calm"
        opened.check_quiet()


def test_a_frame_cannot_reach_the_notebook(chromium, tmp_path):
    page = _views(1).page.replace("<script>", "<script>parent.document.title = 'broken';", 1)
    path = tmp_path / "page.html"
    from mechpaint.display.sanitize import safe

    path.write_text(f'<title>calm</title><iframe sandbox="allow-scripts" srcdoc="{safe(page)}"></iframe>', "utf-8")
    with chromium.open(path) as opened:
        opened.page.wait_for_timeout(300)
        assert opened.page.title() == "calm"
        assert any("Content Security Policy" in said for said in opened.said)  # the changed script did not even run


def test_attention_of_a_model_is_shown_in_one_frame(llama):
    assert circuits.attention(llama, torch.tensor([1, 2, 3])).html.count("<iframe") == 1
