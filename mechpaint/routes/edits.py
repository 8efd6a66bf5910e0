"""Edits: what an intervention does to an activation, and at which visits."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mechpaint.errors import HookSetError
from mechpaint.routes.route import Route
from mechpaint.routes.steps import Visit
from mechpaint.routes.visits import Selection, Visits

if TYPE_CHECKING:
    from torch import Tensor

BY_HEAD = "attn.hook_z"
"""What each head has gathered, before the output projection: `[batch, position, head, d_head]`."""
BY_QUERY = ("attn.hook_attn_scores", "attn.hook_pattern")
"""Attention scores and patterns: `[batch, head, query, key]`."""


@dataclass(frozen=True, slots=True)
class Given:
    """What a forward pass is given, as far as edits have to fit it.

    Args:
        route: The route that it runs.
        rows: How many rows the batch has.
        positions: How many positions each row has in this pass.
        first: The position of the first of them; more than 0 while generating with a key-value cache.
        mask: `[batch, position]`, 0 at padding, those before `first` included; None if nothing is padding.
        tails: The shape of an activation beyond batch and position, by layer and hook point, for each point that is
            edited: `[head, d_head]` of `"attn.hook_z"`. `[head]` of attention scores and patterns. None where an
            activation is laid out otherwise.
    """

    route: Route
    rows: int
    positions: int
    first: int
    mask: Tensor | None
    tails: Mapping[tuple[int, str], tuple[int, ...] | None]

    @property
    def begins_padded(self) -> bool:
        """Whether some rows begin with padding."""
        return self.mask is not None and not bool(self.mask[:, 0].all())

    @property
    def ends_padded(self) -> bool:
        """Whether some rows end with padding."""
        return self.mask is not None and not bool(self.mask[:, -1].all())

    def tail(self, point: str, visit: Visit) -> tuple[int, ...]:
        """The shape beyond batch and position of what passes a hook point.

        Args:
            point: The hook point inside its block.
            visit: The visit.

        Raises:
            HookSetError: It is laid out otherwise.
        """
        tail = self.tails[visit.layer, point]
        if tail is None:
            raise HookSetError(
                f"what passes {point!r} of layer {visit.layer} is not laid out as [batch, position, ...] in this "
                "model: change another point, such as 'hook_out'"
            )
        return tail

    def check_width(self, width: int, point: str, visit: Visit) -> None:
        """Refuse another number of values at each position.

        Args:
            width: How many there have to be.
            point: The hook point inside its block.
            visit: The visit.

        Raises:
            HookSetError: There are others.
        """
        if math.prod(self.tail(point, visit)) != width:
            raise HookSetError(wrong_width(width, point, self.tail(point, visit)))


def wrong_width(width: int, point: str, tail: Sequence[int]) -> str:
    """An error message for a number of values that a hook point does not have at each position."""
    return f"expected {width} numbers at each position of {point!r}, and in this model there are {list(tail)}"


@dataclass(frozen=True, slots=True)
class Part:
    """The part of an activation that is changed.

    Args:
        positions: Which positions; negative ones count from the last of a forward pass. None for all. Of attention
            scores and patterns these are the queries.
        heads: Which heads; None for all.
    """

    positions: tuple[int, ...] | None = None
    heads: tuple[int, ...] | None = None

    def check(self, point: str, visits: Sequence[Visit], given: Given) -> None:
        """Refuse positions and heads that do not exist.

        Args:
            point: The hook point inside its block.
            visits: The visits at which it will be changed.
            given: The forward pass that is about to run.

        Raises:
            HookSetError: One does not exist, or counts from where some rows have padding.
        """
        if self.heads is not None and point not in (BY_HEAD, *BY_QUERY):
            raise HookSetError(f"{point!r} has no heads: expected {BY_HEAD!r}, or attention scores or patterns")
        for visit in visits:
            tail = given.tail(point, visit)
            for head in self.heads or ():
                if not 0 <= head < tail[0]:
                    raise HookSetError(f"head {head} does not exist: layer {visit.layer} has heads 0 to {tail[0] - 1}")
        check_positions(self.positions, given)

    def put(self, activation: Tensor, changed: Tensor, moment: Moment) -> Tensor:
        """An activation with this part of it replaced.

        Args:
            activation: The activation at a hook point.
            changed: What to put there; of a shape that broadcasts to the activation's.
            moment: Where the forward pass is.
        """
        import torch

        changed = changed.to(activation.dtype).expand_as(activation)
        if self.positions is None and self.heads is None:
            return changed
        position_axis, head_axis = (2, 1) if moment.point in BY_QUERY else (1, 2)
        within = self._within(activation.shape[position_axis], moment.given.first)
        chosen = torch.ones((), dtype=torch.bool, device=activation.device)
        for axis, places in ((position_axis, within), (head_axis, self.heads)):
            if places is not None:
                chosen = chosen & _marked(activation, axis, places)
        return torch.where(chosen, changed, activation)

    def _within(self, length: int, first: int) -> tuple[int, ...] | None:
        """The places of these positions among those of one forward pass."""
        if self.positions is None:
            return None
        places = (p + length if p < 0 else p - first for p in self.positions)
        return tuple(place for place in places if 0 <= place < length)


def check_positions(positions: tuple[int, ...] | None, given: Given) -> None:
    """Refuse positions that do not exist, or that count from where some rows have padding."""
    end = given.first + given.positions
    for position in positions or ():
        if given.ends_padded if position < 0 else given.begins_padded:
            where, other = ("end", "beginning") if position < 0 else ("beginning", "end")
            raise HookSetError(
                f"position {position} counts from the {where}, where some rows are padded: give rows of one length, or "
                f"positions from the {other}"
            )
        if not given.first and not -end <= position < end:
            raise HookSetError(f"position {position} does not exist: the rows have positions 0 to {end - 1}")


def _marked(activation: Tensor, axis: int, places: tuple[int, ...]) -> Tensor:
    """True at some places along one axis; broadcasts to the activation."""
    import torch

    length = activation.shape[axis]
    marked = torch.zeros(length, dtype=torch.bool, device=activation.device)
    marked[list(places)] = True
    return marked.reshape([length if i == axis else 1 for i in range(activation.ndim)])


@dataclass(frozen=True, slots=True)
class Moment:
    """Where a forward pass is when an activation is changed.

    Args:
        point: The hook point inside its block.
        visit: The visit that is running.
        given: What the forward pass was given.
        incoming: The residual stream that the layer reads, `[batch, position, d_model]`; only for a `Change` that
            `needs_incoming`.
    """

    point: str
    visit: Visit
    given: Given
    incoming: Tensor | None = None


class Change(ABC):
    """What becomes of the activation at one hook point. Subclasses are frozen dataclasses: equal ones do the same."""

    @property
    def needs_incoming(self) -> bool:
        """True if it is told what the layer read."""
        return False

    def check(self, point: str, visits: tuple[Visit, ...], given: Given) -> None:  # noqa: B027
        """Refuse a forward pass that it does not fit, before anything runs.

        Args:
            point: The hook point inside its block.
            visits: The visits at which it will be applied.
            given: The forward pass that is about to run.

        Raises:
            HookSetError: It does not fit.
        """

    @abstractmethod
    def apply(self, activation: Tensor, moment: Moment) -> Tensor:
        """The activation that takes the place of one.

        Args:
            activation: What passes the hook point: `[batch, position, ...]`; `[batch, head, query, key]` for attention
                scores and patterns. Not to be written into.
            moment: Where the forward pass is.
        """
        ...


@dataclass(frozen=True, slots=True)
class Edit:
    """A change of an activation at some visits: what an intervention is made of.

    Args:
        point: The hook point inside a block, such as `"attn.hook_z"`.
        which: At which visits: layers, texts such as `"5#2"`, visits, or a filter; None for every visit.
        change: What becomes of the activation there.
    """

    point: str
    which: Selection
    change: Change

    def __post_init__(self) -> None:
        object.__setattr__(self, "which", Visits.read(self.which))

    @property
    def visits(self) -> Visits:
        """The visits, read."""
        return Visits.read(self.which)
