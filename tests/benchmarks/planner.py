"""What the planner forecasts against what is measured, of four models at three sizes each.

    python -m tests.benchmarks.planner [--cpu] [--model NAME]

Forecast twice: of the loaded model, as `--dry-run` does it; and of its configuration alone, as `mechpaint plan` does,
with random weights of one layer. Measured is computing all cells of the run, in between the two. With `--cpu` seconds
are those that the processor spent on this process, for machines on which others work (with one thread: set
OMP_NUM_THREADS=1).
"""

from __future__ import annotations

import argparse
import csv
import random
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import transformers as hf
from rich.console import Console
from rich.table import Table

import mechpaint as mp
from mechpaint.analyses.painters import Painters
from mechpaint.errors import WeightsError
from mechpaint.models.presets import PRESETS
from mechpaint.planning.flops import to_plan
from mechpaint.runs.plans.plan import Cell
from mechpaint.runs.plans.route_plan import RoutePlan, Settings
from mechpaint.runs.plans.routed_model import RoutedModel
from mechpaint.tasks import Facts, IndirectObject, Similarity, Task
from mechpaint.tasks.synthetic import Described

ANALYSIS = Painters(start_layers=(2,), seeds=1)
WORDS = "a dog runs fast over green grass while two old men talk about rain in the small town near the sea".split()


@dataclass(frozen=True)
class Size:
    """A task, and how many items of it."""

    task: Task[Any]
    limit: int | None = None


def sizes(model: str, folder: Path) -> Iterator[Size]:
    """Three of each model: short rows, longer ones, more of them."""
    if model in ("smollm2-135m", "gemma-3-270m"):
        yield Size(Facts(), 6)
        yield Size(IndirectObject(), 16)
        yield Size(Described(8, 48, 2))
    elif model == "minilm":
        for count, words in ((8, 6), (32, 12), (64, 40)):
            yield Size(Similarity(str(_pairs(folder / f"{count}.csv", count, words))))
    else:
        yield Size(Described(4, 8))
        yield Size(Described(16, 24, 4))
        yield Size(Described(40, 48, 1))


def _pairs(path: Path, count: int, words: int) -> Path:
    """Rated pairs of sentences of so many words, more or less."""
    draw = random.Random(count)
    with path.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(("sentence1", "sentence2", "score"))
        for _ in range(count):
            texts = [" ".join(draw.choices(WORDS, k=draw.randint(words // 2 + 1, words))) for _ in range(2)]
            rows.writerow((*texts, draw.random()))
    return path


def llama(folder: Path) -> Path:
    """12 layers of width 512, with random weights and no tokenizer."""
    config = hf.LlamaConfig(
        hidden_size=512,
        intermediate_size=1376,
        num_hidden_layers=12,
        num_attention_heads=8,
        num_key_value_heads=8,
        vocab_size=32000,
    )
    hf.LlamaForCausalLM(config).save_pretrained(folder)
    return folder


def plan(model: Any, name: str, size: Size) -> RoutePlan:
    """What is forecast and run."""
    return RoutePlan.of(ANALYSIS, RoutedModel(model, name), Settings((size.task,), size.limit))


def computed(cells: list[Cell]) -> float:
    """How long computing takes."""
    began = time.perf_counter()
    for cell in cells:
        list(cell.compute(lambda ticks: None))
    return time.perf_counter() - began


def compare(table: Table, name: str, source: str, folder: Path) -> None:
    """A row for each size of a model."""
    loaded, planned = mp.load(source), to_plan(source, None, measured=True)
    for size in sizes(name, folder):
        run = plan(loaded, name, size)
        with_weights = run.estimate()
        measured = computed(run.cells())
        without = plan(planned, name, size).estimate()
        cost = with_weights.costs[0]
        table.add_row(
            name,
            f"{with_weights.items[str(size.task)]} x {str(size.task).partition(':')[0]}",
            f"{cost.layer_calls:,}",
            f"{measured:.2f}",
            f"{with_weights.seconds:.2f}",
            f"{with_weights.seconds / measured:.2f}",
            f"{without.seconds:.2f}",
            f"{without.seconds / measured:.2f}",
        )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--cpu", action="store_true", help="seconds of the processor")
    parser.add_argument("--model", help="only this one")
    given = parser.parse_args()
    columns = ("model", "items", "layer calls", "measured, s", "--dry-run, s", "ratio", "plan, s", "ratio")
    table = Table(*columns, title="forecast over measured (wanted: 0.8 to 1.2)")
    clock = time.process_time if given.cpu else time.perf_counter
    with tempfile.TemporaryDirectory() as made, mock.patch("time.perf_counter", clock):
        folder = Path(made)
        names = ("smollm2-135m", "gemma-3-270m")
        found = {"llama, 12 x 512": str(llama(folder / "llama")), **{name: name for name in names}}
        try:
            found["minilm"] = str(PRESETS["minilm"].folder())
        except WeightsError as error:
            table.caption = f"without minilm: {error}"
        for name, source in found.items():
            if given.model in (None, name):
                compare(table, name, source, folder)
    Console(width=140).print(table)


if __name__ == "__main__":
    main()
