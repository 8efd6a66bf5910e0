"""What a sweep over many routes takes of memory, against one over few. `python -m tests.benchmarks.memory` prints it.

The most memory that a process has had never goes down, so each sweep has a process of its own.
"""

from __future__ import annotations

import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass

import torch
from rich.console import Console
from rich.table import Table

import mechpaint as mp
from mechpaint.analyses.painters import suite
from mechpaint.routes.route import Route
from tests.benchmarks.most_memory import most_memory

ROWS, LENGTH = 32, 32
FEW = ("0-17", "0-3 14-17", "0-3 (4-13)x3 14-17", "0-3 13-4 14-17", "0-3 9x10 14-17")


@dataclass(frozen=True)
class Peak:
    """The most memory that a process has had, in bytes: with the model loaded and asked once, and after a sweep."""

    before: int
    after: int


def peak_of_a_sweep(texts: tuple[str, ...]) -> Peak:
    """Sweep Gemma-3-270M over routes, in this process.

    Args:
        texts: The routes, as text.
    """
    model = mp.load("gemma-3-270m")
    n_layers = len(model.blocks)
    tokens = torch.randint(10, 200_000, (ROWS, LENGTH), generator=torch.Generator().manual_seed(0))
    _sweep(model, tokens, [Route.identity(n_layers)])
    before = most_memory()
    _sweep(model, tokens, [Route.parse(text, n_layers) for text in texts])
    return Peak(before, most_memory())


def _sweep(model: object, tokens: torch.Tensor, routes: list[Route]) -> None:
    for _ in mp.sweep(model, tokens, routes, positions="last"):
        pass


def many() -> tuple[str, ...]:
    """All distinct routes of the painters' suite at 18 layers."""
    routes = (variant.hook_set(18).route(18) for variant in suite(18))
    return tuple(dict.fromkeys(str(route) for route in (Route.identity(18), *routes)))


def main() -> None:
    """Measure and print."""
    table = Table("routes", "with the model, GB", "at its peak, GB", title=f"Gemma-3-270M, {ROWS} x {LENGTH} tokens")
    found: list[Peak] = []
    for texts in (FEW, many()):
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as alone:
            found.append(alone.submit(peak_of_a_sweep, texts).result())
        table.add_row(str(len(texts)), f"{found[-1].before / 1e9:.3f}", f"{found[-1].after / 1e9:.3f}")
    few, more = found
    table.add_row("many over few", "", f"{more.after / few.after:.3f} (wanted: at most 1.1)")
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
