"""Rows that begin alike, as trees of tokens: each distinct beginning is a node, and runs once.

In a causal model the residual stream at a position depends on the tokens up to there alone, on every route. So rows
that begin alike are packed into one row in which what they share stands once:

    the cat sat        the cat sat slept dog
    the cat slept  ->   0   1   2    2    1     positions
    the dog

A node's descendants stand right behind it, so the ancestors that it may attend to are told by two numbers a node.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, TypeAlias, cast

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

PAIRS_A_TOKEN = 4
"""The pairs of positions, over the width of the model, whose attention takes as long as the rest of a layer on one
token: measured on a CPU."""

WORTHWHILE = 0.9
"""The share of the rows' cost above which rows are left as they are."""


_TRIED = 4
"""The lengths of packed rows that are tried, besides the shortest."""

_Group: TypeAlias = tuple[int, int, int]
"""Rows that are packed together: the first in their order, the end, and how many nodes they have."""


@dataclass(frozen=True, slots=True, eq=False)
class TokenTree:
    """Rows packed into fewer positions. Unused ones at the ends of packed rows repeat the row's first token.

    Args:
        tokens: The token at each node.
        positions: Where each node stands in its own rows.
        ends: The index behind each node's last descendant, in its packed row.
        index: For each position of the rows its node, counted over all packed rows; -1 at padding.
        nodes: The distinct beginnings, which may stand in several packed rows.
    """

    tokens: Int[Tensor, "packed slot"]
    positions: Int[Tensor, "packed slot"]
    ends: Int[Tensor, "packed slot"]
    index: Int[Tensor, "row position"]
    nodes: int

    @classmethod
    def of(cls, tokens: Int[Tensor, "row position"], mask: Int[Tensor, "row position"] | None, price: int) -> TokenTree:
        """Pack rows; attention over `price` pairs of positions costs as much as a token."""
        whole = torch.ones_like(tokens) if mask is None else mask
        lengths = cast("list[int]", cast(Any, whole.sum(dim=1)).tolist())
        every = cast("list[list[int]]", cast(Any, tokens).tolist())
        rows = [row[:length] for row, length in zip(every, lengths, strict=True)]
        order = sorted(range(len(rows)), key=rows.__getitem__)
        shared = [0, *(alike(rows[a], rows[b]) for a, b in pairwise(order))]
        groups = _groups([lengths[i] for i in order], shared, price)
        return _packed(rows, order, shared, *_bins(groups, price), tokens)

    def allowed(self) -> Bool[Tensor, "packed query key"]:
        """Where the key is the query's own node, or an ancestor of it."""
        places = torch.arange(self.tokens.shape[1], device=self.tokens.device)
        return (places <= places[:, None]) & (places[:, None] < self.ends[:, None, :])

    def at(
        self, residual: Float[Tensor, "packed slot d_model"], nodes: Int[Tensor, "*some"]
    ) -> Float[Tensor, "*some d_model"]:
        """The residual streams at some nodes, as `index` counts them; 0 at padding."""
        nodes = nodes.to(residual.device)
        streams = residual.flatten(0, 1)[nodes.clamp(min=0)]
        return streams.masked_fill_((nodes < 0).unsqueeze(-1), 0)


def shareable(
    tokens: Int[Tensor, "row position"], mask: Int[Tensor, "row position"] | None, width: int
) -> TokenTree | None:
    """The rows packed, where this saves enough; padding, if there is any, must be on the right."""
    if len(tokens) == 1 or (mask is not None and not _padded_on_the_right(mask)):
        return None
    price = PAIRS_A_TOKEN * width
    tree = TokenTree.of(tokens, mask, price)
    packed, rows = (_cost(len(some), some.shape[1], price) for some in (tree.tokens, tokens))
    return tree if packed <= WORTHWHILE * rows else None


def best_length(shared: int, price: int) -> int:
    """The length of packed rows, a few tokens of which all of it shares, that costs least for each of the others."""
    # the least of (shared + n + (shared + n)^2 / price) / n
    return shared + math.isqrt(shared * (shared + price))


def distinct(rows: Sequence[Sequence[int]]) -> int:
    """How many distinct beginnings some rows have."""
    order = sorted(map(tuple, rows))
    return sum(map(len, order)) - sum(alike(a, b) for a, b in pairwise(order))


