"""The style of figures: uniform, and legible in grey and to colour-blind readers."""

from __future__ import annotations

import io
import math
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol, cast, runtime_checkable

import numpy as np

from mechpaint.display.sanitize import sanitize

if TYPE_CHECKING:
    from matplotlib.axes import Axes


# Okabe and Ito's palette; every line also has a marker or a dash of its own
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#7A5C00", "#000000")
_MARKERS = "os^Dv<>P"
_LEGEND_SIZE = 8.5
_GRID: dict[str, Any] = {"color": "#dddddd", "linewidth": 0.6}
_HANDLE = 7  # width of a legend's line and gap, in letters
_LONGEST = 48
NARROW = 5.0
"""The width of a drawing that can be read on a phone without scrolling, in inches."""


def axes(width: float = 7.2, columns: int = 1, rows: int = 1, height: float = 4.3) -> tuple[Any, list[Axes]]:
    """Make an empty drawing and its axes, row by row."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure as Drawing

    drawing = Drawing(figsize=(width, rows * height), layout="constrained")
    FigureCanvasAgg(drawing)
    made = [drawing.add_subplot(rows, columns, i + 1) for i in range(rows * columns)]
    for ax in made:
        ax.grid(True, **_GRID)
        ax.spines[["top", "right"]].set_visible(False)
    return drawing, made


def panels(count: int, most_columns: int, width: float, height: float) -> tuple[Any, list[Axes]]:
    """Make an empty drawing with `count` axes in rows of at most `most_columns`."""
    columns = min(most_columns, count)
    drawing, made = axes(width, columns, -(-count // columns), height)
    for ax in made[count:]:
        ax.set_axis_off()
    return drawing, made[:count]


def svg_of(drawing: Any, salt: str) -> bytes:
    """Render a matplotlib figure as SVG: the same bytes for the same drawing."""
    import matplotlib as mpl

    with mpl.rc_context({"svg.hashsalt": salt}):
        return _saved(drawing, format="svg", metadata={"Date": None})


def png_of(drawing: Any) -> bytes:
    """Render a matplotlib figure as PNG: the same bytes for the same drawing."""
    return _saved(drawing, format="png", dpi=160, metadata={"Software": None})


def _saved(drawing: Any, **how: Any) -> bytes:
    """Save with an explicit canvas, without any window system."""
    out = io.BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")  # missing glyphs are drawn as boxes
        drawing.savefig(out, bbox_inches="tight", **how)
    return out.getvalue()


def style(i: int) -> dict[str, Any]:
    """The colour and marker of the i-th line."""
    return {"color": COLOURS[i % len(COLOURS)], "marker": _MARKERS[i % len(_MARKERS)], "markersize": 5}


@runtime_checkable
class Interval(Protocol):
    """A value with the ends of its interval, such as `mechpaint.statistics.Estimate`."""

    @property
    def value(self) -> float:
        """The value."""
        ...

    @property
    def low(self) -> float:
        """The lower end of its interval."""
        ...

    @property
    def high(self) -> float:
        """The upper end of its interval."""
        ...


def banded(
    ax: Axes, xs: Sequence[int] | Sequence[float], estimates: Sequence[Interval], label: str, look: dict[str, Any]
) -> None:
    """Draw a line with a band for its intervals."""
    ax.plot(xs, [e.value for e in estimates], label=label, **look)
    low, high = [e.low for e in estimates], [e.high for e in estimates]
    ax.fill_between(xs, low, high, color=look["color"], alpha=0.13, linewidth=0)


def clip_below(ax: Axes, floor: float) -> None:
    """End the vertical axis at `floor` and mark with a triangle, in its own colour, each point that lies below."""
    drawn = [(line, np.asarray(line.get_xydata(), dtype=float)) for line in ax.get_lines()]
    lowest = min((float(np.nanmin(points[:, 1], initial=math.inf)) for _, points in drawn), default=math.inf)
    if lowest >= floor:
        return
    ax.set_ylim(floor, None)
    for line, points in drawn:
        below = points[points[:, 1] < floor, 0]
        look: dict[str, Any] = {"marker": 7, "markersize": 9, "linestyle": "", "clip_on": False, "zorder": 5}
        if len(below):  # unclipped and empty, it would count as drawn at the corner of the page
            ax.plot(below, [floor] * len(below), color=line.get_color(), **look)
    ax.plot([], [], color="#555555", marker=7, linestyle="", label=f"cut off, to {lowest:.2g}")


def literal(text: str) -> str:
    """Escape a name for a drawing, so that nothing is hidden or taken for a formula."""
    return sanitize(text).replace("$", r"\$")


def log_scale(ax: Axes) -> None:
    """Make the vertical axis logarithmic, with plain numbers if it spans less than two decades."""
    from matplotlib.ticker import ScalarFormatter

    low, high = ax.get_ylim()
    ax.set_yscale("log")
    if low > 0 and high < 100 * low:
        ax.yaxis.set_major_formatter(ScalarFormatter())
        ax.yaxis.set_minor_formatter(ScalarFormatter())
        ax.grid(True, axis="y", which="minor", **_GRID)


def legend(ax: Axes, columns: int = 4) -> None:
    """Put a legend above the axes, in as few even rows as `columns` allow."""
    look = _legend(ax, columns, 1 / cast(Any, ax).get_gridspec().ncols)
    ax.legend(**look, loc="lower left", bbox_to_anchor=(0, 1.0), borderaxespad=0.2)


def shared_legend(drawing: Any, ax: Axes, columns: int = 4) -> None:
    """Put one legend above all panels; over a single panel it would displace the others."""
    drawing.legend(**_legend(ax, columns, 1.0), loc="outside upper left")


def _legend(ax: Axes, columns: int, share: float) -> dict[str, Any]:
    """The arguments of a legend that has `share` of the drawing's width."""
    handles, labels = ax.get_legend_handles_labels()
    cut = [label if len(label) <= _LONGEST else f"{label[: _LONGEST - 1]}…" for label in labels]
    letters = share * cast(Any, ax.get_figure()).get_size_inches()[0] * 72 / (0.55 * _LEGEND_SIZE)
    columns = max(1, min(columns, int(letters / (_HANDLE + max(map(len, cut), default=0)))))
    rows = max(1, math.ceil(len(cut) / columns))
    return {
        "handles": handles,
        "labels": [literal(label) for label in cut],
        "fontsize": _LEGEND_SIZE,
        "frameon": False,
        "ncols": max(1, math.ceil(len(cut) / rows)),
    }


