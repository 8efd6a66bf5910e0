"""Pictures of a report for the documents: `python -m tests.screenshots` writes `docs/figures/report-*.png`."""

from __future__ import annotations

import io
import tempfile
from pathlib import Path

from PIL import Image

import mechpaint as mp
from mechpaint.analyses.induction import Induction
from mechpaint.measured import MeasuredPlan
from mechpaint.running import run
from mechpaint.subject import Subject
from tests.browser import Opened, started

FIGURES = Path(__file__).parents[1] / "docs" / "figures"
SHOTS = {"report-390": ((390, 844), 1680, "light"), "report-1400": ((1400, 900), 1680, "dark")}
"""The window, how much of the page is shown in CSS pixels, and the colours, by the file's name."""


def main() -> None:
    """The report of `mechpaint analyze induction`, on a phone and on a desk."""
    with tempfile.TemporaryDirectory() as folder, started() as chromium:
        plan = MeasuredPlan.of(Induction(), Subject(mp.load("toy-induction"), "toy-induction"))
        page = run(plan, Path(folder), "mechpaint analyze induction").page
        for name, (size, height, scheme) in SHOTS.items():
            with chromium.open(page, size, color_scheme=scheme) as opened:
                _shoot(opened, size[0], height).save(FIGURES / f"{name}.png", optimize=True)


def _shoot(opened: Opened, width: int, height: int) -> Image.Image:
    """The upper part of the page."""
    opened.page.locator(".view canvas").first.wait_for()
    clip = {"x": 0, "y": 0, "width": width, "height": height}
    shot = Image.open(io.BytesIO(opened.page.screenshot(full_page=True, clip=clip)))
    return shot.convert("RGB")


if __name__ == "__main__":
    main()
