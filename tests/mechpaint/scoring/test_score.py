"""Scores against log-probabilities computed item by item with plain Hugging Face."""

from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import transformers as hf

from mechpaint.engine.route_runner import RouteRunner
from mechpaint.routes.prefix_tree import PrefixTree
from mechpaint.routes.route import Route
from mechpaint.scoring.batches import Batch, batches
from mechpaint.scoring.score import score_items
from mechpaint.tasks import Arithmetic, Facts, Induction, Item, Text
from mechpaint.tasks.task import ChoiceTask
from tests import plain, tiny

ROUTES = {"0-5": [0, 1, 2, 3, 4, 5], "0 (1-3)x2 5": [0, (1, 2, 3), (1, 2, 3), 5], "0 4-1 5": [0, 4, 3, 2, 1, 5]}
TREE = PrefixTree(Route.parse(text, tiny.N_LAYERS) for text in ROUTES)


def _expected(folder, item, steps):
    """Log-probabilities of each choice, and greedy guesses of the right one's tokens, one sequence at a time."""
    model = hf.LlamaForCausalLM.from_pretrained(folder, attn_implementation="eager").eval()
    sums, greedy = [], []
    for i, choice in enumerate(item.choices):
        tokens = torch.tensor([item.prompt + choice])
        logprobs = plain.logits(model, tokens, steps)[0].log_softmax(-1)
        at = range(len(item.prompt) - 1, len(item.prompt) + len(choice) - 1)
        sums.append(sum(logprobs[p, t].item() for p, t in zip(at, choice, strict=True)))
        if i == item.answer:
            greedy = [logprobs[p].argmax().item() == t for p, t in zip(at, choice, strict=True)]
    return sums, greedy


@pytest.mark.parametrize("task", [Facts(), Induction(), Arithmetic(), Text(window=16, scored=4)], ids=str)
def test_records_equal_one_sequence_at_a_time(speaking, folder, task):
    items = task.items(speaking, limit=6)
    records = list(score_items(speaking, task, items, TREE, batch_size=7))
    assert len(records) == len(items) * len(ROUTES)
    by_key = {(record["item"], record["route"]): record for record in records}
    for item in items[:3]:
        for text, steps in ROUTES.items():
            sums, greedy = _expected(folder, item, steps)
            record = by_key[item.name, text]
            assert record["logprob"] == pytest.approx(sums[item.answer], abs=1e-4)
            assert record["tokens"] == len(item.choices[item.answer])
            assert record["finite"] is True
            if isinstance(task, Facts):
                assert record["score"] == float(sums[item.answer] == max(sums))
            elif isinstance(task, Induction):
                assert record["score"] == pytest.approx(sum(greedy) / len(greedy))
            elif isinstance(task, Arithmetic):
                assert record["score"] == float(all(greedy))
            else:
                assert record["score"] == pytest.approx(sums[0] / len(item.choices[0]), abs=1e-4)


def test_choices_share_rows_where_one_begins_another():
    one = Item("single tokens", (1, 2), ((3,), (4,), (5,)))
    assert Batch.of([one]).rows == ((1, 2),)
    nested = Item("prefixes", (1, 2), ((3,), (4, 5), (4, 6, 7)))
    assert Batch.of([nested]).rows == ((1, 2, 4, 6),)
    apart = Item("no prefixes", (1,), ((2, 3), (4, 5)))
    assert set(Batch.of([apart]).rows) == {(1, 2), (1, 4)}


def test_what_items_share_runs_once(speaking, folder, monkeypatch):
    """Few-shot examples before every question, and choices that begin with the same token."""
    examples = tuple(range(10, 40))
    items = [Item(f"{i}", (*examples, 50 + i, 60 + i), ((3, 4, 5), (3, 6), (7, 8)), 1) for i in range(5)]
    rows = [row for item in items for row in item.rows()]
    computed, unembedded = [], []
    call, tail = RouteRunner.call, RouteRunner.tail
    task, route = _Choices(), PrefixTree(TREE.routes[:1])

    def counted(self, layer, residual, arguments, block=None):
        computed.append(residual.shape[0] * residual.shape[1])
        return call(self, layer, residual, arguments, block)

    list(score_items(speaking, task, items, route))  # the first compares layers
    monkeypatch.setattr(RouteRunner, "call", counted)
    monkeypatch.setattr(RouteRunner, "tail", lambda self, rows: unembedded.append(len(rows)) or tail(self, rows))
    records = {record["item"]: record for record in score_items(speaking, task, items, route)}
    beginnings = {row[:end] for row in rows for end in range(1, len(row) + 1)}
    assert sum(computed) == len(beginnings) * tiny.N_LAYERS
    assert sum(unembedded) == len(set().union(*map(_scored, items)))
    for item in items[:2]:
        sums, _ = _expected(folder, item, ROUTES["0-5"])
        assert records[item.name]["logprob"] == pytest.approx(sums[1], abs=1e-4)


