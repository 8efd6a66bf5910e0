"""Activation patching as one sweep, against TransformerLens's loops over forward passes. In one run, in turns.

python -m tests.benchmarks.patching
"""

from __future__ import annotations

import time
from collections.abc import Callable

import torch
from rich.console import Console
from rich.table import Table
from transformer_lens import patching as theirs

import mechpaint as mp
from mechpaint import patching

CLEAN = "When Mary and John went to the store, John gave a drink to"
CORRUPTED = "When Mary and John went to the store, Mary gave a drink to"
WANTED = {"position": 3.0, "head": 4.0}


def timed(work: Callable[[], torch.Tensor]) -> tuple[float, torch.Tensor]:
    """Seconds, and the result."""
    began = time.perf_counter()
    made = work()
    return time.perf_counter() - began, made


@torch.no_grad()
def main() -> None:
    """Measure and print."""
    model = mp.load("smollm2-135m")
    clean, corrupted = model.to_tokens(CLEAN), model.to_tokens(CORRUPTED)
    metric = patching.logit_difference(model, " Mary", " John")
    _, cache = model.run_with_cache(clean)
    functions = {
        "position": theirs.get_act_patch_resid_pre,
        "head": theirs.get_act_patch_attn_head_out_all_pos,
    }
    table = Table("patched", "patches", "TransformerLens (s)", "mechpaint (s)", "ratio", "wanted", "values apart")
    for over, function in functions.items():
        calls: list[int] = []

        def ours(over: str = over, calls: list[int] = calls) -> torch.Tensor:
            return patching.activation_patching(model, clean, corrupted, metric, over=over, advance=calls.append).values

        def loop(function: Callable[..., torch.Tensor] = function) -> torch.Tensor:
            return function(model, corrupted, cache, lambda logits: metric(logits[:, -1])).cpu()

        (mine, values), (other, expected) = timed(ours), timed(loop)
        table.add_row(
            f"{over}: {sum(calls):,} layer calls, {values.numel() * model.cfg.n_layers:,} there",
            f"{values.numel():,}",
            f"{other:.1f}",
            f"{mine:.1f}",
            f"{other / mine:.1f}",
            f"{WANTED[over]:.0f}",
            f"{float((values - expected).abs().max()):.1e}",
        )
    Console(width=140).print(table)


if __name__ == "__main__":
    main()
