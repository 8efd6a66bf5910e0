"""A large model of random weights on an accelerator: the paper's suite, tokens a second, the share of the peak rate.

    python -m tests.benchmarks.accelerator --model llama-2-7b --device cuda --dtype bfloat16 --on h100

What mechpaint's documentation says of accelerators is calculated; this measures it where there is one. On a CPU, with
the configuration of a small model and without `--on`, it shows that it runs.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence

import torch
import transformers as hf
from rich.console import Console
from rich.table import Table
from transformer_lens.model_bridge import TransformerBridge

import mechpaint as mp
from mechpaint.planning.accelerators import accelerator
from mechpaint.planning.flops import SHAPES, Work
from mechpaint.routes.prefix_tree import PrefixTree
from tests.benchmarks.paper_suite import paper_suite


def random_model(name: str, device: str, dtype: str) -> TransformerBridge:
    """A model with random weights, made where it will be.

    Args:
        name: One of `SHAPES`, or a folder with a `config.json`.
        device: Where.
        dtype: Its precision.
    """
    shape = SHAPES.get(name)
    config = hf.AutoConfig.for_model(**shape) if shape else hf.AutoConfig.from_pretrained(name)
    with torch.device(device):
        return mp.load(hf.AutoModelForCausalLM.from_config(config, dtype=getattr(torch, dtype)))


def seconds(model: TransformerBridge, tokens: torch.Tensor, tree: PrefixTree, at_once: int | None) -> float:
    """How long a sweep takes, until the device is done.

    Args:
        model: The model.
        tokens: The batch.
        tree: The routes.
        at_once: Up to how many tokens calls are shared; None for as many as pay.
    """
    began = time.perf_counter()
    for _, logits in mp.sweep(model, tokens, tree, positions="last", max_batch_tokens=at_once):
        logits.flatten()[0].item()  # waits for the device
    return time.perf_counter() - began


def rows(model: TransformerBridge, shape: tuple[int, int], peak: float | None) -> list[tuple[str, ...]]:
    """What was measured of one batch: with calls that are shared, and without.

    Args:
        model: The model.
        shape: Rows and tokens.
        peak: The device's highest rate, in floating-point operations a second.
    """
    device = torch.device(str(model.cfg.device))
    tree = PrefixTree(paper_suite(len(model.blocks)))
    tokens = torch.randint(10, int(model.cfg.d_vocab), shape, generator=torch.Generator().manual_seed(0)).to(device)
    flops = sum(times * each.flops for times, each in Work(model).sweep(tree, *shape, scored=shape[0]))
    found: list[tuple[str, ...]] = []
    seconds(model, tokens, PrefixTree(tree.routes[:2]), None)
    for label, at_once in (("shared", None), ("each visit alone", 1)):
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
        took = seconds(model, tokens, tree, at_once)
        memory = f"{torch.cuda.max_memory_allocated(device) / 1e9:.1f}" if device.type == "cuda" else ""
        rate = tree.layer_calls * tokens.numel() / len(model.blocks) / took
        share = f"{flops / took / peak:.2f}" if peak else ""
        found.append((f"{shape[0]} x {shape[1]}", label, f"{took:.2f}", f"{rate:,.0f}", share, memory))
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.accelerator", description=__doc__)
    parser.add_argument("--model", default="llama-2-7b", help="llama-2-7b, -13b, -70b, or a folder with a config.json")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--dtype", default="bfloat16")
    parser.add_argument("--on", help="the accelerator's name, as `mechpaint plan` knows it, for the share of its peak")
    parser.add_argument("--batch", nargs="+", default=["1x8", "4x64", "32x64", "8x512"], help="rows x tokens")
    given = parser.parse_args(arguments)
    model = random_model(given.model, given.device, given.dtype)
    peak = accelerator(given.on).peak[given.dtype] if given.on else None
    table = Table(
        "batch", "layer calls", "seconds", "tokens a second through the whole model", "of the peak", "memory, GB",
        title=f"{given.model}, random weights, {given.dtype}, {given.device}: the paper's suite",
    )  # fmt: skip
    for batch in given.batch:
        wide, long = map(int, batch.split("x"))
        for row in rows(model, (wide, long), peak):
            table.add_row(*row)
    Console().print(table)


if __name__ == "__main__":
    main()
