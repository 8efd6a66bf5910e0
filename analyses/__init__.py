"""The built-in analyses, one question a folder."""

from mechpaint.analyses.birth import Birth
from mechpaint.analyses.induction import Induction
from mechpaint.analyses.loops import Loops
from mechpaint.analyses.memories import Memories
from mechpaint.analyses.painters import Painters
from mechpaint.analyses.pareto import Pareto
from mechpaint.analyses.similarity import Similarity
from mechpaint.plugins import Registry

__all__ = ["Birth", "Induction", "Loops", "Memories", "Painters", "Pareto", "Similarity"]


def register(registry: Registry) -> None:
    """Make the built-in analyses known by their names."""
    for analysis in (Painters, Induction, Birth, Memories, Similarity, Loops, Pareto):
        registry.add_analysis(analysis)
