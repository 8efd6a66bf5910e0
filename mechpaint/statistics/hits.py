"""Right or wrong, or no number: what overflowed never counts as a wrong answer."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jaxtyping import Float, Int
    from torch import Tensor


def hits(scores: Float[Tensor, "*rows choice"], answers: Int[Tensor, "*rows"]) -> Float[Tensor, "*rows"]:
    """1 where the answer has the highest score, else 0; NaN where a score is NaN or positive infinity.

    Scores of minus infinity are masked choices.

    Args:
        scores: The scores of all choices, such as logits.
        answers: The right choice of each row.
    """
    return where_known(scores, scores.argmax(-1) == answers)


def where_known(scores: Float[Tensor, "*rows choice"], values: Tensor) -> Float[Tensor, "*rows"]:
    """Values in float64, NaN where a score that they come from is NaN or positive infinity."""
    broken = (scores.isnan() | scores.isposinf()).any(-1)
    return values.double().masked_fill(broken, float("nan"))
