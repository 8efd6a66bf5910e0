"""The site in a browser, from disk: nothing is asked of a network; it fits phones and desks, by day and by night."""

from __future__ import annotations

import os
import re
from contextlib import contextmanager

import pytest

from tests.browser import DESK, PHONE
from tests.docs.fences import ROOT

pytestmark = pytest.mark.release
SHOWN = ("index.html", "how-to/analysis.html", "reference/mechpaint.html", "reference/cli.html", "gallery.html")


@contextmanager
def opened(chromium, path, size, colours):
    """A page of the site; after it, that it loaded nothing but files of the site and that nothing went wrong in it."""
    with chromium.open(path, size, color_scheme=colours) as shown:
        yield shown.page
        assert not [url for url in shown.asked if not url.startswith(("file:", "data:", "blob:", "about:"))]
        assert not shown.said


@pytest.mark.parametrize(
    ("size", "colours"),
    [
        pytest.param(PHONE, "light", id="phone-light"),
        pytest.param(DESK, "dark", id="desk-dark"),
        pytest.param(PHONE, "dark", id="phone-dark", marks=pytest.mark.slow),
        pytest.param(DESK, "light", id="desk-light", marks=pytest.mark.slow),
    ],
)
@pytest.mark.parametrize("name", SHOWN)
def test_pages(chromium, site, name, size, colours):
    with opened(chromium, site / name, size, colours) as page:
        wide = page.evaluate("document.documentElement.scrollWidth")
        assert wide <= size[0], f"{name} is {wide} wide"
        for image in page.query_selector_all("article img"):
            image.scroll_into_view_if_needed()
            assert image.evaluate("image => image.decode().then(() => image.naturalWidth)") > 0
            assert image.get_attribute("alt")
        scheme = page.evaluate("document.body.dataset.mdColorScheme")
        assert scheme == {"light": "default", "dark": "slate"}[colours]
        if folder := os.environ.get("MECHPAINT_SCREENSHOTS"):
            shot = f"{name.replace('/', '-').removesuffix('.html')}-{size[0]}-{colours}.png"
            page.evaluate("window.scrollTo(0, 0)")
            page.screenshot(path=f"{folder}/{shot}")


def test_the_search_works_from_disk(chromium, site):
    with opened(chromium, site / "index.html", DESK, "light") as page:
        page.click(".md-search__button")
        page.get_by_role("combobox", name="Search").fill("looped parallel")
        first = page.wait_for_selector("li > a:has(mark :text('looped'))")
        assert first.evaluate("link => link.href").startswith("file:")
        assert "looped" in first.inner_text().lower()


def test_no_page_names_a_host_to_load_from(site):
    """Links may lead away; scripts, styles, fonts and pictures may not."""
    pages = list(site.rglob("*.html"))
    assert len(pages) > 25
    for path in pages:
        text = path.read_text(encoding="utf-8")
        for tag in re.findall(r"<(?:script|link|img|iframe|source)\b[^>]*>", text):
            if 'rel="canonical"' not in tag:
                assert not re.search(r"(?:src|href)=\"?(?:https?:)?//", tag), f"{path.name}: {tag}"


def test_links_between_pages_lead_somewhere(site):
    """Also in headings of the pages that analyses write; `zensical build --strict` sees Markdown alone."""
    for path in site.rglob("*.html"):
        if path.name == "404.html":
            continue
        text = path.read_text(encoding="utf-8")
        for target in re.findall(r"href=\"([^\"#?:]+)(?:#[^\"]*)?\"", text):
            assert (path.parent / target).exists(), f"{path.relative_to(site)}: {target}"


def test_every_page_is_in_the_site(site):
    for page in (ROOT / "docs").rglob("*.md"):
        assert (site / page.relative_to(ROOT / "docs").with_suffix(".html")).exists(), page
