"""lm-eval's aggregations by a name, so that what is written down can be aggregated again without the task."""

from __future__ import annotations

import hashlib
import importlib.util
import inspect
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeAlias

Aggregation: TypeAlias = Callable[[Sequence[Any]], float]


def name_of(aggregation: Aggregation) -> str:
    """The name that lm-eval has registered a function by; or, of a task's own function, `FILE:NAME`.

    Args:
        aggregation: One of those of `task.aggregation()`.

    Returns:
        Empty for what has no name of its own, such as a lambda.
    """
    from lm_eval.api.registry import AGGREGATION_REGISTRY

    registered: dict[Any, str] = {function: name for name, function in dict(AGGREGATION_REGISTRY).items()}
    if aggregation in registered:
        return registered[aggregation]
    name = str(getattr(aggregation, "__name__", ""))
    if not inspect.isfunction(aggregation) or not name.isidentifier():
        return ""
    return f"{inspect.getfile(aggregation)}:{name}"


def aggregation_of(name: str) -> Aggregation | None:
    """The function of a name that `name_of` gave; None where it has none, or the file is no longer there.

    Args:
        name: Its name.
    """
    from lm_eval.api.registry import AGGREGATION_REGISTRY

    if name in AGGREGATION_REGISTRY:
        found: Any = AGGREGATION_REGISTRY[name]
        return found
    file, colon, function = name.rpartition(":")
    if not colon or not Path(file).is_file():
        return None
    module_name = f"mechpaint_lm_eval_{hashlib.sha256(file.encode()).hexdigest()[:16]}"
    spec: Any = importlib.util.spec_from_file_location(module_name, file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return getattr(module, function, None)
