"""The page and the files beside it: well formed, readable, and nothing in them but text."""

from __future__ import annotations

import csv
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
import torch
from markdown_it import MarkdownIt

import mechpaint.report
from mechpaint.circuits import attention_view
from mechpaint.display.figures import axes, heatmap, legend, literal, style
from mechpaint.display.sanitize import sanitize
from mechpaint.report import Figure, Report, Table, write_report
from tests.hostile import HOSTILE

TEMPLATE = (Path(mechpaint.__file__).parent / "display" / "report.html.j2").read_text()


def figure(name="curve", title="A curve", caption="It rises to 2.", alt="A line that rises.", label="line"):
    """A drawing with a legend."""
    drawing, (ax,) = axes()
    ax.plot([0, 1], [1, 2], label=label, **style(0))
    legend(ax)
    return Figure(name, title, caption, alt, drawing)


def table(name="numbers", rows=3, cell="1.0", signs=None):
    """A table of a name and two numbers."""
    body = [(f"row {i}", cell, "held") for i in range(rows)]
    return Table(name, f"The table {name}", "Of numbers.", ("name", "value", "verdict"), body, signs or {})


def view(name="heads", tokens=("a", "b", "c", "d"), names=("0.0", "0.1")):
    """Heads that attend evenly."""
    patterns = torch.ones(len(names), len(tokens), len(tokens)).tril()
    return attention_view(
        name, "Heads", "They attend evenly.", "Two even patterns.", tokens, patterns / patterns.sum(-1, True), names
    )


def report(*sections):
    """A report with all that one can have."""
    return Report(
        "A report",
        ["What was found."],
        sections,
        ["Only one seed."],
        [("best", "0.9"), ("worst", "0.1")],
        "Which is the best?",
        next((section.name for section in sections if isinstance(section, Figure)), None),
    )


FULL = (figure(), table(signs={"held": "✓"}), table("many", 40), table("words", cell="word " * 30), view())


def written(folder, made):
    """The page's text."""
    details = [("model", "toy"), ("weights", "SHA-256 of them")]
    return write_report(made, folder, details, "mechpaint analyze toys --seeds 3").read_text("utf-8")


class Elements(HTMLParser):
    """Every element, in order, as a browser reads them: its name, its attributes, and the text right in it."""

    def __init__(self, page):
        super().__init__()
        self.found, self._open = [], []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs), []))
        if tag not in ("meta", "img"):
            self._open.append(self.found[-1])

    def handle_endtag(self, tag):
        assert self._open.pop()[0] == tag  # well formed: each is closed where it was opened

    def handle_data(self, data):
        if self._open:
            self._open[-1][2].append(data)

    def of(self, *tags):
        """The elements of these names."""
        return [element for element in self.found if element[0] in tags]


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    return Elements(written(tmp_path_factory.mktemp("report"), report(*FULL)))


def test_headings_go_down_a_level_at_a_time(page):
    assert [tag for tag, _, _ in page.of("h1", "h2", "h3", "h4", "h5", "h6")] == ["h1"] + ["h2"] * (len(FULL) + 1)
    assert page.of("html")[0][1] == {"lang": "en"}
    assert len(page.of("main")) == len(page.of("nav")) == len(page.of("header")) == 1


def test_names_in_the_page_are_its_own_and_links_lead_to_them(page):
    ids = [attrs["id"] for _, attrs, _ in page.found if "id" in attrs]
    assert len(set(ids)) == len(ids)
    links = [attrs["href"] for _, attrs, _ in page.of("a")]
    marks = [f"#numbers_{i}" for i in range(3)]
    assert links == ["#the_sections", *marks, *(f"#{section.name}" for section in FULL[1:]), "#to_reproduce"]
    labels = [attrs["aria-labelledby"] for _, attrs, _ in page.found if "aria-labelledby" in attrs]
    assert {link.removeprefix("#") for link in links} | set(labels) <= set(ids)


def test_drawings_say_what_they_show(page):
    (image,) = page.of("img")
    assert image[1]["alt"] == "A line that rises."
    assert 400 < int(image[1]["width"]) < 900  # its place is kept before it is drawn
    assert int(image[1]["height"]) > 200
    (drawn,) = [attrs for _, attrs, _ in page.found if attrs.get("role") == "group" and "aria-label" in attrs]
    assert drawn["aria-label"] == "Two even patterns."


