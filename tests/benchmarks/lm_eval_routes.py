"""What lm-eval's tasks cost under the painters' suite: one sweep, against lm-eval run once a route.

    python -m tests.benchmarks.lm_eval_routes FOLDER --items 4 --peers 4

FOLDER holds lambada_openai.jsonl, arc_easy.jsonl, arc_challenge.jsonl, hellaswag.jsonl and winogrande.jsonl. Both sides
ask Gemma-3-270M the same items of the same tasks, with as many rows at once. The sweep runs all routes of the suite.
lm-eval runs on some of them, spread evenly over those that are sequences of layers: a plain Hugging Face model whose
layers were put in that order by hand, with its own default attention. What it takes for all is extrapolated from the
number of routes, and from the number of times a layer runs: its time has parts of both kinds.
Loading models and data is on neither side. Both are timed in turns, the sweep in as many parts as lm-eval has routes.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table
from transformers import AutoModelForCausalLM, AutoTokenizer

import mechpaint as mp
from mechpaint.models.presets import PRESETS
from mechpaint.routes.prefix_tree import PrefixTree
from mechpaint.routes.route import Route
from mechpaint.scoring.score import score_items
from mechpaint.tasks import LmEval
from mechpaint.tasks.lm_eval.registry import quiet
from tests.benchmarks.__main__ import seconds
from tests.benchmarks.paper_suite import paper_suite

NAMES = ("lambada_openai", "arc_easy", "arc_challenge", "hellaswag", "winogrande")
ROWS_AT_ONCE = 32


class Peer:
    """lm-eval's own model, whose layers can be put in any order."""

    def __init__(self) -> None:
        folder = PRESETS["gemma-3-270m"].folder()
        self.model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
        self.layers = list(self.model.model.layers)
        self.kinds = self.model.config.layer_types
        self.model.config.use_cache = False  # a layer that runs again would find what it has written
        with quiet():
            from lm_eval.models.huggingface import HFLM

            tokenizer = AutoTokenizer.from_pretrained(folder)
            self.asked = HFLM(pretrained=self.model, tokenizer=tokenizer, batch_size=ROWS_AT_ONCE)

    def reorder(self, route: Route) -> None:
        """Run the layers in the order of a route that averages nothing."""
        order = [visit.layer for visit in route.visits()]
        self.model.model.layers = torch.nn.ModuleList([self.layers[i] for i in order])
        self.model.config.layer_types = [self.kinds[i] for i in order]
        self.model.config.num_hidden_layers = len(order)

    def ask(self, tasks: list[LmEval], items: int) -> None:
        """All tasks, by lm-eval."""
        from lm_eval.evaluator import evaluate

        with quiet():
            loaded = {task.task: task.loaded for task in tasks}
            evaluate(self.asked, {"tasks": loaded}, limit=items, bootstrap_iters=0, log_samples=False)


def _sequential(route: Route) -> bool:
    return all(len(step.layers) == 1 for step in route.steps)


def _spread(things: list, count: int) -> list:
    """So many of them, evenly, the first among them."""
    return [things[i * len(things) // count] for i in range(count)]


def rows(folder: Path, items: int, peers: int) -> list[tuple[str, str]]:
    """What was measured, in words."""
    model = mp.load("gemma-3-270m")
    tasks = [LmEval(name, data=str(folder / f"{name}.jsonl")) for name in NAMES]
    routes = paper_suite(len(model.blocks))
    tree = PrefixTree(routes)
    some = _spread([route for route in tree.routes if _sequential(route)], peers)
    chosen = [task.select(model, items).items for task in tasks]
    peer = Peer()
    peer.ask(tasks[:1], 1)  # a warm-up of both
    sum(1 for _ in score_items(model, tasks[0], chosen[0][:1], PrefixTree(some[:1])))
    ours = theirs = 0.0
    for i, route in enumerate(some):
        peer.reorder(route)
        theirs += seconds(lambda: peer.ask(tasks, items))
        for task, asked in list(zip(tasks, chosen, strict=True))[i::peers]:
            ours += seconds(lambda task=task, asked=asked: list(score_items(model, task, asked, tree, ROWS_AT_ONCE)))
    calls = sum(route.layer_calls for route in some)
    by_routes, by_layers = theirs * len(tree.routes) / peers, theirs * tree.layer_calls_unshared / calls
    least = min(by_routes, by_layers) / ours
    return [
        ("items of each task", str(items)),
        ("routes of the suite", str(len(tree.routes))),
        ("layers that run for a batch, shared and route by route", f"{tree.layer_calls}, {tree.layer_calls_unshared}"),
        ("one sweep over all routes, seconds", f"{ours:.1f}"),
        (f"lm-eval on {peers} routes ({calls} layers), seconds", f"{theirs:.1f}"),
        ("lm-eval on all, extrapolated by routes, and by layers, seconds", f"{by_routes:.0f}, {by_layers:.0f}"),
        ("lm-eval over the sweep, by the lesser of both", f"{least:.1f} (wanted: at least 4)"),
    ]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--items", type=int, default=4)
    parser.add_argument("--peers", type=int, default=5)
    given = parser.parse_args()
    table = Table("what", "measured", title="Five tasks of lm-eval on Gemma-3-270M")
    for row in rows(given.folder, given.items, given.peers):
        table.add_row(*row)
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
