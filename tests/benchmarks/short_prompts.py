"""Short prompts: visits of a layer on several routes as rows of one call, against each in a call of its own.

python -m tests.benchmarks.short_prompts
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator

import torch
from rich.console import Console
from rich.table import Table
from transformer_lens.model_bridge import TransformerBridge

import mechpaint as mp
from mechpaint.routes.route import Route
from tests.benchmarks.paper_suite import paper_suite

LENGTHS = (1, 2, 4, 8)
TIMES = 3


def rows(model: TransformerBridge, routes: list[Route]) -> Iterator[tuple[str, str, str]]:
    """What was measured for each length: the paper's suite on one prompt, with logits at its last token."""

    def seconds(tokens: torch.Tensor, at_once: int | None) -> float:
        began = time.perf_counter()
        for _ in mp.sweep(model, tokens, routes, positions="last", max_batch_tokens=at_once):
            pass
        return time.perf_counter() - began

    for length in LENGTHS:
        tokens = torch.randint(10, 200_000, (1, length), generator=torch.Generator().manual_seed(length))
        seconds(tokens, None)
        pairs = [(seconds(tokens, 1), seconds(tokens, None)) for _ in range(TIMES)]
        alone, shared = (statistics.median(times) for times in zip(*pairs, strict=True))
        plural = "s" if length > 1 else ""
        yield (
            f"a prompt of {length} token{plural}: each visit in a call of its own over shared calls",
            f"{alone / shared:.2f}  ({alone:.2f} s over {shared:.2f} s)",
            "at least 2",
        )


def main() -> None:
    """Measure and print."""
    model = mp.load("gemma-3-270m")
    table = Table("what", "measured", "wanted", title="Gemma-3-270M, the paper's suite on short prompts")
    for row in rows(model, paper_suite(len(model.blocks))):
        table.add_row(*row)
    Console().print(table)


if __name__ == "__main__":
    main()
