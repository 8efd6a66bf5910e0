"""Values over seeds: in words, and as lines with bands."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Values = Float[np.ndarray, " seed"]

BAND = "Lines are means over seeds, bands span their range."


def spread(values: Values, digits: int = 3) -> str:
    """The mean over seeds, with the standard deviation if there are several; a dash for none."""
    if not len(values):
        return "–"
    text = f"{values.mean():.{digits}f}"
    return text if len(values) < 2 else f"{text} ± {values.std(ddof=1):.{digits}f}"


def draw_line(
    ax: Axes, xs: Sequence[Any], values: Sequence[Values], label: str, look: dict[str, Any], band: bool = True
) -> None:
    """Draw the means over seeds, and a band over their range."""
    ax.plot(xs, [own.mean() for own in values], label=label, linewidth=1.5, **look)
    if band:
        low, high = [own.min() for own in values], [own.max() for own in values]
        ax.fill_between(xs, low, high, color=look["color"], alpha=0.12, linewidth=0)
