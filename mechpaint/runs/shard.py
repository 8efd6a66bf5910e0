"""Shards: which share of a run's cells a process computes, where several are started on one run folder.

Nothing heavy is imported here: the command line reads shards before anything else is done.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from mechpaint.errors import InputError

_T = TypeVar("_T")


class ShardError(InputError):
    """No shard: a share of none, or one beyond the last."""


@dataclass(frozen=True)
class Shard:
    """One of `n` shares of a run's cells, which have no cell in common and are all cells together.

    A cell's place in the list of all cells decides whose it is, so processes need to agree on nothing. Neighbours are
    of different shares, so that each has some of every task.

    Args:
        i: Which share, from 1.
        n: How many there are.

    Raises:
        ShardError: There is no such share.
    """

    i: int
    n: int

    def __post_init__(self) -> None:
        if not 1 <= self.i <= self.n:
            raise ShardError(f"there is no shard {self}; expected I/N with I from 1 to N, such as 1/8 or 8/8")

    @classmethod
    def parse(cls, text: str) -> Shard:
        """The shard that `str` gave.

        Args:
            text: Such as `2/8`, the second of eight.

        Raises:
            ShardError: It is none.
        """
        found = re.fullmatch(r"\s*([0-9]+)\s*/\s*([0-9]+)\s*", text)
        if found is None:
            raise ShardError(f"cannot read the shard {text!r}; expected I/N, such as 2/8 for the second of eight")
        return cls(int(found[1]), int(found[2]))

    def of(self, cells: Sequence[_T]) -> list[_T]:
        """Its share.

        Args:
            cells: All cells.
        """
        return list(cells[self.i - 1 :: self.n])

    def __str__(self) -> str:
        return f"{self.i}/{self.n}"