def _padded_on_the_right(mask: Int[Tensor, "row position"]) -> bool:
    real = mask != 0
    return bool(real[:, 0].all()) and bool((real[:, 1:] <= real[:, :-1]).all())


def _cost(rows: int, length: int, price: int) -> float:
    """What a layer costs on so many rows of this length, in tokens."""
    return rows * length * (1 + length / price)


def alike(first: Sequence[int], second: Sequence[int]) -> int:
    """How many tokens two rows share at their beginnings."""
    both = min(len(first), len(second))
    if first[:both] == second[:both]:
        return both
    low, high = 0, both - 1
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if first[:middle] == second[:middle] else (low, middle - 1)
    return low


def _groups(lengths: Sequence[int], shared: Sequence[int], price: int) -> list[_Group]:
    """The rows, which are in order, cut into groups to be packed together.

    Two neighbours become one while what they share costs more than the attention between their rests.
    """
    nodes, begins, ends = [*lengths], [*range(len(lengths))], [*range(1, len(lengths) + 1)]
    for i in sorted(range(1, len(lengths)), key=lambda i: -shared[i]):
        first, end, both = begins[i - 1], ends[i], shared[i]
        a, b = nodes[first], nodes[i]
        if a + b - both <= best_length(both, price):
            nodes[first], ends[first], begins[end - 1] = a + b - both, end, first
    groups: list[_Group] = []
    while not groups or groups[-1][1] < len(lengths):
        first = groups[-1][1] if groups else 0
        groups.append((first, ends[first], nodes[first]))
    return groups


def _bins(groups: Sequence[_Group], price: int) -> tuple[list[list[_Group]], int]:
    """The groups of each packed row, and the rows' length: of some lengths, the one that costs least."""
    most, every = max(nodes for _, _, nodes in groups), sum(nodes for _, _, nodes in groups)
    fewest = -(-every // most)
    lengths = sorted({most, *(max(most, -(-every // rows)) for rows in range(max(1, fewest - _TRIED), fewest))})
    packed = [(_first_fit(groups, length), length) for length in lengths]
    return min(packed, key=lambda one: _cost(len(one[0]), one[1], price))


def _first_fit(groups: Sequence[_Group], length: int) -> list[list[_Group]]:
    """Each group goes into the first row that has room for it, largest first."""
    rows: list[list[_Group]] = []
    room: list[int] = []
    for group in sorted(groups, key=lambda group: -group[2]):
        at = next((i for i, left in enumerate(room) if left >= group[2]), len(rows))
        if at == len(rows):
            rows.append([])
            room.append(length)
        rows[at].append(group)
        room[at] -= group[2]
    return rows


def _packed(
    rows: Sequence[Sequence[int]],
    order: Sequence[int],
    shared: Sequence[int],
    bins: Sequence[Sequence[_Group]],
    length: int,
    tokens: Int[Tensor, "row position"],
) -> TokenTree:
    slots = torch.zeros((4, len(bins), length), dtype=torch.long)
    packed, positions, ends, _ = slots
    ends[:] = torch.arange(1, length + 1)
    index = torch.full(tuple(tokens.shape), -1)
    for number, some in enumerate(bins):
        at = 0
        for first, end, nodes in some:
            path, close = torch.empty(0, dtype=torch.long), at + nodes
            for nth in range(first, end):
                i, both = order[nth], shared[nth] if nth > first else 0
                row = rows[i]
                new = torch.arange(at, at + len(row) - both)
                packed[number, new] = torch.tensor(row[both:], dtype=torch.long)
                positions[number, new] = torch.arange(both, len(row))
                ends[number, path[both:]] = at
                path = torch.cat([path[:both], new])
                ends[number, new] = close
                index[i, : len(row)] = path + number * length
                at += len(new)
        packed[number, at:] = packed[number, 0]
    distinct = len(rows[order[0]]) + sum(len(rows[i]) - both for i, both in zip(order[1:], shared[1:], strict=True))
    device = tokens.device
    return TokenTree(packed.to(device), positions.to(device), ends.to(device), index.to(device), distinct)
