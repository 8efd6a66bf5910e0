"""The walk that makes sequences: batches of Markov chains whose law differs from sequence to sequence.

Two implementations give the same sequences, bit by bit, as both look up the same numbers in the same tables: a
vectorised one, and the one of `kernel.py` that numba compiles.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float64, Int64

from mechpaint.toy import kernel
from mechpaint.toy.alias import AliasTable

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
    """Walk each sequence from its first token on.

    Args:
        first: The first token of each sequence.
        uniforms: Numbers from [0, 1), one a step.
        law: What may follow; `[row, vocab]`. Its first `vocab` rows are ordinary, those after them special.
        rows: For each sequence and token, the row of `law` from which the next token is drawn.
    """
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
