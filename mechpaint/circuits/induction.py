"""The induction head as a picture of two heads and their strengths.

After the circuit of "Birth of a Transformer" (arXiv 2306.00802, figure 1).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from mechpaint.display.svg import SOFT, Canvas, Diagram, Length
from mechpaint.errors import DrawingError

if TYPE_CHECKING:
    from mechpaint.circuits.heads import HeadScore

_LOW, _MIDDLE, _HIGH = 250, 150, 50  # heights of tokens, first head, second head
_A, _B, _AGAIN, _OUT = 150, 260, 520, 660
_BLUE, _ORANGE, _GREEN = "#0072B2", "#B34700", "#00694C"


def induction_pair(scores: Sequence[HeadScore]) -> tuple[HeadScore, HeadScore]:
    """The best induction head, after the best previous-token head before it."""
    first = min((score.visit.step for score in scores), default=0)
    later = [score for score in scores if score.visit.step > first]
    if not later:
        raise DrawingError("an induction head needs a head in a layer before it: expected scores of two layers or more")
    second = max(later, key=lambda score: score.prefix_matching)
    before = [score for score in scores if score.visit.step < second.visit.step]
    return max(before, key=lambda score: score.previous_token), second


def induction_diagram(scores: Sequence[HeadScore]) -> Diagram:
    """Draw the copying of a token from context by the two best heads, with their measured attention.

    The previous-token head writes at `b` that `a` came before. At the second `a`, the induction head matches that,
    attends to `b`, and raises its logit. Line width shows attention on repeated random tokens; without the circuit,
    lines are thin.

    Args:
        scores: Scores of all heads, from `mechpaint.circuits.head_scores`.

    Returns:
        The diagram.

    Raises:
        DrawingError: Scores of a single layer.
    """
    first, second = induction_pair(scores)
    canvas = Canvas()
    for x, token in ((_A, "a"), (_B, "b"), (_AGAIN, "a")):
        canvas.path(f"M{x} {_LOW - 14}V{_HIGH - 22}", ink=SOFT, opacity=0.5)
        canvas.box(x - 17, _LOW - 14, 34, 28, "#f2f4f7", token)
    canvas.text((_B + _AGAIN) / 2, _LOW, "…", ink=SOFT)
    canvas.text(_A - 60, _LOW, "…", ink=SOFT)
    _edge(canvas, (_A, _LOW - 20), (_B - 16, _MIDDLE), first.previous_token, _BLUE)
    _edge(canvas, (_B, _MIDDLE - 16), (_AGAIN - 16, _HIGH), second.prefix_matching, _ORANGE)
    canvas.node(_B, _MIDDLE, 15, "1")
    canvas.node(_AGAIN, _HIGH, 15, "2")
    canvas.arrow(_AGAIN + 16, _HIGH, _OUT - 18)
    canvas.box(_OUT - 17, _HIGH - 14, 34, 28, "#e3f4ec", "b")
    canvas.text(_OUT, _HIGH + 28, "predicted", size=12, ink=SOFT)
    canvas.text(_B + 24, _MIDDLE, f"{first.name}, previous token: {first.previous_token:.2f}", 13, "start", _BLUE)
    canvas.text(
        _B + 24, _HIGH - 22, f"{second.name}, prefix matching: {second.prefix_matching:.2f}", 13, "start", _ORANGE
    )
    canvas.text(_OUT, _HIGH - 28, f"copying {second.copying:.2f}", 13, "middle", _GREEN)
    alt = (
        f"An induction head. {first.name} gives {first.previous_token:.2f} of its attention to the previous token. "
        f"Where a token recurs, {second.name} gives {second.prefix_matching:.2f} to what followed it earlier; its "
        f"copying score is {second.copying:.2f}."
    )
    return canvas.diagram(760, 290, alt)


def _edge(canvas: Canvas, start: tuple[Length, Length], end: tuple[Length, Length], strength: float, ink: str) -> None:
    (x, y), (to_x, to_y) = start, end
    canvas.path(
        f"M{x:g} {y:g}C{x:g} {to_y:g} {x:g} {to_y:g} {to_x - 4:g} {to_y:g}",
        width=0.8 + 7 * min(1.0, max(0.0, strength)),
        ink=ink,
        opacity=0.75,
    )
    canvas.head(to_x, to_y, ink)
