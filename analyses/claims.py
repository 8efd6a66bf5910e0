"""What a paper claims, and what became of it here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool

from mechpaint.report import Table

VERDICTS = ("held", "not held", "undecided")
SIGNS = {"held": "✓", "not held": "✗", "undecided": "?"}


@dataclass(frozen=True)
class Claim:
    """A claim of a paper, tested.

    Args:
        where: Section and figure.
        text: The claim, in this project's words.
        verdict: One of `VERDICTS`.
        evidence: The figures.
    """

    where: str
    text: str
    verdict: str
    evidence: str


def over_seeds(held: Sequence[bool] | Bool[np.ndarray, " model"]) -> str:
    """The verdict where a claim was tested on several models: held for all, not held for any, or undecided."""
    return "held" if all(held) else "undecided" if any(held) else "not held"


def claims_table(claims: Sequence[Claim], caption: str) -> Table:
    """The claims one by one; `caption` says what the figures are and when a claim held."""
    rows = [(claim.text, claim.verdict, claim.where, claim.evidence) for claim in claims]
    columns = ("claim", "here", "paper", "figures")
    return Table("claims", "What the paper claims, and what held here", caption, columns, rows, SIGNS)


def tally(claims: Sequence[Claim], paper: str, few: str) -> str:
    """A sentence of how many claims held."""
    held, failed, open_ = _counts(claims)
    return (
        f"Of the {len(claims)} claims of {paper} that these runs can speak to, {held} held here, {failed} did not, and "
        f"{open_} {'stays' if open_ == 1 else 'stay'} undecided at {few}."
    )


def tally_highlights(claims: Sequence[Claim]) -> list[tuple[str, str]]:
    """The same as highlights: how many of the claims held, did not, and stay undecided."""
    names = ("claims that held", "that did not", "undecided")
    signed = zip(names, SIGNS.values(), _counts(claims), strict=True)
    return [(name, f"{sign} {count} of {len(claims)}") for name, sign, count in signed]


def _counts(claims: Sequence[Claim]) -> list[int]:
    return [sum(claim.verdict == verdict for claim in claims) for verdict in VERDICTS]


def disambiguate(names: Sequence[str]) -> list[str]:
    """The names, numbered where a name comes more than once."""
    return [f"{name} ({names[: i + 1].count(name)})" if names.count(name) > 1 else name for i, name in enumerate(names)]
