"""Claims of a paper, with verdicts: whether a difference holds is decided by `statistics.verdict`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from mechpaint.report import Table

VERDICTS = ("held", "not held", "undecided")
SIGNS = {"held": "✓", "not held": "✗", "undecided": "?"}


@dataclass(frozen=True)
class Claim:
    """A claim of a paper in our words, where it stands there, its verdict (one of `VERDICTS`) and the evidence."""

    where: str
    text: str
    verdict: str
    evidence: str


def over_seeds(held: Sequence[bool] | Bool[np.ndarray, " model"], *compared: Float[np.ndarray, "..."]) -> str:
    """Combine the outcomes of several models: held for all, not held for any, or undecided.

    Where one of the values that were compared is no number, nothing is decided.
    """
    if any(np.isnan(values).any() for values in compared):
        return "undecided"
    return "held" if all(held) else "undecided" if any(held) else "not held"


def claims_table(claims: Sequence[Claim], caption: str) -> Table:
    """Tabulate claims; `caption` explains the evidence and when a claim held."""
    rows = [(claim.text, claim.verdict, claim.where, claim.evidence) for claim in claims]
    columns = ("claim", "verdict", "paper", "evidence")
    return Table("claims", "The paper's claims, tested", caption, columns, rows, SIGNS)


def disambiguate(names: Sequence[str]) -> list[str]:
    """Number the names that occur more than once."""
    return [f"{name} ({names[: i + 1].count(name)})" if names.count(name) > 1 else name for i, name in enumerate(names)]