def _scored(item):
    """What the model has read where it is asked for a token."""
    rows = item.rows()
    return {rows[place.row][: place.position + 1] for answer in item.places() for place in answer}


class _Choices(ChoiceTask):
    name = "choices"

    def generate(self, model, rng):
        return iter(())


def test_batches_hold_every_item_once_and_no_more_rows_than_asked(speaking):
    items = Facts().items(speaking, limit=60)
    grouped = batches(items, 8)
    assert sorted(i.name for b in grouped for i in b.items) == sorted(i.name for i in items)
    largest_item = max(len(Batch.of([item]).rows) for item in items)
    assert all(len(b.rows) <= max(8, largest_item) for b in grouped)
    assert batches([], 8) == []


def test_numbers_that_are_none_are_marked_and_give_no_score(llama):
    broken = tiny.bridge("llama")
    with torch.no_grad():
        broken.original_model.model.layers[3].original_component.mlp.down_proj.weight.fill_(float("inf"))
    task = Induction(length=6, scored=2)
    tree = PrefixTree([Route.parse("0-5", 6), Route.parse("0-2 4-5", 6)])
    records = list(score_items(broken, task, task.items(broken, limit=3), tree))
    for record in records:
        through = record["route"] == "0-5"
        assert record["finite"] is not through
        assert math.isnan(record["score"]) is through


def test_half_a_batch_where_memory_is_short(speaking, monkeypatch):
    """The device takes so many rows and no more in layer 4; a route that was done before is not done again."""
    task = Facts()
    items = task.items(speaking, limit=12)
    expected = {(r["item"], r["route"]): r for r in score_items(speaking, task, items, TREE)}
    call, asked = RouteRunner.call, []

    def small(self, layer, residual, arguments, block=None):
        asked.append(len(residual))
        if len(residual) > 5 and layer == 4:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return call(self, layer, residual, arguments, block)

    monkeypatch.setattr(RouteRunner, "call", small)
    told: list[int] = []
    records = list(score_items(speaking, task, items, TREE, batch_size=100, advance=told.append))
    assert max(asked) > 5
    assert sum(told) == len(records) == len(expected)
    for record in records:
        other = expected.pop((record["item"], record["route"]))
        assert record == {**other, "logprob": pytest.approx(other["logprob"], abs=1e-4)}
    assert not expected


def test_one_item_that_does_not_fit_is_an_error(speaking, monkeypatch):
    def never(*_):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(RouteRunner, "call", never)
    with pytest.raises(torch.OutOfMemoryError, match="CUDA out of memory"):
        list(score_items(speaking, Facts(), Facts().items(speaking, limit=4), TREE))


_SHORT = """
import resource, sys, torch
import mechpaint as mp
from mechpaint.scoring import score_items
from mechpaint.tasks import Facts, Item
from tests.mechpaint.scoring.test_score import TREE

torch.set_num_threads(1)
model = mp.load(sys.argv[1])
items = [Item(str(i), tuple((i + j) % 300 for j in range(500)), ((3,), (4,)), 0) for i in range(96)]

def scored(rows):
    return {(r["item"], r["route"]): r["logprob"] for r in score_items(model, Facts(), items, TREE, rows)}

few = scored(4)
has = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (has + 300_000_000,) * 2)
many = scored(96)
assert few.keys() == many.keys()
assert max(abs(few[key] - many[key]) for key in few) < 1e-4
try:
    torch.empty(300_000_000)
except RuntimeError as error:
    print("short of memory:", error)
"""


@pytest.mark.slow
def test_memory_that_is_really_short(folder):
    """The kernel gives the process no more than 300 MB above what it has: a batch of 96 long rows needs more."""
    command = [sys.executable, "-c", _SHORT, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[3])
    assert done.returncode == 0, done.stderr
    assert "short of memory" in done.stdout


def test_progress_is_told_with_every_layer_call(llama):
    """Not with every route: those that share work are done late, and then many at once."""
    task, told = Induction(length=6, scored=2), []
    list(score_items(llama, task, task.items(llama, limit=10), TREE, batch_size=4, advance=told.append))
    assert len(told) > 3 * len(ROUTES)
    assert 0 <= min(told) <= max(told) < 4
    assert sum(told) == 10 * len(ROUTES)
