"""The walk that makes sequences: batches of Markov chains whose law differs from sequence to sequence.

Two implementations give the same sequences, bit by bit, as both look up the same numbers in the same tables: a
vectorised one, and the one of `kernel.py` that numba compiles.
"""

# numba infers the types of its kernel, and knows nothing of annotations
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple, no_type_check

import numpy as np
from jaxtyping import Float64, Int64

from mechpaint.toy import sampling as kernel

WORTH_COMPILING = 2**16
"""Batches of at least so many tokens are walked by numba, where it is installed. It takes a second to import and
compile, once a process; smaller batches take numpy a few milliseconds."""


class Walk(NamedTuple):
    """Int64 `[batch, length]` each: tokens, those after them, and the how-manieth visit to a special row it was.

    `visits` is 0 where the row was an ordinary one.
    """

    tokens: Int64[np.ndarray, "batch length"]
    targets: Int64[np.ndarray, "batch length"]
    visits: Int64[np.ndarray, "batch length"]


def walk(
    first: Int64[np.ndarray, " batch"],
    uniforms: Float64[np.ndarray, "batch length"],
    law: AliasTable,
    rows: Int64[np.ndarray, "batch vocab"],
) -> Walk:
    """Walk each sequence from its first token on."""
    compiled = kernel.compiled() if uniforms.size >= WORTH_COMPILING else None
    if compiled is None:
        return vectorised(first, uniforms, law, rows)
    made = Walk(*(np.empty(uniforms.shape, np.int64) for _ in Walk._fields))
    starts = rows * rows.shape[1]
    compiled(first, uniforms, law.threshold.ravel(), law.alias.ravel(), starts, *made)
    return made


def vectorised(
    first: Int64[np.ndarray, " batch"],
    uniforms: Float64[np.ndarray, "batch length"],
    law: AliasTable,
    rows: Int64[np.ndarray, "batch vocab"],
) -> Walk:
    """`walk` by numpy, step by step for all sequences at once."""
    vocab: int = rows.shape[1]
    batch, length = uniforms.shape
    points = np.multiply(uniforms.T, vocab, out=np.empty((length, batch)))
    columns = points.astype(np.int64)
    tokens, counts = np.empty((length + 1, batch), np.int64), np.empty((length, batch), np.int64)
    tokens[0] = first
    _walk_in_time(tokens, counts, points, columns, law, rows)
    special = (rows >= vocab).ravel()[tokens[:-1] + np.arange(batch) * vocab]
    return Walk(_transposed(tokens[:-1]), _transposed(tokens[1:]), _transposed(counts * special))


def _walk_in_time(
    tokens: Int64[np.ndarray, "tokens batch"],
    counts: Int64[np.ndarray, "length batch"],
    points: Float64[np.ndarray, "length batch"],
    columns: Int64[np.ndarray, "length batch"],
    law: AliasTable,
    rows: Int64[np.ndarray, "batch vocab"],
) -> None:
    """Fill `tokens` from its first row on, and `counts` with how often each token has occurred in its sequence."""
    batch: int = rows.shape[0]
    vocab: int = rows.shape[1]
    starts, threshold, alias = (rows * vocab).ravel(), law.threshold.ravel(), law.alias.ravel()
    sequences, one = np.arange(0, batch * vocab, vocab), np.ones(batch, np.int64)
    seen, at = np.zeros(batch * vocab, np.int64), np.empty(batch, np.int64)
    limit, below = np.empty(batch), np.empty(batch, bool)
    # Every operation writes where there is space already. An index is never out of range, and with "clip" numpy
    # need not look before it writes.
    for token, following, column, point, count in zip(tokens, tokens[1:], columns, points, counts, strict=False):
        np.add(sequences, token, at)
        seen.take(at, out=count, mode="clip")
        np.add(count, one, count)
        seen[at] = count
        starts.take(at, out=following, mode="clip")
        np.add(following, column, at)
        threshold.take(at, out=limit, mode="clip")
        alias.take(at, out=following, mode="clip")
        np.less(point, limit, below)
        np.copyto(following, column, where=below)


def _transposed(values: Int64[np.ndarray, "length batch"]) -> Int64[np.ndarray, "batch length"]:
    """The transpose in memory. A few rows at a time, as whole columns of a large array do not fit the cache."""
    made = np.empty(values.shape[::-1], values.dtype)
    for start in range(0, len(values), 8):
        made[:, start : start + 8] = values[start : start + 8].T
    return made


