"""Activations of one forward pass along a route, by hook point and visit; in memory, or read lazily from a file."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

from mechpaint.display.sanitize import short
from mechpaint.display.summary import Summarized, Summary
from mechpaint.errors import HookSetError, InputError
from mechpaint.files import written
from mechpaint.routes.route import Route
from mechpaint.routes.steps import Visit
from mechpaint.routes.visits import Visits, nth, visit_of

if TYPE_CHECKING:
    from torch import Tensor

_FORMAT = "mechpaint visit cache 1"


class VisitCache(Summarized):
    """What was read in one forward pass: `cache[point, visit]`, for hook points inside blocks.

    Args:
        route: The route that ran.
        entries: Activations by hook point, `"attn.hook_z"`, and visit.
        mask: `[batch, position]`, 1 at real tokens; None if all were.
    """

    def __init__(self, route: Route, entries: Mapping[tuple[str, Visit], Tensor], mask: Tensor | None = None) -> None:
        self.route = route
        self.mask = mask
        self._entries = entries

    @classmethod
    def of(cls, given: VisitCache | str) -> VisitCache:
        """A cache, or the one that a path names.

        Args:
            given: Either.

        Raises:
            HookSetError: Neither.
            InputError: There is no such file, or it is none that `save` wrote.
        """
        if isinstance(given, VisitCache):
            return given
        if not isinstance(cast(object, given), str):
            raise HookSetError(f"expected session.cache of another run, or the path of a saved one, got {short(given)}")
        return cls.load(given)

    @staticmethod
    def file_of(given: VisitCache | str) -> str:
        """The path of a cache that was given as one.

        Args:
            given: A cache, or the path of one.

        Raises:
            HookSetError: It was given as an object, which another session could not be given.
        """
        if isinstance(given, VisitCache):
            raise HookSetError(
                "activations in memory cannot be part of a run: save them, cache.save(path), and give the path"
            )
        return given

    def __getitem__(self, key: tuple[str, Visit | str]) -> Tensor:
        point, visit = self._checked(key)
        return self._entries[point, visit]

    def __contains__(self, key: object) -> bool:
        return key in self._entries

    def __iter__(self) -> Iterator[tuple[str, Visit]]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def points(self) -> tuple[str, ...]:
        """The hook points that were read."""
        return tuple(dict.fromkeys(point for point, _ in self._entries))

    def visits(self, point: str) -> tuple[Visit, ...]:
        """The visits at which a hook point was read.

        Args:
            point: The hook point inside a block.
        """
        return tuple(sorted(visit for name, visit in self._entries if name == point))

    def _checked(self, key: object) -> tuple[str, Visit]:
        if not isinstance(key, tuple) or len(cast("tuple[object, ...]", key)) != 2:
            raise KeyError(
                f"expected cache[point, visit], such as cache['hook_out', '5#2'], got {short(cast(object, key))}"
            )
        point, visit = cast("tuple[str, Visit | str]", key)
        if point not in self.points:
            raise KeyError(f"{short(point)} was not read: the cache has {', '.join(self.points) or 'nothing'}")
        if not isinstance(visit, Visit):
            asked = visit
            visit, *more = Visits.read(asked).of(self.route)
            if more:
                raise KeyError(f"{asked!r} are {1 + len(more)} visits: expected one, such as {visit!r}")
        if (point, visit) not in self._entries:
            read = ", ".join(f"{v.layer}@{v.step}" for v in self.visits(point))
            raise KeyError(f"{point!r} was not read at {visit.layer}@{visit.step}: it was at {read}")
        return point, visit

    def like(self, point: str, route: Route, visit: Visit) -> Tensor:
        """The activation at the visit that corresponds to one of another route: the same layer for the same time.

        Args:
            point: The hook point inside a block.
            route: The other route.
            visit: One of its visits.

        Raises:
            HookSetError: It was not read there, or its route has no such visit.
        """
        own = visit if route == self.route else visit_of(self.route, visit.layer, nth(route, visit))
        try:
            return self[point, own]
        except KeyError as error:
            raise HookSetError(
                f"nothing to take the place of {point!r} at visit {visit.layer}@{visit.step}: {error.args[0]}"
            ) from None

    def mean(self, over: Literal["batch", "batch and positions"] = "batch and positions") -> VisitCache:
        """The same with means in place of activations, to ablate with. Means are taken in float32.

        Args:
            over: Over the rows, position by position (`"batch"`), or over the positions too. Padding is left out.

        Returns:
            A cache whose activations have length 1 where they were averaged.

        Raises:
            InputError: Attention scores and patterns: their mean over positions is none. Position by position, rows
                that begin with padding.
        """
        if over not in ("batch", "batch and positions"):
            raise InputError(f'expected the mean over "batch" or "batch and positions", got {short(over)}')
        return VisitCache(self.route, {key: self._mean(key[0], value, over) for key, value in self.items()})

    def _mean(self, point: str, value: Tensor, over: str) -> Tensor:
        from mechpaint.routes.edits import BY_QUERY

        if point in BY_QUERY and over != "batch":
            raise InputError(f"{point} has queries and keys: expected its mean over the batch alone, mean('batch')")
        begins_padded = self.mask is not None and not bool(self.mask[:, 0].all())
        if self.mask is not None and (point in BY_QUERY or (over == "batch" and begins_padded)):
            raise InputError(
                f"the mean of {point} over rows that are padded differently is none: give rows of one length"
            )
        mask = value.new_ones(value.shape[:2]) if self.mask is None else self.mask.to(value)
        weights = mask.float().reshape(*mask.shape, *[1] * (value.ndim - 2))
        axes = (0,) if over == "batch" else (0, 1)
        if point in BY_QUERY:
            return value.float().mean(0, keepdim=True).to(value.dtype)
        total = weights.sum(axes, keepdim=True).clamp(min=1)
        return ((value.float() * weights).sum(axes, keepdim=True) / total).to(value.dtype)

    def items(self) -> Iterator[tuple[tuple[str, Visit], Tensor]]:
        """Every point and visit with its activation."""
        return ((key, self._entries[key]) for key in self._entries)

    def save(self, path: str | Path) -> None:
        """Write everything to one safetensors file.

        Args:
            path: The file; it is replaced whole.
        """
        from safetensors import torch as safetensors

        named = {_name(point, visit): value.contiguous() for (point, visit), value in self.items()}
        if self.mask is not None:
            named["mask"] = self.mask.contiguous()
        about = {"format": _FORMAT, "route": json.dumps({"route": str(self.route), "n_layers": self.route.n_layers})}
        with written(Path(path)) as partial:
            cast(Any, safetensors).save_file(named, partial, metadata=about)

    @classmethod
    def load(cls, path: str | Path) -> VisitCache:
        """Open a file that `save` wrote; an activation is read when it is asked for.

        Args:
            path: The file.

        Raises:
            InputError: There is no such file, or it is none that `save` wrote.
        """
        from safetensors import SafetensorError, safe_open

        place = Path(path).expanduser()
        if not place.is_file():
            raise InputError(f"there is no file {str(path)!r}: expected one that VisitCache.save wrote")
        try:
            file: Any = safe_open(str(place), "pt")
        except (SafetensorError, OSError) as error:
            raise InputError(f"{str(path)!r} is no safetensors file: {error}") from None
        about = cast("Mapping[str, str]", file.metadata() or {})
        if about.get("format") != _FORMAT:
            raise InputError(
                f"{str(path)!r} is not one that VisitCache.save wrote: its format is {about.get('format')!r}"
            )
        said = json.loads(about["route"])
        names = set(cast("list[str]", file.keys()))
        mask = file.get_tensor("mask") if "mask" in names else None
        return cls(Route.parse(said["route"], said["n_layers"]), _Lazy(file, names - {"mask"}), mask)

    def _summary(self) -> Summary:
        rows = [(point, f"{len(self.visits(point)):,}") for point in self.points]
        return Summary("Cache", [("route", str(self.route))], ("hook point", "visits"), rows)

    def __repr__(self) -> str:
        return f'VisitCache("{self.route}", {", ".join(self.points) or "nothing"})'


class _Lazy(Mapping[tuple[str, Visit], "Tensor"]):
    """The activations of a file, read one by one."""

    def __init__(self, file: Any, names: set[str]) -> None:
        self._file = file
        self._names = {_key(name): name for name in sorted(names)}

    def __getitem__(self, key: tuple[str, Visit]) -> Tensor:
        return cast("Tensor", self._file.get_tensor(self._names[key]))

    def __iter__(self) -> Iterator[tuple[str, Visit]]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


def _name(point: str, visit: Visit) -> str:
    return f"{visit.step:06d} {visit.layer} {point}"


def _key(name: str) -> tuple[str, Visit]:
    step, layer, point = name.split(" ", 2)
    return point, Visit(int(step), int(layer))
