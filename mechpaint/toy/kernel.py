"""The walk of `sampling.py` for numba, an optional dependency (the extra `fast`)."""

# numba infers the types, and knows nothing of annotations
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false

from __future__ import annotations

import importlib
from collections.abc import Callable
from functools import cache
from typing import Any, no_type_check

import numpy as np


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
