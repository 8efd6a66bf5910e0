"""Times this library against its peers and writes tables: `python -m tests.benchmarks.peers`.

`make bench-peers` does it in an environment that has all peers.
"""

from __future__ import annotations

import argparse
import sys
from importlib.metadata import version
from pathlib import Path

import torch
from transformers.models.gemma3.modeling_gemma3 import Gemma3DecoderLayer

from mechpaint.files import write_text
from mechpaint.models.presets import PRESETS
from tests.benchmarks.peers.measuring import Work, measure, our_peaks
from tests.benchmarks.peers.peer import HOMES
from tests.benchmarks.peers.routes import SINGLE, together
from tests.benchmarks.peers.tables import Findings, markdown

STRONGEST = "layer list"
ROWS, LENGTH = 4, 64


def positive(text: str) -> int:
    """A whole number from 1 on."""
    if (number := int(text)) < 1:
        raise argparse.ArgumentTypeError(f"expected 1 or more, got {number}")
    return number


def options() -> argparse.Namespace:
    """What was asked for on the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.peers", description=__doc__)
    parser.add_argument("--peers", nargs="+", choices=list(HOMES), default=list(HOMES), help="by default all")
    parser.add_argument("--turns", type=positive, default=9, help="how often a single route is timed (default: 9)")
    parser.add_argument(
        "--every", type=positive, default=6,
        help=f"peers other than {STRONGEST!r} run every so-manieth of many routes, 20 at least (default: 6; 1 for all)",
    )  # fmt: skip
    parser.add_argument("--quick", action="store_true", help="three turns, and samples of many routes for all")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the tables there too")
    return parser.parse_args()


def main() -> None:
    """Measure, print, and write."""
    asked = options()
    torch.manual_seed(0)
    tokens = torch.randint(10, 200_000, (ROWS, LENGTH), generator=torch.Generator().manual_seed(0))
    turns = 3 if asked.quick else asked.turns
    work = Work(PRESETS["gemma-3-270m"].folder(), Gemma3DecoderLayer, tokens, SINGLE, together(), turns)
    found = {}
    for name in asked.peers:
        print(f"{name} …", file=sys.stderr)
        found[name] = measure(name, work, 1 if name == STRONGEST and not asked.quick else asked.every)
    setting = (
        f"Gemma-3-270M in float32, {ROWS} x {LENGTH} tokens, logits at the last position of each sequence for all. "
        f"torch {torch.__version__}, transformers {version('transformers')}, CPU, threads: {torch.get_num_threads()}. "
        f"Turns of single routes: {turns}."
    )
    text = markdown(Findings(setting, work, found, our_peaks(work), version("mechpaint")))
    print(text)
    if asked.out:
        write_text(asked.out, text)


if __name__ == "__main__":
    main()