def test_tables_have_heads_and_captions(page):
    tables = page.of("table")
    assert len(tables) == len(page.of("caption")) == 5  # one is what the view says, the last is of the settings
    for tag, attrs, text in page.of("th"):
        assert attrs["scope"] in ("col", "row"), (tag, text)
        assert "".join(text).strip()
    assert len([1 for _, attrs, _ in page.of("th") if attrs["scope"] == "row"]) == len(page.of("tr")) - 5
    assert [attrs.get("class") for _, attrs, _ in tables] == [None, None, "prose", None, None]


def test_what_scrolls_can_be_reached_and_has_a_name(page):
    scrolling = [attrs for _, attrs, _ in page.found if "scroll" in attrs.get("class", "").split()]
    assert len(scrolling) == len(FULL) + 2
    assert all(attrs["tabindex"] == "0" for attrs in scrolling)
    assert all(attrs.get("aria-labelledby") or attrs["aria-label"] for attrs in scrolling)


def test_signs_are_for_those_who_see_them(page):
    signs = [(attrs.get("aria-hidden"), text) for tag, attrs, text in page.of("span") if attrs.get("class") == "sign"]
    assert signs == [("true", ["✓"])] * 3


def test_the_first_screen_has_the_question_the_finding_a_mark_a_row_and_the_figure(page):
    said = [(attrs.get("class"), "".join(text)) for tag, attrs, text in page.of("p")][:2]
    assert said == [("question", "Which is the best?"), ("finding", "What was found.")]
    marks = [
        (attrs["title"], attrs["aria-label"], text) for _, attrs, text in page.of("a") if attrs.get("class") == "mark"
    ]
    assert marks == [(f"held: row {i}", f"held: row {i}", ["✓"]) for i in range(3)]
    names = [attrs["id"] for tag, attrs, _ in page.of("h2")]
    assert names[:2] == ["curve", "numbers"]
    assert len(page.of("img")) == 1  # once


def test_an_answer_is_a_figure():
    for none in ("numbers", "nothing"):
        with pytest.raises(ValueError, match=f"expected the name of a figure as answer, got '{none}'"):
            Report("A report", ["What was found."], FULL, answer=none)


def test_a_tall_figure_is_folded(tmp_path):
    drawing, _ = axes(height=12.0)
    tall = Figure("tall", "A tall figure", "It is tall.", "A tall figure.", drawing)
    found = Elements(written(tmp_path, report(figure(), tall)))
    assert "Show the figure" in ["".join(text) for _, _, text in found.of("summary")]


def test_long_tables_are_folded(page):
    folded = ["".join(text) for _, _, text in page.of("summary")]
    assert folded == ["Contents", "Show all 40 rows", "The same as a table", "Settings and versions"]


def _luminance(colour):
    digits = colour.lstrip("#")
    digits = "".join(2 * d for d in digits) if len(digits) == 3 else digits
    channels = [int(digits[i : i + 2], 16) / 255 for i in (0, 2, 4)]
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _contrast(one, other):
    low, high = sorted((_luminance(one), _luminance(other)))
    return (high + 0.05) / (low + 0.05)


def test_contrast_is_computed_as_wcag_says():
    assert _contrast("#000", "#ffffff") == pytest.approx(21)
    assert _contrast("#777", "#fff") == pytest.approx(4.48, abs=0.005)


@pytest.mark.parametrize("theme", re.findall(r":root \{(.*?)\}", TEMPLATE), ids=["light", "dark", "print"])
def test_themes_can_be_read(theme):
    colours = dict(re.findall(r"--(\w+): (#\w+)", theme))
    for text, ground in (
        *((text, ground) for text in ("ink", "faint", "link") for ground in ("paper", "soft")),
        ("ink", "warn"),
    ):
        assert _contrast(colours[text], colours[ground]) >= 4.5, (text, ground)


def test_numbers_in_heatmaps_can_be_read():
    drawing, (ax,) = axes()
    values = [[x / 20 for x in range(-20, 21)]]
    heatmap(drawing, ax, values, ["row"], [str(i) for i in range(41)], -1.0, 1.0)
    (image,) = ax.images
    for text, value in zip(ax.texts, values[0], strict=True):
        red, green, blue, _ = image.to_rgba(value, bytes=True)
        shade = f"#{red:02x}{green:02x}{blue:02x}"
        assert _contrast({"w": "#fff", "k": "#000"}[text.get_color()], shade) >= 4.5


def test_a_page_without_views_runs_nothing(tmp_path):
    assert "script" not in written(tmp_path, report(figure(), table()))


def test_the_same_report_is_the_same_files(tmp_path):
    for name in "ab":
        written(tmp_path / name, report(figure(), *FULL[1:]))
    files = [path.relative_to(tmp_path / "a") for path in sorted((tmp_path / "a").rglob("*.*"))]
    assert len(files) == 7
    for file in files:
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes(), file


