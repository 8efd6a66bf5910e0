from __future__ import annotations

import dataclasses
import itertools
import json
import subprocess
import sys

import numpy as np
import pytest
import torch

from mechpaint.errors import ToyError
from mechpaint.toy import sampling
from mechpaint.toy import sampling as kernel
from mechpaint.toy.bigram_task import BigramTask, ToyBatch
from mechpaint.toy.chains import Chain
from mechpaint.toy.sampling import AliasTable
from tests.benchmarks.toy_data import plain_sequence

SHAKESPEARE = Chain.shakespeare()
FIELDS = [field.name for field in dataclasses.fields(ToyBatch)]


def _skewed() -> Chain:
    """Five symbols, a third of the transitions impossible."""
    rng = np.random.default_rng(5)
    counts = rng.integers(1, 20, (5, 5)) * (rng.random((5, 5)) > 0.33)
    return Chain.from_counts("abcde", [8, 5, 4, 2, 1], counts)


SKEWED = _skewed()
TASKS = {
    "fixed": BigramTask(SHAKESPEARE),
    "random": BigramTask(SHAKESPEARE, fixed=False),
    "bigram outputs": BigramTask(SHAKESPEARE, outputs="bigram", offset=3),
    "few symbols": BigramTask(SKEWED, triggers=2, fixed=False, no_repeat=True, outputs="bigram"),
    "held out": BigramTask(SKEWED, triggers=3, held_out=(0, 4)),
    "all triggers": BigramTask(SKEWED, triggers=5, fixed=False),
    "no triggers": BigramTask(SKEWED, triggers=0),
    "no random triggers": BigramTask(SKEWED, triggers=0, fixed=False),
}
every_task = pytest.mark.parametrize("task", TASKS.values(), ids=TASKS)


def _arrays(batch):
    return [getattr(batch, name).numpy() for name in FIELDS]


def _same(a, b):
    return all(torch.equal(getattr(a, name), getattr(b, name)) for name in FIELDS)


def _tail(statistic, freedom):
    """The probability that chi-square is at least so large."""
    half = torch.tensor([freedom / 2, statistic / 2], dtype=torch.float64)
    return float(torch.special.gammaincc(half[0], half[1]))


def _p(counts, probabilities):
    """Of a goodness-of-fit test; rows are independent samples. Rare outcomes of a row are taken together."""
    counts, probabilities = np.atleast_2d(counts), np.atleast_2d(probabilities)
    assert not counts[probabilities == 0].any()
    statistic, freedom = 0.0, 0
    for found, law in zip(counts, probabilities, strict=True):
        expected = law * found.sum()
        common = expected >= 5
        pairs = [*zip(found[common], expected[common], strict=True), (found[~common].sum(), expected[~common].sum())]
        pairs = [(f, e) for f, e in pairs if e >= 5]
        statistic += sum((f - e) ** 2 / e for f, e in pairs)
        freedom += max(0, len(pairs) - 1)
    assert freedom
    return _tail(statistic, freedom)


def _p_same(a, b):
    """Of a test that two samples of whole numbers come from one law."""
    size = max(a.max(), b.max()) + 1
    found = np.stack([np.bincount(a, minlength=size), np.bincount(b, minlength=size)])
    common = found.sum(axis=0) >= 20
    found = np.concatenate([found[:, common], found[:, ~common].sum(axis=1, keepdims=True)], axis=1)
    found = found[:, found.sum(axis=0) >= 20]
    expected = found.sum(axis=1, keepdims=True) * found.sum(axis=0) / found.sum()
    return _tail(((found - expected) ** 2 / expected).sum(), found.shape[1] - 1)


def test_the_statistics_can_tell():
    rng = np.random.default_rng(0)
    law = np.array([0.5, 0.3, 0.2])
    assert _tail(3.84145882, 1) == pytest.approx(0.05)
    assert _p(rng.multinomial(2000, law), law) > 1e-3
    assert _p(rng.multinomial(2000, [0.4, 0.4, 0.2]), law) < 1e-6
    assert _p_same(rng.choice(3, 2000, p=law), rng.choice(3, 2000, p=law)) > 1e-3
    assert _p_same(rng.choice(3, 2000, p=law), rng.choice(3, 2000, p=[0.4, 0.4, 0.2])) < 1e-6


