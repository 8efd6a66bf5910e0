"""lm-eval's aggregations by a name, so that what is written down can be aggregated again without the task."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

Aggregation: TypeAlias = Callable[[Sequence[Any]], float]

_OWN = "lm_eval."


def name_of(aggregation: Aggregation) -> str:
    """The name that lm-eval has registered a function by; or `MODULE:NAME` where one of its tasks brings it.

    Args:
        aggregation: One of those of `task.aggregation()`.

    Returns:
        Empty for all others, such as a function of a user's own file: a run folder names no code that is not lm-eval's.
    """
    from lm_eval.api.registry import AGGREGATION_REGISTRY

    registered: dict[Any, str] = {function: name for name, function in dict(AGGREGATION_REGISTRY).items()}
    if aggregation in registered:
        return registered[aggregation]
    named = inspect.isfunction(aggregation) and aggregation.__module__.startswith(_OWN)
    return f"{aggregation.__module__}:{aggregation.__qualname__}" if named else ""


def aggregation_of(name: str) -> Aggregation | None:
    """The function of a name that `name_of` gave; None where it is empty, or lm-eval no longer has it.

    Args:
        name: Its name.
    """
    from lm_eval.api.registry import AGGREGATION_REGISTRY

    if name in AGGREGATION_REGISTRY:
        found: Any = AGGREGATION_REGISTRY[name]
        return found
    module, _, function = name.rpartition(":")
    if not module.startswith(_OWN):
        return None
    try:
        return getattr(importlib.import_module(module), function, None)
    except ImportError:
        return None
