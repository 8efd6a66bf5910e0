"""Sampling of sequences: batches of Markov chains with different transitions per sequence.

A vectorised implementation and one that numba compiles give the same sequences bit by bit, from the same tables.
"""

# numba infers the types of its kernel and ignores annotations
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
"""Batches of at least this many tokens use numba, if installed. It takes a second to import and compile, once per
process; smaller batches take numpy a few milliseconds."""


class Walk(NamedTuple):
    """Tokens, next tokens, and the count of visits to special rows (0 at ordinary ones)."""

    tokens: Int64[np.ndarray, "batch length"]
    targets: Int64[np.ndarray, "batch length"]
    visits: Int64[np.ndarray, "batch length"]


def walk(
    first: Int64[np.ndarray, " batch"],
    uniforms: Float64[np.ndarray, "batch length"],
    law: AliasTable,
    rows: Int64[np.ndarray, "batch vocab"],
) -> Walk:
    """Sample each sequence from its first token on."""
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
    """Sample with numpy, step by step for all sequences at once."""
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
    """Fill `tokens` from its first row on, and `counts` with the occurrences of each token so far."""
    batch: int = rows.shape[0]
    vocab: int = rows.shape[1]
    starts, threshold, alias = (rows * vocab).ravel(), law.threshold.ravel(), law.alias.ravel()
    sequences, one = np.arange(0, batch * vocab, vocab), np.ones(batch, np.int64)
    seen, at = np.zeros(batch * vocab, np.int64), np.empty(batch, np.int64)
    limit, below = np.empty(batch), np.empty(batch, bool)
    # All operations write into existing arrays. Indices are always in range, and mode="clip" spares numpy the check.
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
    """Transpose in memory, a few rows at a time, since whole columns of a large array do not fit the cache."""
    made = np.empty(values.shape[::-1], values.dtype)
    for start in range(0, len(values), 8):
        made[:, start : start + 8] = values[start : start + 8].T
    return made


@dataclass(frozen=True, eq=False)
class AliasTable:
    """Rows of probabilities as alias tables, for fast sampling.

    A uniform u from [0, 1) gives the point u * columns. Its integer part is a column, which is drawn if the point lies
    below the column's threshold (its index plus the part that it keeps); otherwise its alias is drawn.
    """

    threshold: Float64[np.ndarray, "row column"]
    alias: Int64[np.ndarray, "row column"]

    @classmethod
    def of(cls, rows: Float64[np.ndarray, "row column"]) -> AliasTable:
        """Build the table from rows of non-negative weights, none of them all 0."""
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
        """Draw one column from each of `rows`, by uniform numbers from [0, 1)."""
        # u < 1 never rounds up to the point `columns`: the doubles below it are closer together than those below 1
        points = uniforms * self.threshold.shape[1]
        columns = points.astype(np.int64)
        return np.where(points < self.threshold[rows, columns], columns, self.alias[rows, columns])

    def probabilities(self) -> Float64[np.ndarray, "row column"]:
        """Recover the exact probabilities from the table."""
        columns: int = self.threshold.shape[1]
        kept = self.threshold - np.arange(columns)
        shares = kept.copy()
        for row, aliases, rest in zip(shares, self.alias, 1 - kept, strict=True):
            np.add.at(row, aliases, rest)
        return shares / columns


def _paired(
    shares: Float64[np.ndarray, "row column"],
) -> tuple[Float64[np.ndarray, "row column"], Int64[np.ndarray, "row column"]]:
    """Run Vose's construction for all rows at once: the share that each column keeps, and the alias of the rest.

    Rows are sorted in descending order, with mean 1. Each step finishes one column per row: if the front column has 1
    or more left, it fills up the back one; otherwise the next column fills it up and becomes the front. Either way the
    mean of unfinished columns stays 1, so that one always has enough.
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
    """The numba version of `walk`, compiled on first call; None without numba. No disk cache, since that is pickles."""
    try:
        numba: Any = importlib.import_module("numba")
    except ImportError:  # not installed, or incompatible with this numpy
        return None
    return numba.njit(nogil=True)(_kernel)


@no_type_check  # numba needs the bare function, which the shape checks of the tests would wrap
def _kernel(first, uniforms, threshold, alias, starts, tokens, targets, visits) -> None:
    """Sample four sequences at a time, to hide memory latency. Tables are flat; `starts` are row offsets in them."""
    batch, length = uniforms.shape
    # unsigned, since numba checks whether signed indices count from the end
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
        # past the end, the last sequence is sampled again, with the same result
        b1, b2, b3 = min(b0 + 1, batch - 1), min(b0 + 2, batch - 1), min(b0 + 3, batch - 1)
        token0, token1 = np.uint64(first[b0]), np.uint64(first[b1])
        token2, token3 = np.uint64(first[b2]), np.uint64(first[b3])
        seen[:] = 0
        for t in range(length):
            token0, token1 = step(b0, t, token0, 0), step(b1, t, token1, 1)
            token2, token3 = step(b2, t, token2, 2), step(b3, t, token3, 3)