@every_task
def test_every_trigger_is_followed_by_its_output_and_counted(task):
    tokens, targets, occurrences, triggers, outputs = _arrays(task.batch(40, 90, seed=1))
    assert tokens.shape == targets.shape == occurrences.shape == (40, 90)
    assert triggers.shape == outputs.shape == (40, task.triggers)
    assert (tokens[:, 1:] == targets[:, :-1]).all()
    for b in range(40):
        follows, seen = dict(zip(triggers[b].tolist(), outputs[b].tolist(), strict=True)), {}
        assert len(follows) == task.triggers
        for x, y, n in zip(tokens[b].tolist(), targets[b].tolist(), occurrences[b].tolist(), strict=True):
            seen[x] = seen.get(x, 0) + 1
            if x in follows:
                assert (y, n) == (follows[x], seen[x])
            else:
                assert n == 0
                assert task.chain.transitions[x, y] > 0


@every_task
def test_other_tokens_follow_the_chain(task):
    if task.triggers == task.chain.vocabulary:
        assert task.batch(10, 20, seed=0).occurrences.min() >= 1
        return
    tokens, targets, occurrences, _, _ = _arrays(task.batch(300, 128, seed=2))
    plain = occurrences == 0
    counts = np.zeros_like(task.chain.transitions)
    np.add.at(counts, (tokens[plain], targets[plain]), 1)
    assert _p(counts, task.chain.transitions) > 1e-3
    if task.chain is SHAKESPEARE:
        assert _p(counts, Chain.uniform(65).transitions) < 1e-6


@every_task
def test_the_first_token_follows_the_unigrams(task):
    first = task.batch(5000, 2, seed=3).tokens[:, 0].numpy()
    counts = np.bincount(first, minlength=task.chain.vocabulary)
    assert _p(counts, task.chain.initial) > 1e-3
    assert _p(counts, np.full(task.chain.vocabulary, 1 / task.chain.vocabulary)) < 1e-6


def test_fixed_triggers_are_the_most_frequent_tokens():
    assert [SHAKESPEARE.symbols[t] for t in BigramTask(SHAKESPEARE).fixed_triggers] == [" ", "e", "t", "o", "a"]
    assert BigramTask(SKEWED, triggers=2, offset=1).fixed_triggers == (1, 2)
    assert BigramTask(SKEWED, triggers=2, fixed=False).fixed_triggers == ()
    assert BigramTask(SKEWED, triggers=2).batch(3, 5, 0).triggers.tolist() == [[0, 1]] * 3


def test_random_triggers_are_drawn_without_replacement():
    """The probability of each sequence of three: that of the first, of the second among the others, and so on."""
    chain = Chain.zipf(6)
    orders = list(itertools.permutations(range(6), 3))
    p = chain.initial
    law = [p[a] * p[b] / (1 - p[a]) * p[c] / (1 - p[a] - p[b]) for a, b, c in orders]
    found = BigramTask(chain, triggers=3, fixed=False).batch(30_000, 2, seed=4).triggers.numpy()
    index = {order: i for i, order in enumerate(orders)}
    counts = np.bincount([index[tuple(row)] for row in found.tolist()], minlength=len(orders))
    assert _p(counts, np.array(law)) > 1e-3
    assert _p(counts, np.full(len(orders), 1 / len(orders))) < 1e-6


def test_tokens_that_never_occur_are_no_triggers():
    chain = Chain.from_counts("abcd", [1, 0, 1, 0], np.ones((4, 4)))
    found = BigramTask(chain, triggers=2, fixed=False).batch(100, 2, seed=0).triggers
    assert set(found.flatten().tolist()) == {0, 2}


def _output_law(task):
    """What `BigramTask` says of its outputs, written out for one trigger after another."""
    law = np.zeros_like(task.chain.transitions)
    for trigger, output in itertools.product(range(task.chain.vocabulary), repeat=2):
        if output not in task.held_out and not (task.no_repeat and output == trigger):
            law[trigger, output] = 1 if task.outputs == "uniform" else task.chain.transitions[trigger, output]
    return law / law.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("fixed", [True, False])
