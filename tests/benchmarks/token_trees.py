"""Rows that begin alike: token trees against the same sweeps over rows, by task.

    python -m tests.benchmarks.token_trees --data FOLDER --items 8 --routes 4

FOLDER holds hellaswag.jsonl, arc_easy.jsonl, arc_challenge.jsonl and lambada_openai.jsonl. SmolLM2-135M is asked the
same items under the same routes of the painters' suite, spread evenly. Rows have the batches and the unembeddings that
they had before there were trees. Both take turns; the comparison that is made once a model is on neither side.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

from rich.console import Console
from rich.table import Table
from transformer_lens.model_bridge import TransformerBridge

import mechpaint as mp
from mechpaint.engine.batch_size import optimal_batch_rows
from mechpaint.engine.sweep import Sweep
from mechpaint.routes.prefix_tree import PrefixTree
from mechpaint.scoring.encoding import encode
from mechpaint.scoring.items import Item
from mechpaint.scoring.score import score_items
from mechpaint.tasks.task import ChoiceTask
from tests.benchmarks.__main__ import seconds
from tests.benchmarks.paper_suite import paper_suite


class Choices(ChoiceTask):
    """Asks items that are made already."""

    name = "choices"

    def generate(self, model: TransformerBridge, rng: random.Random) -> Iterator[Item]:
        """None."""
        return iter(())


Text = tuple[str, list[str], int]
"""A prompt, its continuations, and which is right."""


def hellaswag(row: dict[str, Any]) -> Text:
    """The activity, what happened, and how it may go on."""
    return f"{row['activity_label']}: {row['ctx']}", [f" {ending}" for ending in row["endings"]], int(row["label"])


def arc(row: dict[str, Any]) -> Text:
    """A question and its answers."""
    choices = row["choices"]
    answer = choices["label"].index(row["answerKey"])
    return f"Question: {row['question']}\nAnswer:", [f" {text}" for text in choices["text"]], answer


def lambada(row: dict[str, Any]) -> Text:
    """A passage and its last word."""
    passage, word = row["text"].rsplit(" ", 1)
    return passage, [f" {word}"], 0


TASKS = {
    "HellaSwag 0-shot": ("hellaswag", hellaswag, 0, "at least 2.5"),
    "ARC easy 0-shot": ("arc_easy", arc, 0, "at least 2.5"),
    "ARC challenge 0-shot": ("arc_challenge", arc, 0, "at least 2.5"),
    "LAMBADA": ("lambada_openai", lambada, 0, "at least 0.98"),
    "ARC challenge 25-shot": ("arc_challenge", arc, 25, "at least 12"),
    "HellaSwag 10-shot": ("hellaswag", hellaswag, 10, "at least 12"),
}


def items_of(model: TransformerBridge, folder: Path, name: str, read: Any, shots: int, items: int) -> Iterator[Item]:
    """The first items of a file, after examples that are its last ones."""
    rows = [read(json.loads(line)) for line in (folder / f"{name}.jsonl").read_text().splitlines()]
    examples = "".join(f"{prompt}{choices[answer]}\n\n" for prompt, choices, answer in rows[len(rows) - shots :])
    for number, (prompt, choices, answer) in enumerate(rows[:items]):
        yield Item(f"{number}", *encode(model, name, examples + prompt, choices), answer)


def measure(model: TransformerBridge, items: list[Item], tree: PrefixTree, times: int) -> tuple[str, str, str]:
    """How many times less time trees take, the seconds, and how far log-probabilities are apart."""
    task = Choices()
    found: dict[bool, dict[Any, float]] = {}

    def ask(packed: bool) -> None:
        longest = [len(row) for item in items for row in item.rows()]
        rows = task.batch_size(model, items) if packed else optimal_batch_rows(model, longest)
        records = score_items(model, task, items, tree, rows)
        found[packed] = {(record["item"], record["route"]): record["logprob"] for record in records}

    def rows() -> None:
        with mock.patch("mechpaint.engine.sweep.shareable", return_value=None):
            ask(False)

    def trees() -> None:
        ask(True)

    one = PrefixTree(tree.routes[:1])
    list(score_items(model, task, items, one, task.batch_size(model, items)))  # layers are compared now
    pairs = [(seconds(rows), seconds(trees)) for _ in range(times)]
    ratio = statistics.median(a / b for a, b in pairs)
    apart = max(abs(found[True][key] - logprob) for key, logprob in found[False].items())
    a, b = (statistics.median(each) for each in zip(*pairs, strict=True))
    return f"{ratio:.2f}", f"{a:.1f} s over {b:.1f} s", f"{apart:.1e}"


def positions(model: TransformerBridge, items: list[Item]) -> str:
    """The positions of a layer call over all items, in rows and as trees."""
    from mechpaint.scoring.batches import batches

    computed, every = 0, 0
    task = Choices()
    for batch in batches(items, task.batch_size(model, items)):
        tokens, mask = batch.padded(model.cfg.device)
        computed += Sweep(model, tokens, ["0"], mask).computed_positions
        every += tokens.numel()
    return f"{every:,} / {computed:,}"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--data", type=Path, required=True, help="the folder of the files")
    parser.add_argument("--items", type=int, default=8, help="of each task")
    parser.add_argument("--routes", type=int, default=4, help="of the suite")
    parser.add_argument("--times", type=int, default=3, help="how often each side is timed")
    parser.add_argument("--tasks", nargs="*", default=list(TASKS), choices=list(TASKS), help="which")
    options = parser.parse_args()
    model = mp.load("smollm2-135m")
    suite = paper_suite(len(model.blocks))
    tree = PrefixTree(suite[i * len(suite) // options.routes] for i in range(options.routes))
    title = f"SmolLM2-135M, {options.items} items, {len(tree.routes)} routes, {tree.layer_calls} layer calls"
    table = Table(
        "task", "positions", "rows' time over trees'", "seconds", "log-probabilities apart", "wanted", title=title
    )
    for name in options.tasks:
        file, read, shots, wanted = TASKS[name]
        items = list(items_of(model, options.data, file, read, shots, options.items))
        table.add_row(name, positions(model, items), *measure(model, items, tree, options.times), wanted)
        Console().print(table)


if __name__ == "__main__":
    main()
