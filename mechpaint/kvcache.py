"""Key-value cache slots by visit, so that a layer visited twice has two.

Hugging Face keys cache slots by layer index. Under a route a layer may run several times, or not at all, so the slots
of the cache are rebuilt, one for every visit, each of the type that its layer has (sliding window or full).
"""

from __future__ import annotations

import copy
import inspect
from typing import Any

from transformers import Cache
from transformers.cache_utils import CacheLayerMixin

from mechpaint.route import Route, RouteError, Visit

_ROUTE = "mechpaint_route"


class VisitSlots:
    """The slots of one cache under one route. Make it with `VisitSlots.of`."""

    def __init__(self, cache: Cache, route: Route) -> None:
        self._cache = cache
        self._slots = {visit: slot for slot, visit in enumerate(route.visits())}

    @classmethod
    def of(cls, cache: Cache, route: Route) -> VisitSlots:
        """Lay an empty cache out for a route, or go on with one that this route has filled.

        Raises:
            RouteError: The cache holds keys and values that another route, or none, has written.
        """
        filled_by = getattr(cache, _ROUTE, None)
        if filled_by == route:
            return cls(cache, route)
        if any(map(_holds_something, cache.layers)):
            raise RouteError(
                f"this key-value cache was filled along {filled_by or 'no route'}, and cannot go on along {route}: "
                "start again without past_key_values"
            )
        if cache.layers:  # else its slots are made on demand, all of one type
            cache.layers = [copy.deepcopy(cache.layers[visit.layer]) for visit in route.visits()]
        setattr(cache, _ROUTE, route)
        return cls(cache, route)

    def at(self, visit: Visit) -> _Slot:
        """What the layer gets in place of the cache at this visit."""
        return _Slot(self._cache, self._slots[visit])


class _Slot:
    """A cache as one visit sees it: whatever layer index it is asked for, it answers for its own slot."""

    def __init__(self, cache: Cache, slot: int) -> None:
        self._cache = cache
        self._slot = slot

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._cache, name)
        # keys and values, states of convolutions and of recurrences, masks: each has methods of its own
        if not inspect.ismethod(found) or "layer_idx" not in inspect.signature(found).parameters:
            return found

        def for_this_slot(*args: Any, **kwargs: Any) -> Any:
            given = inspect.signature(found).bind_partial(*args, **kwargs)
            given.arguments["layer_idx"] = self._slot
            return found(*given.args, **given.kwargs)

        return for_this_slot


def _holds_something(layer: object) -> bool:
    if isinstance(layer, CacheLayerMixin):
        return bool(layer.get_seq_length() > 0)
    return any(getattr(layer, "has_previous_state", {}).values())
