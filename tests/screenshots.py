"""Pictures of pages for the documents: `python -m tests.screenshots` writes `docs/figures/{report,notebook}-*.png`."""

from __future__ import annotations

import io
import tempfile
from pathlib import Path

from PIL import Image

import mechpaint as mp
from examples import export
from mechpaint.analyses.induction import Induction
from mechpaint.runs.execute import run
from mechpaint.runs.plans.model_plan import ModelPlan
from mechpaint.runs.plans.routed_model import RoutedModel
from tests.browser import DESK, PHONE, Chromium, Opened, started

FIGURES = Path(__file__).parents[1] / "docs" / "figures"
SHOTS = {"report-390": (PHONE, "light"), "report-1400": (DESK, "dark")}
"""The window and the colours, by the file's name."""


NOTEBOOK, HEADING = "2_reading_an_induction_head", "What do the heads look at?"


def main() -> None:
    """The first screen of `mechpaint analyze induction`, and a part of a notebook, on a phone and on a desk."""
    with tempfile.TemporaryDirectory() as folder, started() as chromium:
        _report(chromium, Path(folder))
    with tempfile.TemporaryDirectory() as folder:
        export.main(Path(folder), [NOTEBOOK])  # before the browser's event loop runs
        with started() as chromium:
            _notebook(chromium, Path(folder) / f"{NOTEBOOK}.html")


def _report(chromium: Chromium, folder: Path) -> None:
    plan = ModelPlan.of(Induction(), RoutedModel(mp.load("toy-induction"), "toy-induction"))
    page = run(plan, folder, "mechpaint analyze induction").page
    for name, (size, scheme) in SHOTS.items():
        with chromium.open(page, size, color_scheme=scheme) as opened:
            _shoot(opened).save(FIGURES / f"{name}.png", optimize=True)


def _notebook(chromium: Chromium, path: Path) -> None:
    for size in (PHONE, DESK):
        with chromium.open(path, (size[0], 1000)) as opened:
            opened.page.get_by_role("heading", name=HEADING).evaluate("heading => heading.scrollIntoView()")
            opened.page.frame_locator("iframe").first.locator("canvas").nth(2).wait_for()
            shot = Image.open(io.BytesIO(opened.page.screenshot()))
            shot.convert("RGB").save(FIGURES / f"notebook-{size[0]}.png", optimize=True)


def _shoot(opened: Opened) -> Image.Image:
    """What is seen first."""
    return Image.open(io.BytesIO(opened.page.screenshot())).convert("RGB")


if __name__ == "__main__":
    main()
