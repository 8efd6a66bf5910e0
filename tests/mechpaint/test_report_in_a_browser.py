"""The page as a person has it: in a browser, with a keyboard, aloud, on paper, and when somebody means harm."""

from __future__ import annotations

import pytest

from tests.browser import DESK, PHONE
from tests.hostile import HOSTILE
from tests.mechpaint.test_report import FULL, hostile_files, report, view, written
from tests.seen import check_fits, check_page, unfold


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    written(folder, report(*FULL))
    return folder / "report.html"


def test_it_can_be_read_everywhere(chromium, page):
    check_page(chromium, page)


@pytest.mark.parametrize("width", [320, 700])
def test_it_can_be_read_enlarged(chromium, page, width):
    """WCAG 2.2, 1.4.10 and 1.4.4: a desk at 400 %, and at 200 %; and text alone at 200 %."""
    with chromium.open(page, (width, 800)) as opened:
        check_fits(opened.page)
        opened.page.evaluate("() => { document.documentElement.style.fontSize = '200%'; }")
        assert opened.page.evaluate("() => document.documentElement.scrollWidth") <= width
        opened.check_quiet()


def test_a_keyboard_reaches_everything_and_one_sees_where_it_is(chromium, page):
    expected = [
        ("A", "#the_sections"), *(("A", f"#numbers_{i}") for i in range(3)), ("DIV", "curve"), ("SUMMARY", "Contents"),
        *(("A", f"#{section.name}") for section in FULL[1:]), ("A", "#to_reproduce"), ("DIV", "numbers"),
        ("SUMMARY", "Show all 40 rows"), ("DIV", "many"),
        ("DIV", "words"), ("DIV", "Two even patterns."), ("SUMMARY", "The same as a table"), ("DIV", "heads"),
        ("SUMMARY", "Settings and versions"), ("DIV", "to_reproduce"),
    ]  # fmt: skip
    with chromium.open(page) as opened:
        unfold(opened.page)
        reached = []
        for _ in expected:
            opened.page.keyboard.press("Tab")
            tag, name, style, width, left = opened.page.evaluate(
                """() => {
                  const at = document.activeElement, drawn = getComputedStyle(at);
                  const names = ["href", "aria-labelledby", "aria-label"].map(name => at.getAttribute(name));
                  const name = names.find(name => name) ?? at.textContent;
                  const left = at.getBoundingClientRect().left;
                  return [at.tagName, name, drawn.outlineStyle, parseFloat(drawn.outlineWidth), left];
                }"""
            )
            reached.append((tag, name))
            assert (style, width) == ("solid", 3), name
            assert left >= 0, name  # also the link that is hidden otherwise
        assert reached == expected


def test_the_contents_can_be_skipped(chromium, page):
    with chromium.open(page) as opened:
        opened.page.keyboard.press("Tab")
        opened.page.keyboard.press("Enter")
        opened.page.keyboard.press("Tab")
        assert opened.page.evaluate("() => document.activeElement.getAttribute('aria-labelledby')") == "numbers"


def test_what_is_wider_than_a_phone_scrolls_by_itself(chromium, page):
    with chromium.open(page, PHONE) as opened:
        drawn = opened.page.get_by_role("group", name="A curve")
        drawn.focus()
        for _ in range(3):
            opened.page.keyboard.press("ArrowRight")
        opened.page.wait_for_function("at => at.scrollLeft > 0", arg=drawn.element_handle())
        text = opened.page.get_by_text("Wider than the screen").first
        assert text.is_visible()
        # what is read stands in one column, under the name of each cell
        words = opened.page.locator(".prose tbody tr").first
        assert words.locator("td").first.bounding_box()["y"] > words.locator("th").bounding_box()["y"] + 10
        assert words.bounding_box()["width"] < PHONE[0]
    with chromium.open(page, DESK) as opened:
        assert not opened.page.get_by_text("Wider than the screen").first.is_visible()
        assert opened.page.get_by_role("navigation").bounding_box()["x"] < drawn_left(opened.page)


def drawn_left(page):
    """Where the figures begin."""
    return page.get_by_role("group", name="A curve").bounding_box()["x"]


def test_aloud_it_has_an_outline_names_and_tables(chromium, page):
    with chromium.open(page) as opened:
        heard = opened.page.locator("body").aria_snapshot()
    for line in (
        '- link "Skip to the findings"',
        "- main:",
        '- heading "A report" [level=1]',
        '- navigation "Contents"',
        '- heading "A curve" [level=2]',
        '- group "A curve"',
        '- img "A line that rises."',
        '- table "Of numbers."',
        '- columnheader "verdict"',
        '- rowheader "row 1"',
        '- cell "held"',  # without its sign
        '- group "Two even patterns."',
        '- heading "Reproduce it" [level=2]',
    ):
        assert line in heard, line


def test_headings_within_a_view_are_a_part_of_its_drawing(chromium, page):
    """By the browser's own tree of what it tells others."""
    with chromium.open(page) as opened:
        opened.page.locator("#view-heads").scroll_into_view_if_needed()
        opened.page.locator("#view-heads canvas").nth(2).wait_for()
        nodes = opened.page.context.new_cdp_session(opened.page).send("Accessibility.getFullAXTree")["nodes"]
    told = [
        (node["name"]["value"], value["value"]["value"])
        for node in nodes
        if not node["ignored"] and node["role"]["value"] == "heading"
        for value in node["properties"]
        if value["name"] == "level"
    ]
    assert told == [("A report", 1), *((section.title, 2) for section in FULL), ("Reproduce it", 2)]