def heatmap(
    drawing: Any, ax: Axes, values: Any, rows: Sequence[str], columns: Sequence[str], low: float, high: float
) -> None:
    """Draw values as shades with numbers in them, and names for rows and columns."""
    ax.grid(False)
    image = ax.imshow(values, vmin=low, vmax=high, cmap="Blues", aspect="auto")
    ax.set_xticks(range(len(columns)), columns)
    ax.set_yticks(range(len(rows)), rows)
    if len(rows) * len(columns) <= 120:
        for y in range(len(rows)):
            for x in range(len(columns)):
                value = float(values[y][x])
                ax.text(x, y, f"{value:.2f}", ha="center", va="center", fontsize=8.5, color=_ink(image, value))
    drawing.colorbar(image, ax=ax, shrink=0.8)


def diverging_heatmap(drawing: Any, ax: Axes, values: Any, rows: Sequence[str], columns: Sequence[str]) -> None:
    """Draw values as shades of two colours, white at 0, up to the largest of either sign."""
    ax.grid(False)
    most = float(np.nanmax(np.abs(values), initial=1e-9))
    image = ax.imshow(values, vmin=-most, vmax=most, cmap="RdBu", aspect="auto", interpolation="none")
    ax.set_xticks(range(len(columns)), columns, rotation=90 if max(map(len, columns)) > 2 else 0, fontsize=8)
    ax.set_yticks(range(len(rows)), rows, fontsize=7)
    drawing.colorbar(image, ax=ax, shrink=0.8)


def _ink(image: Any, value: float) -> str:
    """Choose black or white, by contrast with the shade of a value: both are equal at a luminance of 0.18."""
    red, green, blue, _ = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in image.to_rgba(value))
    return "k" if 0.2126 * red + 0.7152 * green + 0.0722 * blue > 0.18 else "w"
