"""How soon a report is seen: ten real figures and two views in chromium. `make bench` prints it."""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from mechpaint.circuits import attention_view
from mechpaint.display.figures import axes, heatmap, legend, style
from mechpaint.report import Figure, Report, write_report
from tests.browser import DESK, PHONE, Chromium, started

TIMES = 5
FIGURES = 10

_FIRST_PAINT = """() => {
  const entry = performance.getEntriesByName("first-contentful-paint")[0];
  return entry ? entry.startTime : null;
}"""


def ten_figures_and_two_views() -> Report:
    """Nine charts like those of the analyses, a heatmap, and two views of eight heads."""
    rng = np.random.default_rng(0)
    charts = [_chart(f"chart-{i}", rng) for i in range(FIGURES - 1)]
    drawing, (ax,) = axes()
    heatmap(drawing, ax, rng.random((18, 4)), [str(i) for i in range(18)], [str(i) for i in range(4)], 0.0, 1.0)
    shades = Figure("shades", "Shades", "All are between 0 and 1.", "A heatmap of 18 layers and 4 heads.", drawing)
    return Report("Ten figures", ["Ten figures and two views."], [*charts, shades, _view("one"), _view("two")])


def _chart(name: str, rng: np.random.Generator) -> Figure:
    drawing, panels = axes(10.0, columns=2)
    for ax in panels:
        for i in range(6):
            ax.plot(rng.normal(size=60).cumsum(), label=f"line {i}", markevery=8, **style(i))
        legend(ax)
    return Figure(
        name, f"The figure {name}", "Twelve walks that end anywhere.", "Two line charts of six walks.", drawing
    )


def _view(name: str) -> object:
    tokens = [f"token {i}" for i in range(48)]
    scores = torch.randn(8, 48, 48, generator=torch.Generator().manual_seed(0))
    patterns = scores.masked_fill(torch.ones(48, 48).triu(1).bool(), -torch.inf).softmax(-1)
    heads = [f"L{i}H0" for i in range(8)]
    return attention_view(name, f"The view {name}", "They attend anywhere.", "Eight patterns.", tokens, patterns, heads)


def rows() -> list[tuple[str, str, str]]:
    """What was measured, its value, and what is wanted."""
    with tempfile.TemporaryDirectory() as folder, started() as chromium:
        page = write_report(ten_figures_and_two_views(), Path(folder), [], "mechpaint analyze figures")
        size = page.stat().st_size / 1e6
        found = [("page with ten figures and two views", f"{size:.2f} MB", "under 3 MB")]
        for where, window in (("phone", PHONE), ("desk", DESK)):
            times = [_opened(chromium, page, window) for _ in range(TIMES)]
            paint, views = (statistics.median(each) for each in zip(*times, strict=True))
            most = max(paint for paint, _ in times)
            found += [
                (f"first paint, {where}", f"{paint:.2f} s  (longest of {TIMES}: {most:.2f} s)", "under 2 s"),
                (f"all views drawn, {where}", f"{views:.2f} s", ""),
            ]
    return found


def _opened(chromium: Chromium, page: Path, size: tuple[int, int]) -> tuple[float, float]:
    """Seconds to the first contentful paint, by the browser's own clock, and until all views are there, by ours."""
    began = time.perf_counter()
    with chromium.open(page, size) as opened:
        for view in opened.page.locator(".view").all():
            view.scroll_into_view_if_needed()
            view.locator("canvas").nth(8).wait_for()  # eight heads, and one large
        views = time.perf_counter() - began
        while (paint := opened.page.evaluate(_FIRST_PAINT)) is None:
            opened.page.wait_for_timeout(20)
        return paint / 1000, views


def main() -> None:
    """Measure and print."""
    table = Table("what", "measured", "wanted", title="A report in chromium")
    for row in rows():
        table.add_row(*row)
    Console().print(table)


if __name__ == "__main__":
    main()