def test_on_paper_nothing_is_folded_hidden_or_cut(chromium, page):
    with chromium.open(page) as opened:
        opened.page.emulate_media(media="print")
        for hidden in (opened.page.get_by_role("navigation"), opened.page.locator(".hint").first):
            assert not hidden.is_visible()
        assert opened.page.get_by_text("row 39").is_visible()
        assert opened.page.get_by_text("SHA-256 of them").is_visible()
        assert opened.page.pdf()[:5] == b"%PDF-"
        opened.check_quiet()


def test_the_first_screen_fits_on_a_desk_and_begins_with_the_figure_on_a_phone(chromium, page):
    for size, reached in ((DESK, 1.0), (PHONE, 0.5)):
        with chromium.open(page, size) as opened:
            box = opened.page.locator(".first img").bounding_box()
            assert box["y"] + reached * box["height"] <= size[1]
            assert opened.page.locator(".mark").nth(2).bounding_box()["y"] < box["y"]


def test_a_mark_leads_to_its_row(chromium, page):
    with chromium.open(page, PHONE) as opened:
        opened.page.locator(".mark").nth(2).click()
        row = opened.page.locator("#numbers_2")
        assert row.evaluate("row => row.matches(':target')")
        assert 0 <= row.bounding_box()["y"] < PHONE[1]
        assert "row 2" in row.text_content()


def test_figures_are_dark_in_the_dark_and_light_on_paper(chromium, page):
    with chromium.open(page, color_scheme="dark") as opened:
        image = opened.page.locator(".first img")
        shade = "image => getComputedStyle(image).filter"
        assert image.evaluate(shade).startswith("invert(0.92)")
        opened.page.emulate_media(media="print", color_scheme="dark")
        assert image.evaluate(shade) == "none"


def test_the_command_is_selected_at_a_click(chromium, page):
    with chromium.open(page) as opened:
        opened.page.locator("pre code").click()
        assert opened.page.evaluate("() => getSelection().toString()").strip() == "mechpaint analyze toys --seeds 3"


def test_a_view_opens_on_its_first_head_and_is_no_taller_than_the_screen(chromium, page):
    with chromium.open(page) as opened:
        drawn = opened.page.locator("#view-heads")
        drawn.scroll_into_view_if_needed()
        drawn.locator("canvas").nth(2).wait_for()
        assert drawn.get_by_text("0.0 Zoomed").is_visible()
        assert drawn.bounding_box()["height"] <= DESK[1]


def test_a_head_is_chosen_by_pointing_and_by_clicking(chromium, page):
    with chromium.open(page) as opened:
        drawn = opened.page.locator("#view-heads")
        drawn.scroll_into_view_if_needed()
        drawn.locator("canvas").nth(1).hover()
        drawn.get_by_text("0.1 Zoomed").wait_for()
        drawn.locator("canvas").nth(1).click()
        opened.page.get_by_role("heading", level=1).hover()
        assert drawn.get_by_text("0.1 Zoomed").is_visible()
        opened.check_quiet()


_PLACES = {
    "h1": 1, "header > p": 3, ".verdicts a": 1, "dt": 1, "dd": 1, "nav a": 2, "h2": 3, "figcaption": 1, "caption": 2,
    "thead th": 4, "tbody th": 2, "tbody td": 2, "pre": 1,
}  # fmt: skip
_OWN = {"Reproduce it", "Settings and versions of the run.", "setting", "value"}


def test_whatever_it_says_stays_text(chromium, tmp_path):
    pages = {text: hostile_files(text, tmp_path / str(i)).as_uri() for i, text in enumerate(HOSTILE)}
    with chromium.open(tmp_path / "0" / "report.html") as opened:
        for text, address in pages.items():
            opened.page.goto(address)
            _check_hostile(opened.page, text, HOSTILE[text])
    assert opened.said == []
    assert opened.asked[1:] == list(pages.values())


def _check_hostile(page, text, seen):
    for place, count in _PLACES.items():
        said = page.locator(place).all_text_contents()
        assert len(said) == count, (place, text)
        if place == ".verdicts a":
            label = page.locator(place).get_attribute("title")
            assert (said, label) == (["✓"], f"{seen}: {seen}")
            continue
        bare = {one.removeprefix("Note. ").removeprefix("✓ ") for one in said}
        assert bare - _OWN == {seen}, (place, text)
    assert page.locator("img").get_attribute("alt") == seen
    assert page.locator("tbody td").first.get_attribute("data-column") == seen
    assert page.evaluate("() => document.title") == seen
    assert page.locator("script, svg, iframe, link, base, [onfocus], [onmouseover]").count() == 0
    assert page.locator("meta").count() == 4


def test_tokens_and_heads_stay_text(chromium, tmp_path):
    texts = list(HOSTILE)
    written(tmp_path, report(*(view(f"heads-{i}", texts, texts[i : i + 6]) for i in range(0, len(texts), 6))))
    with chromium.open(tmp_path / "report.html") as opened:
        for i in range(0, len(texts), 6):
            drawn = opened.page.locator(f"#view-heads-{i}")
            drawn.scroll_into_view_if_needed()
            drawn.locator("canvas").nth(len(texts[i : i + 6])).wait_for()
            said = drawn.all_text_contents()[0]
            for text in texts[i : i + 6]:
                assert " ".join(text.split()) in " ".join(said.split()) or "\ud800" in text or "\0" in text
        assert opened.page.title() == "A report"
        assert opened.page.locator("img, iframe, link, base").count() == 0
        assert opened.page.locator("script").count() == 1
        opened.check_quiet()
