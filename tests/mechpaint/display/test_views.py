"""Interactive views: what comes from a model is drawn as it is, and stays text."""

from __future__ import annotations

import base64
import hashlib
import json
import math
import re
from html.parser import HTMLParser

import pytest
import torch

from mechpaint.circuits import attention_view
from mechpaint.circuits.attention_patterns import MOST_HEADS, MOST_TOKENS
from mechpaint.errors import DrawingError
from mechpaint.report import Report, Table, write_report
from tests import hostile as texts

HOSTILE = [*list(texts.HOSTILE)[:5], *list(texts.HOSTILE)[-3:]]
TABLE = Table("numbers", "Numbers", "Some.", ("a", "b"), [("1", "2")])


def _patterns(heads, tokens, causal=True):
    scores = torch.randn(heads, tokens, tokens, generator=torch.Generator().manual_seed(0))
    if causal:
        scores = scores.masked_fill(torch.ones(tokens, tokens).triu(1).bool(), -math.inf)
    return scores.softmax(dim=-1)


def _view(
    name="heads", title="Heads", caption="What.", alt="Each looks back.", tokens=HOSTILE, patterns=None, names=None
):
    patterns = _patterns(2, len(tokens)) if patterns is None else patterns
    names = [HOSTILE[0], "0.1"] if names is None else names
    return attention_view(name, title, caption, alt, tokens, patterns, names)


def _page(folder, *sections):
    return write_report(Report("Views", ["What."], [*sections, TABLE]), folder, [], "mechpaint analyze").read_text(
        "utf-8"
    )


class _Elements(HTMLParser):
    """Every element's name and attributes, and what scripts say: as a browser reads it."""

    def __init__(self, page):
        super().__init__()
        self.found, self.scripts, self.in_script = [], [], False
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))
        if tag == "script":
            self.in_script = True
            self.scripts.append("")

    def handle_endtag(self, tag):
        self.in_script = self.in_script and tag != "script"

    def handle_data(self, data):
        if self.in_script:
            self.scripts[-1] += data

    def policy(self):
        return next(a["content"] for tag, a in self.found if a.get("http-equiv") == "Content-Security-Policy")


def test_the_page_runs_one_script_and_allows_no_other(tmp_path):
    page = _page(tmp_path, _view(), _view("more", title=HOSTILE[0], caption=HOSTILE[1], alt=HOSTILE[2]))
    elements = _Elements(page)
    (script,) = elements.scripts
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert elements.policy() == (
        f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{digest}'"
    )
    assert script.count("CircuitsVis.render(") == 2
    assert "sourceMappingURL" not in script
    assert page.count("</script") == 1
    assert not [tag for tag, _ in elements.found if tag == "img"]
    places = {a["id"]: a for _, a in elements.found if a.get("id", "").startswith("view-")}
    assert places["view-heads"]["aria-label"] == "Each looks back."
    assert places["view-more"]["aria-label"] == HOSTILE[2]


def test_what_is_drawn_is_what_was_given(tmp_path):
    patterns = _patterns(2, len(HOSTILE))
    (call,) = re.findall(
        r'CircuitsVis\.render\("view-heads", CircuitsVis\.AttentionHeads, (.*)\);', _page(tmp_path, _view())
    )
    assert not set(call) & set("<>&")
    assert call.isascii()
    props = json.loads(call)
    assert props["tokens"] == HOSTILE
    assert props["attentionHeadNames"] == [HOSTILE[0], "0.1"]
    assert torch.tensor(props["attention"]) == pytest.approx(patterns, abs=5.1e-5)
    assert max(len(number) for number in re.findall(r"\d\.\d+", call)) == len("0.1234")


@pytest.mark.parametrize("causal", [True, False])
def test_the_upper_triangle_is_hidden_only_where_nothing_is_in_it(causal):
    props = _view(patterns=_patterns(2, len(HOSTILE), causal)).props
    assert props["maskUpperTri"] is causal


def test_low_precision_is_drawn_too():
    props = _view(patterns=_patterns(2, len(HOSTILE)).bfloat16()).props
    assert torch.tensor(props["attention"]) == pytest.approx(_patterns(2, len(HOSTILE)), abs=0.01)


def test_a_page_without_views_runs_nothing(tmp_path):
    page = _page(tmp_path)
    assert "script" not in page
    assert _Elements(page).policy() == "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


def test_the_same_view_is_the_same_page(tmp_path):
    assert _page(tmp_path / "a", _view()) == _page(tmp_path / "b", _view())


def test_report_md_says_what_a_view_shows(tmp_path):
    _page(tmp_path, _view())
    text = (tmp_path / "report.md").read_text()
    assert "## Heads\n\nWhat.\n\n*In report.html, interactive:* Each looks back.\n" in text
    assert not (tmp_path / "figures").exists()


def test_two_sections_of_one_name_are_refused(tmp_path):
    with pytest.raises(ValueError, match="more than one called 'numbers'"):
        _page(tmp_path, TABLE)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        (
            {"tokens": HOSTILE[:-1], "patterns": _patterns(2, 8)},
            "got 7 tokens and 2 head names for patterns of 2 heads, 8",
        ),
        ({"patterns": _patterns(2, 8)[:, :, :7]}, "8 queries and 7 keys"),
        ({"names": ["a"]}, "1 head names"),
        (
            {"patterns": _patterns(MOST_HEADS + 1, 8), "names": ["a"] * (MOST_HEADS + 1)},
            f"got {MOST_HEADS + 1} heads of 8",
        ),
        ({"tokens": ["a"] * (MOST_TOKENS + 1)}, f"got 2 heads of {MOST_TOKENS + 1} tokens; expected 1 to"),
        ({"tokens": [], "patterns": torch.zeros(2, 0, 0)}, "expected 1 to"),
        ({"patterns": _patterns(2, 8) * math.nan}, "attention that is not a number"),
        ({"patterns": _patterns(2, 8) / 0}, "attention that is not a number"),
        ({"name": "a b"}, "cannot be called 'a b'"),
    ],
)
def test_what_would_be_drawn_wrongly_is_refused(changed, words):
    with pytest.raises(DrawingError, match=words):
        _view(**changed)
