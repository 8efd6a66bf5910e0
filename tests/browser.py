"""A browser for the tests: chromium, driven by Playwright, with a record of all that a page asks for and says."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

_QUIET = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking", "--disable-component-update",
)  # fmt: skip
PHONE, DESK = (390, 844), (1400, 900)


@dataclass
class Opened:
    """A page that is open.

    Attributes:
        page: Playwright's.
        path: The file.
        asked: The addresses it asked for.
        said: Console messages, uncaught errors and dialogs.
    """

    page: Any
    path: Path
    asked: list[str] = field(default_factory=list)
    said: list[str] = field(default_factory=list)

    def check_quiet(self) -> None:
        """It asked for nothing but itself, and said nothing."""
        assert self.said == []
        assert self.asked == [self.path.as_uri()]

    def listen(self) -> None:
        """Keep what it asks and says from now on."""
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.on("console", lambda message: self.said.append(message.text))
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.on("dialog", self._dialog)

    def _dialog(self, dialog: Any) -> None:
        self.said.append(f"dialog: {dialog.message}")
        dialog.dismiss()


@dataclass(frozen=True)
class Chromium:
    """A browser that was started."""

    browser: Any

    @contextmanager
    def open(self, path: Path, size: tuple[int, int] = DESK, **context: Any) -> Iterator[Opened]:
        """A file, opened from disk in a window of its own.

        Args:
            path: Which.
            size: The window's, in CSS pixels.
            context: What else Playwright's `new_context` takes, such as `color_scheme`.
        """
        made = self.browser.new_context(viewport={"width": size[0], "height": size[1]}, **context)
        try:
            opened = Opened(made.new_page(), path.resolve())
            opened.listen()
            opened.page.goto(opened.path.as_uri())
            yield opened
        finally:
            made.close()


@contextmanager
def started() -> Iterator[Chromium]:
    """The browser, or a skipped test where there is none."""
    playwright = pytest.importorskip("playwright.sync_api", reason="there is no playwright: install mechpaint[dev]")
    executable = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if executable is None:
        pytest.skip("there is no chromium: install it, such as Debian's package of that name")
    with playwright.sync_playwright() as play:
        browser = play.chromium.launch(executable_path=executable, args=_QUIET)
        try:
            yield Chromium(browser)
        finally:
            browser.close()
