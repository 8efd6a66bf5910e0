"""Walker's alias method: a draw from any finite law takes one uniform number, one comparison and two look-ups."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int64


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