@pytest.mark.parametrize("outputs", ["uniform", "bigram"])
@pytest.mark.parametrize("no_repeat", [True, False])
@pytest.mark.parametrize("held_out", [(), (1,)])
def test_outputs_have_their_law(fixed, outputs, no_repeat, held_out):
    chain = Chain.from_counts("abcde", [8, 5, 4, 2, 1], np.arange(1, 26).reshape(5, 5))
    task = BigramTask(chain, 3, fixed, outputs=outputs, no_repeat=no_repeat, held_out=held_out)
    batch = task.batch(6000, 2, seed=5)
    counts = np.zeros((5, 5))
    np.add.at(counts, (batch.triggers.numpy(), batch.outputs.numpy()), 1)
    drawn = counts.any(axis=1)
    assert drawn.sum() == (3 if fixed else 5)
    assert _p(counts[drawn], _output_law(task)[drawn]) > 1e-3
    wrong = dataclasses.replace(task, outputs="bigram" if outputs == "uniform" else "uniform")
    assert _p(counts[drawn], _output_law(wrong)[drawn]) < 1e-6


def test_held_out_tokens_are_outputs_of_the_test_alone():
    task = BigramTask(SHAKESPEARE, outputs="bigram", no_repeat=True, held_out=(40, 3, 3, 50))
    assert task.held_out == (3, 40, 50)
    test = task.held_out_test()
    assert not set(task.batch(500, 4, 0).outputs.flatten().tolist()) & {3, 40, 50}
    outputs = test.batch(500, 4, 0).outputs
    assert set(outputs.flatten().tolist()) == {3, 40, 50}
    assert _p(torch.bincount(outputs.flatten())[[3, 40, 50]].numpy(), np.full(3, 1 / 3)) > 1e-3
    assert test == dataclasses.replace(task, outputs="uniform", held_out=tuple(set(range(65)) - {3, 40, 50}))


@pytest.mark.parametrize("name", ["fixed", "random", "bigram outputs", "few symbols", "held out"])
def test_a_plain_generator_agrees(name):
    """Each sequence gives one number of each kind, so that the samples are independent."""
    task, length, rng = TASKS[name], 24, np.random.default_rng(6)
    tokens, targets, occurrences, triggers, outputs = _arrays(task.batch(4000, length, seed=6))
    plain = [np.array(column) for column in zip(*(plain_sequence(task, length, rng) for _ in range(1000)), strict=True)]
    kinds = [
        (tokens[:, 9], plain[0][:, 9]),
        (targets[:, -1], plain[0][:, -1]),
        (occurrences.max(axis=1), plain[1].max(axis=1)),
        ((occurrences > 0).sum(axis=1), (plain[1] > 0).sum(axis=1)),
        (triggers.min(axis=1), plain[2].min(axis=1)),
        (outputs[:, 0], plain[3][:, 0]),
        ((triggers == outputs).sum(axis=1), (plain[2] == plain[3]).sum(axis=1)),
    ]
    assert min(_p_same(ours, theirs) for ours, theirs in kinds if len(set(theirs)) > 1) > 1e-3
    fewer = dataclasses.replace(task, triggers=1).batch(4000, length, seed=6).occurrences.numpy()
    assert _p_same((fewer > 0).sum(axis=1), kinds[3][1]) < 1e-6


@every_task
def test_a_batch_depends_on_its_arguments_alone(task):
    batch = task.batch(4, 30, seed=7, index=2)
    series = list(itertools.islice(task.batches(4, 30, seed=7), 4))
    assert _same(batch, series[2])
    assert _same(batch, next(task.batches(4, 30, seed=7, start=2)))
    others = [*series[:2], series[3], task.batch(4, 30, seed=8, index=2), task.batch(4, 30, seed=2, index=7)]
    assert not any(torch.equal(batch.tokens, other.tokens) for other in others)
    assert all(getattr(batch, name).dtype == torch.int64 for name in FIELDS)
    assert all(getattr(batch, name).is_contiguous() for name in FIELDS)


def test_batches_of_a_series_are_independent():
    """How often two batches have the same token in the same place is what it is by chance."""
    first, second = itertools.islice(BigramTask(SHAKESPEARE, triggers=0).batches(300, 60, seed=9), 2)
    agree = (first.tokens == second.tokens).float().mean()
    agree_shifted = (first.tokens == second.tokens.roll(1, dims=0)).float().mean()
    assert agree == pytest.approx(float((SHAKESPEARE.initial**2).sum()), abs=0.006)
    assert agree == pytest.approx(float(agree_shifted), abs=0.008)


