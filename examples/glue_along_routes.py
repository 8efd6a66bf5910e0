"""GLUE along routes, as in "Layers as Painters" (figures 4 to 8 on BERT, and A.9): the body frozen, and trained along.

A classification head is trained anew along each route. Prints a Markdown table with the benchmark's metric on the
validation examples, and how much better or worse that is than along the model's own order (paired bootstrap).

python examples/glue_along_routes.py sst2 sst2.jsonl --routes "skip(2, 3)" "reverse(1, 4)"
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import numpy as np

import mechpaint as mp
from mechpaint.finetuning import FineTuned, FineTuning, finetune_routes, labelled
from mechpaint.plugins import built_in
from mechpaint.routes.hookset import HookSet
from mechpaint.routes.hookset_text import parse_hook_set
from mechpaint.statistics import Estimate, estimate, resampled

ROUTES = ("skip(2, 3)", "skip(1, 4)", "reverse(1, 4)", "average(1, 4)")


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a table a way of training, a row a route as soon as it is done."""
    given = _options(arguments)
    model = mp.load(given.model, dtype="float32")
    data = labelled(given.benchmark, given.train, given.validation)
    routes = [HookSet(), *(parse_hook_set(text, built_in().hook_sets) for text in given.routes)]
    print(f"{data.source}; {data.benchmark.metrics[0]}\n\n| learns | route | score | minus the model's own order |")
    print("| --- | --- | --- | --- |", flush=True)
    for learns in given.learns:
        settings = FineTuning(learns=learns, epochs=given.epochs if learns != "head" else None)
        full: FineTuned | None = None
        for tuned in finetune_routes(model, data, routes, settings):
            full = full or tuned
            less = "" if tuned is full else str(_difference(tuned, full))
            print(f"| {learns} | {tuned.route} | {_score(tuned)} | {less} |", flush=True)


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("benchmark", help="one of GLUE's tasks, such as sst2")
    parser.add_argument("train", help="its examples, in GLUE's columns; a part is held out to validate on")
    parser.add_argument("--validation", help="others to validate on")
    parser.add_argument("--model", default="minilm", help="a preset, a folder or a name on the hub")
    parser.add_argument("--routes", nargs="+", default=ROUTES, help="hook sets, as in mechpaint analyze --hooks")
    parser.add_argument("--learns", nargs="+", default=["head", "all"], help="head (a frozen body), layers, all")
    parser.add_argument("--epochs", type=int, default=3, help="where the body learns")
    return parser.parse_args(arguments)


def _score(tuned: FineTuned) -> Estimate:
    return tuned.metrics[tuned.data.benchmark.metrics[0]]


def _difference(tuned: FineTuned, full: FineTuned) -> Estimate:
    """How much better it is, both on the same resamples of the validation examples."""
    examples = tuned.data.validation
    names, metric = [example.name for example in examples], tuned.data.benchmark.metric(examples)
    both = np.stack([tuned.predicted, full.predicted], axis=1)
    drawn = resampled(metric, names, both, np.random.default_rng(0))
    return estimate(drawn[:, 0] - drawn[:, 1])


if __name__ == "__main__":
    main()
