"""What a comparison of one kind of runs comes to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mechpaint.report import Section, Table


@dataclass(frozen=True)
class Made:
    """A comparison.

    Args:
        summary: What was found, in paragraphs.
        sections: Tables and figures of differences; none where there is nothing in common.
        apart: A table of what only some runs have, if there is such.
        warnings: What a reader must know before believing it.
    """

    summary: Sequence[str]
    sections: Sequence[Section]
    apart: Sequence[Table]
    warnings: Sequence[str] = ()
