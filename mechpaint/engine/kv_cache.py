"""Key-value caches along a route.

Hugging Face keeps keys and values in slots, one for each layer. Along a route a layer may run several times, or not at
all, so an empty cache is laid out anew before its first use. There are two layouts: `ExactSlots` and `AveragedSlots`.
"""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, cast, get_args

import torch
from torch import Tensor
from transformers import Cache, DynamicCache
from transformers.cache_utils import CacheLayerMixin, DynamicLayer, DynamicSlidingWindowLayer

from mechpaint.errors import RouteError
from mechpaint.routes.route import Route
from mechpaint.routes.steps import Step, Visit

KV: TypeAlias = Literal["exact", "averaged"]
"""The layouts of a key-value cache; `attach` says what each means."""

Slot: TypeAlias = Any
"""A slot of Hugging Face's: what one layer of a cache holds, of the type that the model's layer needs."""
VisitCaches: TypeAlias = Callable[[Visit], Cache]
"""The cache that a layer gets at a visit, in one forward pass: it answers for
that visit's slot, whatever the layer index."""


class Layout(ABC):
    """The slots that a route needs, and what its visits see of them."""

    route: Route

    @abstractmethod
    def lay_out(self, empty: Sequence[Slot]) -> dict[Visit, Slot]:
        """The slot of every visit, from an empty slot of every layer of the model."""

    @abstractmethod
    def caches(self, slots: Mapping[Visit, Slot], tokens: int) -> VisitCaches:
        """The caches of one forward pass over so many new tokens."""


def layout(kv: str, route: Route) -> Layout:
    """The layout of that name for a route."""
    if kv == "exact":
        return ExactSlots(route)
    if kv == "averaged":
        return AveragedSlots(route)
    raise RouteError(f"kv={kv!r} is not known: give one of {', '.join(map(repr, get_args(KV)))}")


@dataclass(frozen=True, slots=True)
class ExactSlots(Layout):
    """A slot of its own for every visit: with the cache a model computes what it computes without."""

    route: Route

    def lay_out(self, empty: Sequence[Slot]) -> dict[Visit, Slot]:
        """Every visit's slot is a copy of its layer's: sliding windows stay sliding windows."""
        return {visit: copy.deepcopy(empty[visit.layer]) for visit in self.route.visits()}

    def caches(self, slots: Mapping[Visit, Slot], tokens: int) -> VisitCaches:
        """The slots themselves."""
        return lambda visit: Cache(layers=[slots[visit]] * self.route.n_layers)

    def __str__(self) -> str:
        return f"{self.route} with exact slots"


@dataclass(frozen=True, slots=True)
class AveragedSlots(Layout):
    """One slot for every averaged group, with the mean of its members' keys (after rotary) and of their values.

    This is what the code of "Transformer Layers as Painters" (arXiv 2407.09298) does, and an approximation. In the
    prompt's pass each member attends to its own keys and values; in each later step to the group's averaged past and
    its own new key and value, after which the mean of the members' new ones is appended. Single layers and summed
    groups keep exact slots. A group with full attention and sliding windows has a slot for each kind of window, all
    with the same means, so that every member sees as much of the past as its window lets it.
    """

    route: Route

    def lay_out(self, empty: Sequence[Slot]) -> dict[Visit, Slot]:
        """Members of an averaged group share a slot if they have the same window."""
        made: dict[object, Slot] = {}
        slots: dict[Visit, Slot] = {}
        for visit in self.route.visits():
            layer = empty[visit.layer]
            shared = _is_averaged(self.route.steps[visit.step])
            key = (visit.step, *_window(layer, visit)) if shared else (visit,)
            slots[visit] = made.setdefault(key, copy.deepcopy(layer))
        return slots

    def caches(self, slots: Mapping[Visit, Slot], tokens: int) -> VisitCaches:
        """A group's members see its slot, which takes in their mean once the last of them has run."""
        groups = {i: _Group(step, i, slots) for i, step in enumerate(self.route.steps) if _is_averaged(step)}
        if tokens > 1 and any(group.filled for group in groups.values()):
            raise RouteError(
                f'with kv="averaged" the prompt runs at once and then one token at a time, got {tokens} tokens after '
                'the prompt: give them one by one, or use kv="exact"'
            )
        single = ExactSlots(self.route).caches(slots, tokens)

        def at(visit: Visit) -> Cache:
            group = groups.get(visit.step)
            return _MemberCache(group, visit, self.route.n_layers) if group else single(visit)

        return at

    def __str__(self) -> str:
        return f"{self.route} with averaged slots"


class _Group:
    """An averaged group in one forward pass."""

    def __init__(self, step: Step, index: int, slots: Mapping[Visit, Slot]) -> None:
        self.slots = {layer: slots[Visit(index, layer)] for layer in step.layers}
        self._keys: list[Tensor] = []
        self._values: list[Tensor] = []

    @property
    def filled(self) -> bool:
        return any(slot.get_seq_length() > 0 for slot in self.slots.values())

    def take(self, keys: Tensor, values: Tensor) -> None:
        """Take in a member's new keys and values; with the last member's, append the means."""
        if self._keys and (keys.shape, values.shape) != (self._keys[0].shape, self._values[0].shape):
            raise RouteError(
                f"layers {', '.join(map(str, self.slots))} are averaged, but their keys and values differ in shape: "
                f'{tuple(self._keys[0].shape)} and {tuple(keys.shape)}; use kv="exact"'
            )
        self._keys.append(keys)
        self._values.append(values)
        if len(self._keys) == len(self.slots):
            mean_keys, mean_values = torch.stack(self._keys).mean(0), torch.stack(self._values).mean(0)
            for slot in {id(slot): slot for slot in self.slots.values()}.values():
                slot.update(mean_keys, mean_values)


