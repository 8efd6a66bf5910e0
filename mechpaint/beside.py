"""What analyses share that stand several runs side by side."""

from __future__ import annotations

from collections.abc import Sequence


def told_apart(names: Sequence[str]) -> list[str]:
    """The names, numbered where a name comes more than once.

    Args:
        names: Of models, in the order of their runs.
    """
    return [f"{name} ({names[: i + 1].count(name)})" if names.count(name) > 1 else name for i, name in enumerate(names)]
