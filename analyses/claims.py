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
    """Tabulate claims; `caption` explains the figures and when a claim held."""
    rows = [(claim.text, claim.verdict, claim.where, claim.evidence) for claim in claims]
    columns = ("claim", "verdict", "paper", "figures")
    return Table("claims", "The paper's claims, tested", caption, columns, rows, SIGNS)


def tally(claims: Sequence[Claim], paper: str, few: str) -> str:
    """Count the claims that held, in a sentence."""
    held, failed, open_ = _counts(claims)
    return (
        f"Of the {len(claims)} claims of {paper} that these runs can test, {held} held, {failed} did not, and "
        f"{open_} {'remains' if open_ == 1 else 'remain'} undecided with {few}."
    )


def tally_highlights(claims: Sequence[Claim]) -> list[tuple[str, str]]:
    """Count the claims that held, did not, and remain undecided, as highlights."""
    names = ("claims that held", "that did not", "undecided")
    signed = zip(names, SIGNS.values(), _counts(claims), strict=True)
    return [(name, f"{sign} {count} of {len(claims)}") for name, sign, count in signed]


def _counts(claims: Sequence[Claim]) -> list[int]:
    return [sum(claim.verdict == verdict for claim in claims) for verdict in VERDICTS]


def disambiguate(names: Sequence[str]) -> list[str]:
    """Number the names that occur more than once."""
    return [f"{name} ({names[: i + 1].count(name)})" if names.count(name) > 1 else name for i, name in enumerate(names)]