def test_seeds_mean_the_same_in_every_version():
    batch = BigramTask(SHAKESPEARE).batch(2, 16, seed=0)
    text = ["".join(SHAKESPEARE.symbols[t] for t in row) for row in batch.tokens.tolist()]
    assert text == ["o cilin cu.\nd ce", "\nShis.\nV:\nCERY:\n"]
    assert batch.outputs.tolist() == [[41, 17, 2, 1, 52], [59, 39, 47, 35, 60]]


@every_task
@pytest.mark.parametrize("size", [1, 2, 3, 17, 64])
def test_numba_changes_nothing(task, size, monkeypatch):
    pytest.importorskip("numba", exc_type=ImportError)
    assert kernel.compiled() is not None
    with monkeypatch.context() as patch:
        patch.setattr(kernel, "compiled", lambda: None)
        by_numpy = task.batch(size, 50, seed=10)
    monkeypatch.setattr(sampling, "WORTH_COMPILING", 0)
    assert _same(task.batch(size, 50, seed=10), by_numpy)


def test_numba_and_numpy_agree_where_a_number_falls_on_a_threshold():
    pytest.importorskip("numba", exc_type=ImportError)
    chain = Chain.from_counts("abcd", [1, 1, 1, 1], [[0, 1, 2, 1], [1, 0, 0, 0], [0, 0, 1, 1], [2, 1, 1, 0]])
    law = AliasTable.of(np.vstack([chain.transitions, np.eye(4)]))
    uniforms = np.random.default_rng(12).integers(0, 16, (30, 40)) / 16
    first, rows = np.arange(30) % 4, np.tile([0, 1, 4, 3], (30, 1))
    ours = sampling.vectorised(first, uniforms, law, rows)
    theirs = sampling.Walk(*(np.empty((30, 40), np.int64) for _ in range(3)))
    kernel.compiled()(first, uniforms, law.threshold.ravel(), law.alias.ravel(), rows * 4, *theirs)
    for a, b in zip(ours, theirs, strict=True):
        assert (a == b).all()
    possible = np.vstack([chain.transitions, np.eye(4)])
    assert (possible[rows[0][ours.tokens], ours.targets] > 0).all()


def test_numba_is_for_large_batches_and_may_be_missing(monkeypatch):
    asked = []
    monkeypatch.setattr(kernel, "compiled", lambda: asked.append(True))
    task = TASKS["few symbols"]
    assert task.batch(255, 256, seed=0).tokens.shape == (255, 256)
    assert not asked
    assert task.batch(256, 256, seed=0).tokens.shape == (256, 256)
    assert asked == [True]


def test_without_numba_there_is_no_kernel(monkeypatch):
    monkeypatch.setitem(sys.modules, "numba", None)
    assert kernel.compiled.__wrapped__() is None


