"""What a person sees and hears of a page in a browser, as checks that hold for every page."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.browser import DESK, PHONE, Chromium

_READ = 4.5
"""WCAG 2.2, 1.4.3: the least contrast of text."""

# Every text that is drawn, with the contrast of its colour and what it stands on. circuitsvis's colours are its own.
_CONTRASTS = """() => {
  const channels = colour => colour.match(/[\\d.]+/g).map(Number);
  const luminance = colour => {
    const linear = c => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
    const [r, g, b] = channels(colour).map(c => linear(c / 255));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = element => {
    for (let at = element; at; at = at.parentElement) {
      const colour = getComputedStyle(at).backgroundColor, alpha = channels(colour)[3];
      if (alpha === undefined || alpha === 1) return colour;
    }
    return "rgb(255, 255, 255)";
  };
  const found = [], walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const text = walker.currentNode.data.trim(), element = walker.currentNode.parentElement;
    if (!text || element.closest(".view, script, style") || !element.getClientRects().length) continue;
    const [a, b] = [luminance(getComputedStyle(element).color), luminance(behind(element))];
    found.push([text.slice(0, 40), (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05)]);
  }
  return found;
}"""


def check_page(chromium: Chromium, path: Path) -> None:
    """On a phone and on a desk, in light and dark: nothing asked, nothing said, all of it to be read."""
    for size in (PHONE, DESK):
        with chromium.open(path, size) as opened:
            unfold(opened.page)
            check_views(opened.page)
            check_fits(opened.page)
            for scheme in ("light", "dark"):
                opened.page.emulate_media(color_scheme=scheme)
                check_contrast(opened.page)
            opened.check_quiet()


def unfold(page: Any) -> None:
    """Open all that is folded."""
    page.evaluate("() => document.querySelectorAll('details').forEach(fold => { fold.open = true; })")


def check_fits(page: Any) -> None:
    """The page does not scroll sideways, and every drawing is as large as its place: the first, by the height left."""
    width = page.viewport_size["width"]
    assert page.evaluate("() => document.documentElement.scrollWidth") <= width
    for image in page.locator("img").all():
        assert image.evaluate("image => image.decode().then(() => image.naturalWidth)") > 0
        share = 0.4 if image.evaluate("image => image.closest('.first') !== null") else 0.6
        assert image.bounding_box()["width"] >= min(width, 1000) * share


def check_contrast(page: Any) -> None:
    """All text can be read."""
    found = page.evaluate(_CONTRASTS)
    assert len(found) > 5
    assert [each for each in found if each[1] < _READ] == []


def check_views(page: Any) -> None:
    """Every view is drawn, or says what it shows."""
    for view in page.locator(".view").all():
        assert view.get_attribute("aria-label")
        view.scroll_into_view_if_needed()
        view.locator("canvas").first.wait_for()
