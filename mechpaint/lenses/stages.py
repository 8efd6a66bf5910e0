"""The stages of a residual stream along a route: before its first step, and after each."""

from __future__ import annotations

from collections import Counter

from mechpaint.routes.route import Route

EMBEDDING = "embedding"
"""The first stage: the residual stream before the first step."""


def stage_names(route: Route) -> tuple[str, ...]:
    """A name for each stage: what has run last, `"5"`, `"5#2"` (for the second time), `"(4-13)"`."""
    steps = [str(step) for step in route.steps]
    counts, seen = Counter(steps), Counter[str]()
    names = [EMBEDDING]
    for step in steps:
        seen[step] += 1
        names.append(f"{step}#{seen[step]}" if counts[step] > 1 else step)
    return tuple(names)