@every_task
def test_the_data_set_yields_the_same_sequences(task):
    rows = list(itertools.islice(task.dataset(length=12, seed=11, size=4, start=1), 10))
    batches = list(itertools.islice(task.batches(4, 12, seed=11, start=1), 3))
    for i, row in enumerate(rows):
        assert set(row) == {"tokens", "targets", "occurrences"}
        for name, values in row.items():
            assert values.tolist() == getattr(batches[i // 4], name)[i % 4].tolist()


def test_the_data_set_feeds_torch():
    task = TASKS["fixed"]
    loader = torch.utils.data.DataLoader(task.dataset(12, seed=11, size=8).with_format("torch"), batch_size=8)
    found, batch = next(iter(loader)), task.batch(8, 12, seed=11)
    for name, values in found.items():
        assert torch.equal(values, getattr(batch, name))


def test_a_batch_goes_to_a_device():
    batch = TASKS["fixed"].batch(2, 5, seed=0)
    moved = batch.to("meta")
    assert all(getattr(moved, name).device.type == "meta" for name in FIELDS)
    assert _same(batch.to("cpu"), batch)


def test_settings_are_all_that_matters_and_fit_for_json():
    seen = {json.dumps(task.settings()) for task in TASKS.values()}
    assert len(seen) == len(TASKS)
    settings = BigramTask(SHAKESPEARE, held_out=(2, 1)).settings()
    assert set(settings) == {"task", *(field.name for field in dataclasses.fields(BigramTask))}
    assert settings["held_out"] == [1, 2]
    assert SHAKESPEARE.digest in str(settings["chain"])
    assert BigramTask(SHAKESPEARE) == BigramTask(Chain.shakespeare())
    assert len({BigramTask(SHAKESPEARE), BigramTask(Chain.shakespeare()), BigramTask(SKEWED)}) == 2


CYCLE = Chain.from_counts("abc", [3, 2, 1], [[0, 1, 0], [0, 0, 1], [1, 0, 0]])
RARE = Chain.from_counts("abc", [1, 1, 0], np.ones((3, 3)))
SELF = Chain.from_counts("abc", [1, 2, 3], np.eye(3))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: BigramTask(CYCLE, triggers=-1), "must be 0 or more, got triggers=-1"),
        (lambda: BigramTask(CYCLE, triggers=1, offset=-1), "must be 0 or more, got triggers=1, offset=-1"),
        (lambda: BigramTask(CYCLE, triggers=4), "4 triggers are too many: the chain counts has 3 tokens"),
        (lambda: BigramTask(CYCLE, triggers=2, offset=2), "2 triggers after skipping 2 are too many"),
        (lambda: BigramTask(RARE, triggers=3), "has 2 tokens with a probability above 0"),
        (lambda: BigramTask(RARE, triggers=3, fixed=False), "has 2 tokens with a probability above 0"),
        (lambda: BigramTask(CYCLE, triggers=1, fixed=False, offset=1), "offset=1 needs fixed triggers, .*fixed=True"),
        (lambda: BigramTask(CYCLE, triggers=1, held_out=(3,)), "held_out has the token 3; .* are 0 to 2"),
        (lambda: BigramTask(CYCLE, triggers=1, held_out=(-1,)), "held_out has the token -1"),
        (
            lambda: BigramTask(CYCLE, triggers=1, held_out=(0, 1, 2)),
            r"no output is left for the trigger 'a' \(token 0\)",
        ),
        (lambda: BigramTask(CYCLE, triggers=2, outputs="bigram", held_out=(2,)), "left for the trigger 'b'"),
        (lambda: BigramTask(SELF, 1, outputs="bigram", no_repeat=True), "left for the trigger 'c' .*uniformly"),
        (lambda: BigramTask(SELF, 1, False, outputs="bigram", no_repeat=True), "left for the trigger 'a'"),
        (lambda: BigramTask(CYCLE, triggers=1).held_out_test(), r"no token is held out.*held_out=\(…\)"),
        (lambda: BigramTask(CYCLE, 1, no_repeat=True, held_out=(0,)).held_out_test(), "left for the trigger 'a'"),
        (lambda: TASKS["fixed"].batch(0, 5, 0), "at least 1 sequence, got size=0"),
        (lambda: TASKS["fixed"].batch(5, 1, 0), "length 1 are too short: .* at least 2 tokens"),
        (lambda: TASKS["fixed"].batch(5, 5, -1), "0 or more, got seed=-1, index=0"),
        (lambda: TASKS["fixed"].batches(5, 5, 0, start=-2), "got seed=0, index=-2"),
        (lambda: TASKS["fixed"].batches(5, 0, 0), "length 0 are too short"),
        (lambda: TASKS["fixed"].dataset(1, 0), "length 1 are too short"),
        (lambda: TASKS["fixed"].dataset(5, 0, size=0), "at least 1 sequence"),
    ],
)
def test_what_cannot_be(make, message):
    with pytest.raises(ToyError, match=message):
        make()


def test_outputs_are_one_of_two_laws(as_users_run):
    with pytest.raises(ToyError, match="outputs must be 'uniform' or 'bigram', got 'often'"):
        BigramTask(CYCLE, triggers=1, outputs="often")


def test_a_trigger_that_is_not_drawn_needs_no_output():
    assert BigramTask(SELF, triggers=0, outputs="bigram", no_repeat=True).batch(2, 4, 0).outputs.shape == (2, 0)
    half = Chain.from_counts("abc", [1, 2, 3], [[1, 0, 0], [1, 1, 1], [1, 1, 1]])
    assert set(BigramTask(half, 2, outputs="bigram", no_repeat=True).batch(9, 4, 0).triggers.flatten().tolist()) == {
        1,
        2,
    }


def test_importing_the_task_imports_nothing_heavy_but_torch():
    script = (
        "import sys; from mechpaint.toy.bigram_task import *; BigramTask(Chain.shakespeare()).batch(64, 64, 0); "
        "print({'datasets', 'pandas', 'matplotlib', 'numba', 'transformers'} & set(sys.modules))"
    )
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "set()"
