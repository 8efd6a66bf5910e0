"""The changes that interventions are made of: nothing, a mean, another run's, a multiple, a sum, no attention."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NoReturn

from mechpaint.errors import HookSetError
from mechpaint.routes.edits import BY_QUERY, Change, Given, Moment, Part, check_positions
from mechpaint.routes.steps import Visit
from mechpaint.routes.visit_cache import VisitCache

if TYPE_CHECKING:
    from torch import Tensor

LAYER = "hook_out"
"""A layer's output, its residual connection included."""


@dataclass(frozen=True)
class PartChange(Change):
    """A change of some positions and heads.

    Args:
        part: Which.
        added: True to change what a layer adds to the residual stream, in place of the activation itself.
    """

    part: Part = field(default_factory=Part)
    added: bool = False

    @property
    def needs_incoming(self) -> bool:
        """True if it changes what a layer adds."""
        return self.added

    def check(self, point: str, visits: tuple[Visit, ...], given: Given) -> None:
        """Refuse positions and heads that do not exist."""
        self.part.check(point, visits, given)

    def apply(self, activation: Tensor, moment: Moment) -> Tensor:
        """The activation with the part replaced."""
        if moment.incoming is None or not self.added:
            return self.part.put(activation, self.value(activation, moment), moment)
        update = self.value(activation - moment.incoming, moment)
        return self.part.put(activation, moment.incoming + update.to(activation.dtype), moment)

    @abstractmethod
    def value(self, activation: Tensor, moment: Moment) -> Tensor:
        """What to put in the part's place; of a shape that broadcasts to the activation's."""
        ...


@dataclass(frozen=True)
class Zero(PartChange):
    """Nothing in its place."""

    def value(self, activation: Tensor, moment: Moment) -> Tensor:
        """Zeros."""
        return activation.new_zeros(())


@dataclass(frozen=True)
class BatchMean(PartChange):
    """The mean over the rows of the batch, position by position; taken in float32."""

    def check(self, point: str, visits: tuple[Visit, ...], given: Given) -> None:
        """Refuse a single row, whose mean is itself, and rows of different length."""
        super().check(point, visits, given)
        if given.rows < 2:
            raise HookSetError(
                "the mean over the rows of a batch of one row is that row: give several rows, or a cache of other "
                "texts, by=session.cache.mean()"
            )
        if given.mask is not None:
            raise HookSetError("the mean over rows that are padded differently is none: give rows of one length")

    def value(self, activation: Tensor, moment: Moment) -> Tensor:
        """The mean, of length 1 along the rows."""
        return activation.float().mean(0, keepdim=True)


@dataclass(frozen=True)
class Scaled(PartChange):
    """A multiple of itself.

    Args:
        by: The factor.
    """

    by: float = 1.0

    def value(self, activation: Tensor, moment: Moment) -> Tensor:
        """The multiple."""
        return activation * self.by


@dataclass(frozen=True)
class Taken(PartChange):
    """What another run had at the same hook point and the corresponding visit.

    Args:
        source: The other run's activations, or means of them.
    """

    source: VisitCache | None = None

    def check(self, point: str, visits: tuple[Visit, ...], given: Given) -> None:
        """Refuse a run of other rows, of another length, or of a model with other widths."""
        super().check(point, visits, given)
        if given.first:
            return  # a step of generating: the prompt was checked
        for visit in visits:
            value = self._value(point, visit, given)
            self._check_shape(value, point, given.tail(point, visit), given)
            if value.shape[_positions_axis(point)] > 1:
                self._check_padding(value.shape[0], given)

    def _check_shape(self, value: Tensor, point: str, tail: tuple[int, ...], given: Given) -> None:
        by_query = point in BY_QUERY
        if value.ndim != (4 if by_query else 2 + len(tail)) or not value.is_floating_point():
            raise HookSetError(f"what was read at {point!r} is {_kind(value)}: not what a run of this model reads")
        rows, positions = value.shape[0], value.shape[_positions_axis(point)]
        if rows not in (1, given.rows) or positions not in (1, given.positions):
            raise HookSetError(
                f"what was read at {point!r} has {rows} rows of {positions} positions, and this run has "
                f"{given.rows} of {given.positions}: expected the same, or means (cache.mean())"
            )
        rest = (value.shape[1], value.shape[3]) if by_query else tuple(value.shape[2:])
        expected = (*tail, given.positions) if by_query else tail
        if rest != expected:
            raise HookSetError(
                f"what was read at {point!r} is {_kind(value)}, and this run has {list(expected)} there beyond batch "
                "and position: expected what a run of the same model read"
            )

    def _check_padding(self, rows: int, given: Given) -> None:
        own = None if self.source is None else self.source.mask
        one_for_all = rows == 1 and own is None and not given.begins_padded
        if not one_for_all and not _same_mask(own, given.mask):
            raise HookSetError("the two runs do not have their padding at the same places: give rows padded alike")

    def _value(self, point: str, visit: Visit, given: Given) -> Tensor:
        if self.source is None:
            raise HookSetError("no activations to take the place of others: expected a VisitCache")
        return self.source.like(point, given.route, visit)

    def value(self, activation: Tensor, moment: Moment) -> Tensor:
        """The other run's activation; this one's at tokens that it did not have."""
        value = self._value(moment.point, moment.visit, moment.given).to(activation)
        beyond = moment.given.first > 0 and value.shape[_positions_axis(moment.point)] > 1
        return activation if beyond else value


