"""The site in a browser, from disk: nothing is asked of a network; it fits phones and desks, by day and by night."""

from __future__ import annotations

import os
import re
import shutil
from contextlib import contextmanager

import pytest

from tests.docs.fences import ROOT

SHOWN = ("index.html", "how-to/analysis.html", "reference/mechpaint.html", "reference/cli.html", "gallery.html")
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking"]


@pytest.fixture(scope="module")
def browser():
    """Chromium: the one installed, or Playwright's own."""
    from playwright.sync_api import sync_playwright

    path = shutil.which("chromium") or shutil.which("google-chrome")
    with sync_playwright() as playwright:
        try:
            started = playwright.chromium.launch(executable_path=path, args=FLAGS)
        except Exception as error:
            pytest.skip(f"there is no browser here: {str(error).splitlines()[0]}")
        yield started
        started.close()


@contextmanager
def opened(browser, address, width, colours):
    """A page; after it, that it asked no host and that nothing went wrong in it."""
    asked, wrong = [], []
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=colours)
    page = context.new_page()
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda message: wrong.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.goto(address)
    page.wait_for_load_state("load")
    yield page
    context.close()
    assert not [url for url in asked if not url.startswith(("file:", "data:", "blob:", "about:"))]
    assert not wrong


@pytest.mark.slow
@pytest.mark.parametrize("colours", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1400])
@pytest.mark.parametrize("name", SHOWN)
def test_pages(browser, site, name, width, colours):
    with opened(browser, (site / name).as_uri(), width, colours) as page:
        wide = page.evaluate("document.documentElement.scrollWidth")
        assert wide <= width, f"{name} is {wide} wide"
        for image in page.query_selector_all("article img"):
            image.scroll_into_view_if_needed()
            assert image.evaluate("image => image.decode().then(() => image.naturalWidth)") > 0
            assert image.get_attribute("alt")
        scheme = page.evaluate("document.body.dataset.mdColorScheme")
        assert scheme == {"light": "default", "dark": "slate"}[colours]
        if folder := os.environ.get("MECHPAINT_SCREENSHOTS"):
            shot = f"{name.replace('/', '-').removesuffix('.html')}-{width}-{colours}.png"
            page.evaluate("window.scrollTo(0, 0)")
            page.screenshot(path=f"{folder}/{shot}")


@pytest.mark.slow
def test_the_search_works_from_disk(browser, site):
    with opened(browser, (site / "index.html").as_uri(), 1400, "light") as page:
        page.click("input.md-search__input")
        page.keyboard.type("looped parallel")
        first = page.wait_for_selector(".md-search-result__link")
        assert first.get_attribute("href").startswith("file:")
        assert "looped" in page.inner_text(".md-search-result__list").lower()


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
    """Also in headings of the pages that analyses write; `mkdocs build --strict` sees Markdown alone."""
    for path in site.rglob("*.html"):
        if path.name == "404.html":
            continue
        text = path.read_text(encoding="utf-8")
        for target in re.findall(r"href=\"([^\"#?:]+)(?:#[^\"]*)?\"", text):
            assert (path.parent / target).exists(), f"{path.relative_to(site)}: {target}"


def test_every_page_is_in_the_site(site):
    for page in (ROOT / "docs").rglob("*.md"):
        assert (site / page.relative_to(ROOT / "docs").with_suffix(".html")).exists(), page
