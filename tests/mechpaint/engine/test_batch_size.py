from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from mechpaint.engine import batch_size as batchsize
from mechpaint.engine.batch_size import free_memory, optimal_batch_rows, optimal_tree_rows, tokens_that_pay
from mechpaint.tasks import Facts, Text
from tests import tiny


def test_as_many_rows_as_pay(speaking):
    assert tokens_that_pay(torch.device("cpu")) < tokens_that_pay(torch.device("cuda"))
    assert optimal_batch_rows(speaking, [8, 16, 4]) == tokens_that_pay(torch.device("cpu")) // 16
    assert optimal_batch_rows(speaking, [100_000]) == 1


def test_no_more_than_fit(speaking, monkeypatch):
    rows = []
    for free in (10_000, 500_000, 1_000_000, 2_000_000):
        monkeypatch.setattr(batchsize, "free_memory", lambda device, free=free: free)
        rows.append(optimal_batch_rows(speaking, [16]))
    assert rows[0] == 1
    assert rows[2] == pytest.approx(2 * rows[1], abs=1)
    assert rows[1] < rows[2] < rows[3] < tokens_that_pay(torch.device("cpu")) // 16


def test_free_memory_is_what_the_machine_says():
    told = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
    assert free_memory(torch.device("cpu")) == pytest.approx(1024 * int(told["MemAvailable"].split()[0]), rel=0.2)


def test_tasks_of_rows_ask_for_them(speaking):
    for task in (Facts(), Text(window=16, scored=4)):
        items = task.items(speaking, 5)
        longest = max(len(row) for item in items for row in item.rows())
        assert task.batch_size(speaking, items) >= optimal_batch_rows(speaking, [longest]) > 1


def test_rows_that_begin_alike_count_what_is_distinct_of_them(speaking):
    """Four answers of 5 tokens to a question of 60; and examples of 1,000 tokens before 20 of such questions."""
    pays = tokens_that_pay(torch.device("cpu"))
    question = [[*range(60), *range(60 + 5 * i, 65 + 5 * i)] for i in range(4)]
    assert optimal_tree_rows(speaking, [question]) == optimal_batch_rows(speaking, [65])  # all fit anyway
    many = [[[100 + i, *row] for row in question] for i in range(20)]
    assert optimal_tree_rows(speaking, many) == pays * 4 // 81 > optimal_batch_rows(speaking, [66])
    examples = [*range(200)] * 5
    shots = [[[*examples, *row] for row in rows] for rows in many]
    assert optimal_batch_rows(speaking, [1066]) == 1
    assert optimal_tree_rows(speaking, shots) == 4 * math.isqrt(1000 * (1000 + 4 * 32)) // 81


@pytest.mark.parametrize("name", ["bloom", "bert"])
def test_rows_are_counted_where_nothing_is_shared(name):
    many = [[[i, *range(30), j] for j in range(4)] for i in range(20)]
    assert optimal_tree_rows(tiny.bridge(name), many) == optimal_batch_rows(tiny.bridge(name), [32])