def test_a_page_with_ten_figures_and_two_views_is_small(tmp_path):
    from tests.benchmarks.report_page import ten_figures_and_two_views

    assert len(written(tmp_path, ten_figures_and_two_views())) < 3_000_000


@pytest.mark.parametrize("name", ["../out", "a b", "", "a/b", "a.b", '"x', "a_b"])
def test_names_that_are_no_file_names_are_refused(name, tmp_path):
    with pytest.raises(ValueError, match="letters, digits and hyphens"):
        written(tmp_path, report(table(name)))
    assert not list(tmp_path.iterdir())


def test_a_view_and_a_section_do_not_take_the_same_place():
    with pytest.raises(ValueError, match="more than one called 'view-heads'"):
        report(view(), table("view-heads"))


def hostile_files(text, folder):
    """Write a report that says one thing, everywhere; the page's path."""
    drawing, (ax,) = axes(width=2.0, height=2.0)
    ax.set_axis_off()
    sections = [
        Figure("curve", text, text, text, drawing),
        Table("numbers", text, text, (text, text), [(text, text)], {text: "✓"}),
    ]
    return write_report(
        Report(text, [text], sections, [text], [(text, text)], text, "curve"), folder, [(text, text)], text
    )


@pytest.fixture(params=HOSTILE)
def hostile(request, tmp_path):
    """The folder of such a report, and what is to be seen of what it says."""
    hostile_files(request.param, tmp_path)
    return tmp_path, HOSTILE[request.param]


def test_in_markdown_it_stays_text(hostile):
    """By another reader of Markdown, one that lets HTML through."""
    folder, seen = hostile
    read = MarkdownIt("commonmark", {"html": True}).enable("table").parse((folder / "report.md").read_text("utf-8"))
    inline = [token for token in read if token.type == "inline"]
    (image,) = [child for token in inline for child in token.children if child.type == "image"]
    assert image.attrs["src"] == "figures/curve.svg"
    assert "".join(child.content for child in image.children) == seen
    said = ["".join(child.content for child in token.children if child.type != "image") for token in inline]
    spaced = seen.strip()  # Markdown takes separators of lines for spaces
    note, both = f"Note. {seen}".strip(), f"{seen}: {seen}".strip()
    expected = [spaced, spaced, spaced, both, note, spaced, spaced, "", spaced, spaced, *[spaced] * 4, "Reproduce it"]
    assert [text.strip() for text in said] == expected
    assert {child.type for token in inline for child in token.children} <= {
        "text", "text_special", "image", "strong_open", "strong_close",
    }  # fmt: skip
    (fence,) = [token for token in read if token.type == "fence"]
    assert fence.content == seen + "\n"


def test_in_tables_it_is_no_formula(hostile):
    folder, seen = hostile
    with (folder / "tables" / "numbers.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))
    assert rows == [[f"'{seen}" if seen[0] in "=@-" else seen] * 2] * 2


@pytest.mark.parametrize(
    "number", ["-0.5", "+3", "-0.090 [-0.194, -0.087]", "-1e-05", "-1.2 ± 0.3", "-∞", "-0.2 → -0.1 (2 %)"]
)
def test_numbers_in_tables_stay_as_they_are(number, tmp_path):
    written(tmp_path, report(table(cell=number)))
    assert f"{number}" in (tmp_path / "tables" / "numbers.csv").read_text()
    assert "'" not in (tmp_path / "tables" / "numbers.csv").read_text()


@pytest.mark.parametrize("text", HOSTILE)
def test_names_in_drawings_are_drawn_as_they_are(text):
    """And no longer than a legend has room for."""
    ax = axes()[1][0]
    ax.plot([0, 1], label=text)
    legend(ax)
    (drawn,) = ax.get_legend().get_texts()
    seen = HOSTILE[text]
    assert literal(text) == seen.replace("$", "\\$")
    shown, formula = drawn._preprocess_math(drawn.get_text())
    assert not formula
    assert shown == (seen if len(seen) <= 48 else f"{seen[:47]}…")


def test_what_acts_is_seen():
    for text, seen in HOSTILE.items():
        assert sanitize(text) == sanitize(seen) == seen
        json.dumps(seen).encode()
        seen.encode()
    assert sanitize("a\tb\nc") == "a\tb\nc"
    assert sanitize("\x00\x1b\x7f\x85\ud800\u202e\u2069") == "␀␛␡����"
