"""What comparing a bridge with its module costs a load: wanted are one forward pass of a few tokens, and 2 % of a load.

python -m tests.benchmarks.load_comparison
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from functools import wraps
from typing import Any
from unittest.mock import patch

import torch
from rich.console import Console
from rich.table import Table

import mechpaint as mp
from mechpaint.models import comparison

TIMES = 5


def measured(name: str) -> tuple[float, float, float]:
    """Seconds of one load, of the comparison within it, and of a forward pass of four tokens after it."""
    spent: list[float] = []

    def timed(function: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(function)
        def call(*args: Any) -> Any:
            began = time.perf_counter()
            try:
                return function(*args)
            finally:
                spent.append(time.perf_counter() - began)

        return call

    began = time.perf_counter()
    with (
        patch.object(comparison, "observe", timed(comparison.observe)),
        patch.object(comparison, "check_same", timed(comparison.check_same)),
    ):
        model = mp.load(name)
    load = time.perf_counter() - began
    tokens = torch.arange(1, 5)[None]
    with torch.no_grad():
        model(tokens)
        began = time.perf_counter()
        model(tokens)
    return load, sum(spent), time.perf_counter() - began


def main() -> None:
    """Measure and print."""
    table = Table("model", "load (s)", "comparison (s)", "forward (s)", "2 % of a load and one forward (s)")
    for name in ("smollm2-135m", "gemma-3-270m"):
        measured(name)  # what is imported and read from disk for the first time
        load, compared, forward = (
            statistics.median(c) for c in zip(*(measured(name) for _ in range(TIMES)), strict=True)
        )
        table.add_row(name, f"{load:.2f}", f"{compared:.3f}", f"{forward:.3f}", f"{0.02 * load + forward:.3f}")
    Console().print(table)


if __name__ == "__main__":
    main()
