"""The table of architectures in the documentation, made of what the checks find."""

from __future__ import annotations

import re
from pathlib import Path

from tests.architectures.checks import BOUND, Compatibility, Found

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "architectures.md"

EXACT = "| model | class | adapter | identity | orders | groups | padding | bfloat16 | gradients | compatibility mode |"
REFUSED = "| model | class | adapter | why |"


def exact_row(name: str, found: Found) -> str:
    """What was shown of a model that can be rerouted."""
    sides = [side for side, apart in (("left", found.left), ("right", found.right)) if apart is not None]
    cells = (
        name,
        f"`{found.kind}`",
        _adapter(found.adapter),
        "same bits" if found.identity else "differs",
        _bounded(found.orders),
        _bounded(found.groups),
        " and ".join(sides),
        "same bits" if found.bfloat16_ordered == 0 else "rounding",
        _bounded(found.gradients),
        _compatibility(found.compatibility),
    )
    return f"| {' | '.join(cells)} |"


def refused_row(name: str, kind: str, adapter: str, why: str) -> str:
    """Why a model cannot be rerouted."""
    return f"| {name} | `{kind}` | {_adapter(adapter)} | {why} |"


def rows() -> dict[str, str]:
    """The rows of the committed page, by the name of the model."""
    found = (re.match(r"\| (\S[^|]*?) \| `", line) for line in PAGE.read_text(encoding="utf-8").splitlines())
    return {match[1]: match.string for match in found if match}


def verdicts(row: str) -> str:
    """A row without what may be another on another machine: whether two orders of the same sums have the same bits."""
    return row.replace("same bits", "rounding")


def write(exact: list[str], refused: list[str]) -> None:
    """Put rows in the place of those of the page."""
    text = PAGE.read_text(encoding="utf-8")
    for header, lines in ((EXACT, exact), (REFUSED, refused)):
        ruler = "|---" * (header.count("|") - 1) + "|"
        table = "\n".join([header, ruler, *lines])
        text, written = re.subn(rf"{re.escape(header)}\n(\|.*\n)*", lambda _, table=table: f"{table}\n", text)
        assert written == 1, f"{PAGE} has no table that begins with {header}"
    PAGE.write_text(text, encoding="utf-8")


def _adapter(name: str) -> str:
    return f"`{name.removesuffix('ArchitectureAdapter')}`"


def _bounded(apart: float) -> str:
    return "same bits" if apart == 0 else _rounding(apart)


def _rounding(apart: float) -> str:
    return "rounding" if apart < BOUND else f"{apart:.1g}"


def _compatibility(found: Compatibility | str) -> str:
    if isinstance(found, str):
        return "TransformerLens fails"
    if found.own > BOUND:
        return "TransformerLens changes the model"
    return _rounding(found.routed)