class _MemberCache(Cache):
    """The cache of a member of an averaged group: the group's past, then its own new keys and values."""

    def __init__(self, group: _Group, visit: Visit, n_layers: int) -> None:
        # a slot that grows makes new tensors, so a shallow copy grows without it
        super().__init__(layers=[copy.copy(group.slots[visit.layer])] * n_layers)
        self._group = group

    def update(self, key_states: Tensor, value_states: Tensor, layer_idx: int, *args: Any, **kwargs: Any) -> Any:
        seen = super().update(key_states, value_states, layer_idx, *args, **kwargs)
        self._group.take(key_states, value_states)
        return seen


def _is_averaged(step: Step) -> bool:
    return len(step.layers) > 1 and step.merge == "mean"


_KEYS_AND_VALUES = (DynamicLayer, DynamicSlidingWindowLayer)


def holds_keys_and_values(cache: Cache) -> bool:
    """Check that a cache is filled, with keys and values alone: no states of convolutions or recurrences."""
    slots = cast(list[Slot], cache.layers)
    return all(type(slot) in _KEYS_AND_VALUES and slot.get_seq_length() > 0 for slot in slots)


def _window(slot: Slot, visit: Visit) -> tuple[type, int | None]:
    """The kind of window that a slot has: slots of one kind can be shared."""
    if type(slot) not in _KEYS_AND_VALUES:
        raise RouteError(
            f"layer {visit.layer} keeps a {type(slot).__name__}, not keys and values alone, so its group cannot have "
            'an averaged slot: use kv="exact"'
        )
    window: int | None = getattr(slot, "sliding_window", None)
    return type(cast(object, slot)), window


class RoutedCache(DynamicCache):
    """A cache that has been laid out for a route: the caller's own, which changes its class then.

    It is made by `laid_out` only. The plain model, to which slots by visit mean nothing, is refused.
    """

    layout: Layout
    empty: list[Slot]
    slots: dict[Visit, Slot]

    def update(self, *args: Any, **kwargs: Any) -> Any:
        """Refuse the plain model: under `attach` its layers get caches of their visits instead of this one."""
        raise RouteError(
            f"this key-value cache was filled along {self.layout}, and cannot go on without a route: attach the same "
            "hook set, or start again without past_key_values"
        )

    def get_seq_length(self, layer_idx: int = 0) -> int:
        """The number of tokens seen, by the keys of the first visit that keeps some."""
        try:
            return super().get_seq_length(layer_idx)
        except ValueError as error:
            raise RouteError(
                f"no layer on the route {self.layout.route} keeps keys and values, by which this model counts the "
                "tokens that it has seen: generate with use_past_kv_cache=False"
            ) from error


def laid_out(cache: Cache, layout: Layout) -> Mapping[Visit, Slot]:
    """The slots of a cache along a route: an empty one is laid out, one that this route has filled goes on."""
    # a cache that the plain model has filled is one that the model's own order has filled, and stays the plain model's
    if isinstance(cache, RoutedCache) and cache.layout == layout:
        return cache.slots
    if type(cache) not in (DynamicCache, RoutedCache) or cache.offloading:
        kind = f"{type(cache).__name__}{' with offloading' if getattr(cache, 'offloading', False) else ''}"
        raise RouteError(f"a route needs Hugging Face's default key-value cache, a DynamicCache, and got a {kind}")
    filled = any(map(_is_filled, cache.layers))
    empty = cache.empty if isinstance(cache, RoutedCache) else _slots_of_layers(cache, layout.route.n_layers)
    if not isinstance(cache, RoutedCache) and layout == ExactSlots(Route.identity(layout.route.n_layers)):
        return {visit: empty[visit.layer] for visit in layout.route.visits()}
    if filled:
        by = cache.layout if isinstance(cache, RoutedCache) else "no route"
        raise RouteError(
            f"this key-value cache was filled along {by}, and cannot go on along {layout}: "
            "start again without past_key_values"
        )
    cache.__class__ = RoutedCache
    routed = cast(RoutedCache, cache)
    routed.layout, routed.empty, routed.slots = layout, empty, layout.lay_out(empty)
    routed.layers = list({id(slot): slot for slot in routed.slots.values()}.values())
    return routed.slots


def _slots_of_layers(cache: Cache, n_layers: int) -> list[Slot]:
    """A cache's slots, one for each layer of the model; those that would be made on demand are made."""
    made_on_demand = cache.layer_class_to_replicate
    if made_on_demand is not None:
        cache.layers += [made_on_demand() for _ in range(n_layers - len(cache.layers))]
        cache.layer_class_to_replicate = None
    return cast(list[Slot], cache.layers)


def _is_filled(slot: Slot) -> bool:
    if isinstance(slot, CacheLayerMixin):
        return slot.get_seq_length() > 0
    return any(getattr(slot, "has_previous_state", {}).values())
