"""What an analysis itself has to say of several of its runs, side by side."""

from __future__ import annotations

from collections.abc import Sequence

from mechpaint.analysis import ModelAnalysis, ModelFacts, RouteAnalysis
from mechpaint.comparing.sides import Side
from mechpaint.report import Section


def besides(sides: Sequence[Side]) -> Sequence[Section]:
    """The sections of `RouteAnalysis.beside` or `ModelAnalysis.beside`; none for runs of different analyses.

    Args:
        sides: The runs.
    """
    analysis = sides[0].analysis
    if any(type(side.analysis) is not type(analysis) for side in sides):
        return ()
    if isinstance(analysis, RouteAnalysis):
        return analysis.beside([side.run.account.results(side.table) for side in sides])
    if isinstance(analysis, ModelAnalysis):
        models = [side.run.account.model for side in sides]
        tables = [(s.table, facts) for s, facts in zip(sides, models, strict=True) if isinstance(facts, ModelFacts)]
        return analysis.beside(tables)
    return ()