@dataclass(frozen=True, eq=False)
class AliasTable:
    """Rows of probabilities, prepared for drawing from them.

    A uniform number u from [0, 1) becomes the point u * columns. Its whole part is a column, which is drawn if the
    point lies below the column's threshold; otherwise the column's alias is.

    Args:
        threshold: Float64 `[row, column]`: the column's number plus the part of it that it keeps.
        alias: Int64 `[row, column]`: the column that has the rest.
    """

    threshold: Float64[np.ndarray, "row column"]
    alias: Int64[np.ndarray, "row column"]

    @classmethod
    def of(cls, rows: Float64[np.ndarray, "row column"]) -> AliasTable:
        """The table of rows of weights: none negative, not all of a row 0. Each row is divided by its sum."""
        columns: int = rows.shape[1]
        shares = rows / rows.sum(axis=1, keepdims=True) * columns
        order = np.argsort(-shares, axis=1, kind="stable")
        kept, other = _paired(np.take_along_axis(shares, order, axis=1))
        threshold, alias = np.empty_like(shares), np.empty(shares.shape, np.int64)
        np.put_along_axis(threshold, order, kept, axis=1)
        np.put_along_axis(alias, order, np.take_along_axis(order, other, axis=1), axis=1)
        return cls(threshold + np.arange(columns), alias)

    def draw(
        self, rows: Int64[np.ndarray, "*shape"], uniforms: Float64[np.ndarray, "*shape"]
    ) -> Int64[np.ndarray, "*shape"]:
        """One column from each of `rows`, decided by numbers from [0, 1)."""
        # u < 1 never rounds up to the point `columns`: the doubles below it are closer together than those below 1
        points = uniforms * self.threshold.shape[1]
        columns = points.astype(np.int64)
        return np.where(points < self.threshold[rows, columns], columns, self.alias[rows, columns])

    def probabilities(self) -> Float64[np.ndarray, "row column"]:
        """The rows back from the table: what it draws, exactly."""
        columns: int = self.threshold.shape[1]
        kept = self.threshold - np.arange(columns)
        shares = kept.copy()
        for row, aliases, rest in zip(shares, self.alias, 1 - kept, strict=True):
            np.add.at(row, aliases, rest)
        return shares / columns


def _paired(
    shares: Float64[np.ndarray, "row column"],
) -> tuple[Float64[np.ndarray, "row column"], Int64[np.ndarray, "row column"]]:
    """Vose's construction for all rows at once: how much of each column it keeps, and what has the rest.

    Each row is sorted, falls, and has the mean 1. A step finishes one column of each row: while the column at the
    front has 1 or more left, it fills up the one at the back; if it has less, the next one fills it up and becomes the
    front. In both cases the mean of the unfinished ones stays 1, so there is always one with enough.
    """
    rows: int = shares.shape[0]
    columns: int = shares.shape[1]
    each = np.arange(rows)
    kept, other = np.ones_like(shares), np.tile(np.arange(columns), (rows, 1))
    front, back, left = np.zeros(rows, np.int64), np.full(rows, columns - 1), shares[:, 0].copy()
    for _ in range(columns - 1):
        ample = left >= 1
        done = np.where(ample, back, front)
        amount = np.where(ample, shares[each, back], left)
        kept[each, done] = np.clip(amount, 0, 1)
        front += ~ample
        other[each, done] = front
        left = np.where(ample, left, shares[each, front]) - (1 - amount)
        back -= ample
    return kept, other


@cache
def compiled() -> Callable[..., None] | None:
    """`walk` by numba, compiled when first called; None where numba is not installed.

    Nothing is cached on disk: numba would do so by pickles.
    """
    try:
        numba: Any = importlib.import_module("numba")
    except ImportError:  # not installed, or it does not know this numpy
        return None
    return numba.njit(nogil=True)(_kernel)


@no_type_check  # numba needs the bare function, which the shape checks of the tests would wrap
def _kernel(first, uniforms, threshold, alias, starts, tokens, targets, visits) -> None:
    """`walk` for numba, four sequences at a time: while one waits for what it looks up, the others go on.

    The tables are flat, and `starts` is where rows begin in them.
    """
    batch, length = uniforms.shape
    # unsigned, as numba would ask of every signed index whether it counts from the end
    vocab = np.uint64(starts.shape[1])
    special = vocab * vocab
    seen = np.empty((4, vocab), np.int64)

    def step(b: int, t: int, token: np.uint64, lane: int) -> np.uint64:
        point = uniforms[b, t] * vocab
        column = np.uint64(np.int64(point))
        start = np.uint64(starts[b, token])
        following = np.uint64(alias[start + column])
        if point < threshold[start + column]:
            following = column
        visit = seen[lane, token] + (start >= special)
        seen[lane, token] = visit
        tokens[b, t], targets[b, t], visits[b, t] = token, following, visit
        return following

    for b0 in range(0, batch, 4):
        # past the end the last one is walked again, to the same result
        b1, b2, b3 = min(b0 + 1, batch - 1), min(b0 + 2, batch - 1), min(b0 + 3, batch - 1)
        token0, token1 = np.uint64(first[b0]), np.uint64(first[b1])
        token2, token3 = np.uint64(first[b2]), np.uint64(first[b3])
        seen[:] = 0
        for t in range(length):
            token0, token1 = step(b0, t, token0, 0), step(b1, t, token1, 1)
            token2, token3 = step(b2, t, token2, 2), step(b3, t, token3, 3)
