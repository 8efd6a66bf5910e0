"""Writes the table of architectures anew: `python -m tests.architectures`."""

from __future__ import annotations

from tests.architectures import table
from tests.architectures.checks import examine, refusal
from tests.architectures.recipes import OWN_RECIPES, RECIPES, REFUSED

if __name__ == "__main__":
    table.write(
        [table.exact_row(name, examine(name)) for name in sorted([*RECIPES, *OWN_RECIPES])],
        [table.refused_row(name, *refusal(name)) for name in sorted(REFUSED)],
    )