def _positions_axis(point: str) -> int:
    return 2 if point in BY_QUERY else 1


def _kind(value: Tensor) -> str:
    return f"{list(value.shape)} of {str(value.dtype).removeprefix('torch.')}"


def _same_mask(one: Tensor | None, other: Tensor | None) -> bool:
    if one is None or other is None:
        return one is other
    return one.shape == other.shape and bool((one.to(other.device) == other).all())


@dataclass(frozen=True)
class Added(PartChange):
    """Itself and a direction.

    Args:
        direction: `[d_model]`, the factor included.
    """

    direction: Direction | None = None

    def check(self, point: str, visits: tuple[Visit, ...], given: Given) -> None:
        """Refuse a direction of another width."""
        super().check(point, visits, given)
        width = 0 if self.direction is None else len(self.direction.values)
        for tail in {given.tail(point, visit) for visit in visits}:
            if tail != (width,):
                raise HookSetError(
                    f"the direction has {width} numbers, and what passes {point!r} has {list(tail)} at each position"
                )

    def value(self, activation: Tensor, moment: Moment) -> Tensor:
        """The sum."""
        return activation if self.direction is None else activation + self.direction.values.to(activation)


@dataclass(frozen=True, eq=False)
class Direction:
    """A vector of the residual stream, compared by identity.

    Args:
        values: `[d_model]`.
    """

    values: Tensor


@dataclass(frozen=True)
class Unattended(Change):
    """No attention from some positions to others: their scores become minus infinity, and the rest share the attention.

    Args:
        queries: The positions that look; None for all.
        keys: The positions that they do not see.
        heads: Which heads; None for all.
    """

    queries: tuple[int, ...] | None
    keys: tuple[int, ...]
    heads: tuple[int, ...] | None = None

    def check(self, point: str, visits: tuple[Visit, ...], given: Given) -> None:
        """Refuse positions and heads that do not exist."""
        Part(self.queries, self.heads).check(point, visits, given)
        check_positions(self.keys, given)

    def apply(self, activation: Tensor, moment: Moment) -> Tensor:
        """The scores with these edges at the lowest number there is."""
        import torch

        lowest = torch.finfo(activation.dtype).min
        keys = [k + activation.shape[-1] if k < 0 else k for k in self.keys]
        blocked = activation.clone()
        blocked[..., [k for k in keys if k < activation.shape[-1]]] = lowest
        changed = Part(self.queries, self.heads).put(activation, blocked, moment)
        if bool((_blind(changed, lowest) & ~_blind(activation, lowest)).any()):
            _refuse_blind(keys)
        return changed


def _blind(scores: Tensor, lowest: float) -> Tensor:
    """True where a position has nothing to attend to: its attention would be spread over what it may not see."""
    return (scores.detach() <= lowest / 2).all(-1)


def _refuse_blind(keys: Sequence[int]) -> NoReturn:
    raise HookSetError(
        f"some position sees nothing but the positions {', '.join(map(str, keys))}, which it is not to see: name the "
        "queries, such as queries=-1"
    )
