"""Figure 13 of "Layers as Painters": skip the middle layers, fine-tune what is left, and compare with not doing so.

A language model is fine-tuned on the first part of the English reference text that comes with Python, along each
route, and scored on the last part and on two generated tasks, before and after. Prints a Markdown table.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import numpy as np

import mechpaint as mp
from mechpaint.data import read_text
from mechpaint.finetuning import FineTuning, finetune_text, text_losses, windows
from mechpaint.hooks import Skip
from mechpaint.routes.hookset import HookSet
from mechpaint.routes.prefix_tree import PrefixTree
from mechpaint.scoring import score_items
from mechpaint.statistics import RESAMPLES, Estimate, estimate
from mechpaint.tasks import Facts, IndirectObject


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table, a row a number of skipped layers as soon as it is done."""
    given = _options(arguments)
    model = mp.load(given.model, dtype="float32")
    rows = windows(model, read_text(None), given.window)
    train, held_out = rows[: given.updates * given.batch], rows[-given.items :]
    settings = FineTuning(learns="layers", epochs=1, batch=given.batch, lr=given.lr)
    print(f"{len(train)} windows of {given.window} tokens to train on, {len(held_out)} to score\n")
    print("| layers skipped | measure | before | after | after minus before |")
    print("| --- | --- | --- | --- | --- |", flush=True)
    for skipped in given.skipped:
        along = _middle(model.cfg.n_layers, skipped)
        before = _scores(model, held_out, along, given.items)
        trained = finetune_text(model, train, along, settings)
        after = _scores(trained.model, held_out, along, given.items)
        share = f"{skipped} ({skipped / model.cfg.n_layers:.0%})"
        for name in before:
            difference = _interval(after[name] - before[name])
            print(
                f"| {share} | {name} | {_interval(before[name])} | {_interval(after[name])} | {difference} |",
                flush=True,
            )


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="smollm2-135m", help="a preset, a folder or a name on the hub")
    parser.add_argument("--skipped", type=int, nargs="+", default=[0, 1, 3, 5, 7, 9], help="how many middle layers")
    parser.add_argument("--updates", type=int, default=12, help="how often the weights change")
    parser.add_argument("--batch", type=int, default=4, help="windows an update")
    parser.add_argument("--window", type=int, default=64, help="tokens a window")
    parser.add_argument("--items", type=int, default=50, help="items of each task, and windows of the held-out text")
    parser.add_argument("--lr", type=float, default=5e-5, help="the learning rate at its highest")
    return parser.parse_args(arguments)


def _middle(n_layers: int, skipped: int) -> HookSet:
    """Skips that many layers in the middle."""
    first = (n_layers - skipped) // 2
    return Skip(first, first + skipped - 1) if skipped else HookSet()


def _scores(model, held_out, along: HookSet, items: int) -> dict[str, np.ndarray]:
    """One number an item: higher is better."""
    tree = PrefixTree([along.route(model.cfg.n_layers)])
    found = {"held-out text, nats per token": -text_losses(model, held_out, along).double().numpy()}
    for task in (Facts(), IndirectObject()):
        asked = task.items(model, items)
        scores = {record["item"]: record["score"] for record in score_items(model, task, asked, tree)}
        found[f"{task}, {task.measure}"] = np.array([scores[item.name] for item in asked])
    return found


def _interval(values: np.ndarray) -> Estimate:
    """The mean, with its bootstrap interval over items."""
    drawn = np.random.default_rng(0).integers(len(values), size=(RESAMPLES, len(values)))
    return estimate(np.concatenate([[values.mean()], values[drawn].mean(axis=1)]))


if __name__ == "__main__":
    main()
