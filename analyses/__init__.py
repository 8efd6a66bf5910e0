"""The built-in analyses, one question a folder."""

from mechpaint.analyses.birth import Birth
from mechpaint.analyses.induction import Induction
from mechpaint.analyses.loops import Loops
from mechpaint.analyses.memories import Memories
from mechpaint.analyses.painters import Painters
from mechpaint.analyses.pareto import Pareto
from mechpaint.analyses.similarity import Similarity

__all__ = ["Birth", "Induction", "Loops", "Memories", "Painters", "Pareto", "Similarity"]

BUILT_IN = (Painters, Induction, Birth, Memories, Similarity, Loops, Pareto)
"""The analyses that mechpaint brings."""
