"""Attention heads, by layer or visit: `"5.2, 9#2.0-3"`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias, cast

from mechpaint.display.sanitize import short
from mechpaint.errors import HookSetError
from mechpaint.routes.notation import caret
from mechpaint.routes.steps import Visit
from mechpaint.routes.visits import Visits, read_items

_EXPECTED = "a layer or visit and a head, such as 5.2, 9#2.0 (layer 9, second time) or 5.0-3"


@dataclass(frozen=True, slots=True)
class Heads:
    """Heads at some visits: what `HeadSelection` is read as.

    Args:
        parts: Visits, and which heads there.
    """

    parts: tuple[tuple[Visits, tuple[int, ...]], ...]

    @classmethod
    def read(cls, given: HeadSelection) -> Heads:
        """Read a selection.

        Args:
            given: A text, or pairs of a layer or visit and a head.

        Raises:
            HookSetError: It is neither, or a text that cannot be read.
        """
        if isinstance(given, Heads):
            return given
        parts = _from_text(given) if isinstance(given, str) else _from_pairs(given)
        together: dict[Visits, list[int]] = {}
        for visits, heads in parts:
            together.setdefault(visits, []).extend(heads)
        return cls(tuple((visits, tuple(sorted(set(heads)))) for visits, heads in together.items()))

    def __str__(self) -> str:
        return ", ".join(f"{visits}.{head}" for visits, heads in self.parts for head in heads)


HeadSelection: TypeAlias = str | Sequence[tuple[int | Visit, int]] | Heads
"""A text, `"5.2"`, or pairs of a layer or visit and a head."""


def _from_text(text: str) -> list[tuple[Visits, list[int]]]:
    parts: list[tuple[Visits, list[int]]] = []
    at = 0
    for word in text.split(","):
        visits, dot, heads = word.strip().rpartition(".")
        first, dash, last = heads.partition("-")
        begins = at + len(word) - len(word.lstrip())
        ends = (first, last) if dash else (first,)
        if not (dot and visits and all(end.isascii() and end.isdigit() and len(end) < 6 for end in ends)):
            raise HookSetError(caret(text, begins, "cannot read the heads", _EXPECTED))
        span = list(range(int(ends[0]), int(ends[-1]) + 1))
        if not span:
            raise HookSetError(caret(text, begins, "cannot read the heads", "heads from the lowest to the highest"))
        parts.append((Visits(tuple(read_items(visits))), span))
        at += len(word) + 1
    return parts


def _from_pairs(given: object) -> list[tuple[Visits, list[int]]]:
    pairs = list(cast("Sequence[object]", given)) if isinstance(given, list | tuple) else []
    if pairs and not any(isinstance(pair, Sequence) for pair in pairs) and len(pairs) == 2:
        pairs = [tuple(pairs)]  # one pair
    parts: list[tuple[Visits, list[int]]] = []
    for pair in pairs:
        if not isinstance(pair, tuple | list) or len(cast(Sequence[object], pair)) != 2:
            raise HookSetError(f"expected {_EXPECTED}, or pairs of them; got {short(cast(object, given))}")
        where, head = cast("tuple[int | Visit, int]", pair)
        if isinstance(head, bool) or not hasattr(head, "__index__") or int(head) < 0:
            raise HookSetError(f"heads count from 0, got {short(head)}")
        parts.append((Visits.read(where), [int(head)]))
    if not parts:
        raise HookSetError(f"expected {_EXPECTED}, or pairs of them; got {short(cast(object, given))}")
    return parts
