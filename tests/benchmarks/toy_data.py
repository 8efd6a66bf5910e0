"""The in-context bigram task's sequences: this library against a plain generator, in tokens a second.

`python -m tests.benchmarks.toy_data` prints them as a table. One core; 512 sequences of 256 tokens, 5 triggers.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from unittest import mock

import numpy as np
import torch

from mechpaint.toy import sampling as kernel
from mechpaint.toy.bigram_task import BigramTask
from mechpaint.toy.chains import Chain

SIZE, LENGTH = 512, 256
PLAIN_SIZE = 8
ROUNDS, BATCHES = 15, 10


def plain_sequence(
    task: BigramTask, length: int, rng: np.random.Generator
) -> tuple[list[int], list[int], list[int], list[int]]:
    """`length + 1` tokens, `length` occurrences, the triggers and their outputs: token by token, as the paper's code.

    Every draw is `rng.choice(vocabulary, p=row)` with a list. (A number in its place would be 1.4 times faster.)
    """
    chain, vocabulary = task.chain, list(range(task.chain.vocabulary))
    triggers = list(task.fixed_triggers)
    if not task.fixed:
        triggers = [int(t) for t in rng.choice(vocabulary, task.triggers, replace=False, p=chain.initial)]
    outputs = [_plain_output(task, trigger, rng) for trigger in triggers]
    tokens, occurrences, seen = [int(rng.choice(vocabulary, p=chain.initial))], list[int](), dict[int, int]()
    for _ in range(length):
        last = tokens[-1]
        if last in triggers:
            seen[last] = seen.get(last, 0) + 1
            occurrences.append(seen[last])
            tokens.append(outputs[triggers.index(last)])
        else:
            occurrences.append(0)
            tokens.append(int(rng.choice(vocabulary, p=chain.transitions[last])))
    return tokens, occurrences, triggers, outputs


def _plain_output(task: BigramTask, trigger: int, rng: np.random.Generator) -> int:
    pool = [token for token in range(task.chain.vocabulary) if token not in task.held_out]
    if task.no_repeat:
        pool = [token for token in pool if token != trigger]
    if task.outputs == "uniform":
        return int(rng.choice(pool))
    row = task.chain.transitions[trigger][pool]
    return int(rng.choice(pool, p=row / row.sum()))


def rows() -> list[tuple[str, str, str]]:
    """What was compared, how many times faster it is, and what is wanted."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return [
            (
                f"{walk}, {kind} triggers, over a plain generator",
                _compared(BigramTask(chain, fixed=fixed), walk),
                wanted,
            )
            for chain in (Chain.shakespeare(),)
            for walk, wanted in (("numpy", "at least 150"), ("numba", "at least 800"))
            for fixed, kind in ((True, "fixed"), (False, "random"))
        ]
    finally:
        torch.set_num_threads(threads)


def _compared(task: BigramTask, walk: str) -> str:
    """In turns, after a warm-up of both; the ratio of the medians."""
    if walk == "numba" and kernel.compiled() is None:
        return "numba is not installed"
    _settle()
    rng = np.random.default_rng(0)
    with mock.patch.object(kernel, "compiled", kernel.compiled if walk == "numba" else lambda: None):
        task.batch(SIZE, LENGTH, 0)
        plain: list[float] = []
        ours: list[float] = []
        for i in range(ROUNDS):
            plain.append(_seconds(lambda: [plain_sequence(task, LENGTH, rng) for _ in range(PLAIN_SIZE)]) / PLAIN_SIZE)
            ours += [_seconds(lambda at=(i, j): task.batch(SIZE, LENGTH, *at)) / SIZE for j in range(BATCHES)]
    slow, fast = (LENGTH / statistics.median(found) for found in (plain, ours))
    return f"{fast / slow:.0f}  ({fast / 1e6:.1f} M tokens/s over {slow / 1e3:.0f} k)"


def _settle() -> None:
    """Free a large block, as any training has: before that the C library hands memory back after each batch.

    Without it, and at these sizes, page faults take longer than the work.
    """
    np.ones(2**21)


def _seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def main() -> None:
    """Measure and print."""
    for what, measured, wanted in rows():
        print(f"{what:55} {measured:45} {wanted}")


if __name__ == "__main__":
    main()
