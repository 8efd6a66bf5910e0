"""Labelled texts from files, and what each of GLUE's tasks is scored by."""

from __future__ import annotations

import json
import math

import numpy as np
import pandas as pd
import pytest

from mechpaint.errors import TaskError, TrainingError
from mechpaint.finetuning import GLUE, labelled
from tests.mechpaint.finetuning import made_up


def _written(path, rows):
    if path.suffix == ".jsonl":
        path.write_text("\n".join(map(json.dumps, rows)))
    elif path.suffix == ".json":
        path.write_text(json.dumps(rows))
    elif path.suffix == ".csv":
        pd.DataFrame(rows).to_csv(path, index=False)
    else:
        pd.DataFrame(rows).to_parquet(path)
    return str(path)


def _rows(benchmark, count=8):
    """Rows in GLUE's columns, with one that is not used."""
    kind = GLUE[benchmark]
    labels = [i / 4 if kind.labels == 1 else i % kind.labels for i in range(count)]
    texts = [{column: f"{column} number {i}" for column in kind.columns} for i in range(count)]
    return [{**text, "label": label, "idx": i} for i, (text, label) in enumerate(zip(texts, labels, strict=True))]


@pytest.mark.parametrize("benchmark", GLUE)
def test_the_tasks_of_glue(tmp_path, benchmark):
    path = _written(tmp_path / "a.jsonl", _rows(benchmark))
    data = labelled(benchmark, path)
    assert (len(data.train), len(data.validation)) == (6, 2)
    found = sorted([*data.train, *data.validation], key=lambda example: int(example.name))
    for i, example in enumerate(found):
        assert example.texts == tuple(f"{column} number {i}" for column in GLUE[benchmark].columns)
        assert example.label == _rows(benchmark)[i]["label"]


@pytest.mark.parametrize("suffix", [".jsonl", ".json", ".csv", ".parquet"])
def test_a_file_is_split_by_its_seed_and_two_are_not(tmp_path, suffix):
    path = _written(tmp_path / f"a{suffix}", _rows("rte", 40))
    other = _written(tmp_path / f"b{suffix}", _rows("rte", 4))
    first, again, second = (labelled("rte", path, held_out=0.2, seed=seed) for seed in (0, 0, 1))
    assert first == again
    assert first.validation != second.validation
    assert (len(first.train), len(first.validation)) == (32, 8)
    assert {*first.train}.isdisjoint(first.validation)
    assert "split by seed 1: 32 to train on, 8 to validate on" in second.source
    both = labelled("rte", path, other)
    assert (len(both.train), len(both.validation)) == (40, 4)


def test_data_of_ones_own(tmp_path):
    three = [{"sentence": f"text {i}", "label": i % 3} for i in range(9)]
    assert labelled(train=_written(tmp_path / "a.jsonl", three)).benchmark.labels == 3
    numbers = [{"sentence1": "a", "sentence2": "b", "label": i / 2} for i in range(8)]
    found = labelled(train=_written(tmp_path / "b.jsonl", numbers)).benchmark
    assert (found.columns, found.labels, found.metrics[0]) == (("sentence1", "sentence2"), 1, "Spearman")


def _closed(name, predicted, right):
    """The metrics of two binary variables from the four counts, those of numbers from numpy and pandas."""
    pairs = list(zip(predicted, right, strict=True))
    tp, tn, fp, fn = (pairs.count(pair) for pair in ((1, 1), (0, 0), (1, 0), (0, 1)))
    return {
        "accuracy": lambda: sum(p == r for p, r in pairs) / len(pairs),
        "F1": lambda: 2 * tp / (2 * tp + fp + fn),
        "Matthews": lambda: (tp * tn - fp * fn) / math.sqrt((tp + fp) * (tp + fn) * (tn + fp) * (tn + fn)),
        "Pearson": lambda: np.corrcoef(predicted, right)[0, 1],
        "Spearman": lambda: np.corrcoef(pd.Series(predicted).rank(), pd.Series(right).rank())[0, 1],
    }[name]()


@pytest.mark.parametrize("benchmark", GLUE)
def test_the_metrics_of_glue(benchmark):
    kind, rng = GLUE[benchmark], np.random.default_rng(0)
    right = [
        float(x) for x in (rng.normal(size=30).round(1) if kind.labels == 1 else rng.integers(kind.labels, size=30))
    ]
    given = [
        float(x) for x in (rng.normal(size=30) + right if kind.labels == 1 else rng.integers(kind.labels, size=30))
    ]
    examples = [made_up.Example(str(i), ("",), label) for i, label in enumerate(right)]
    for name in kind.metrics:
        found = kind.metric(examples, name)([e.name for e in examples], np.array(given)[:, None])
        assert found[0] == pytest.approx(_closed(name, given, right))
    assert kind.metrics[0] == {"cola": "Matthews", "stsb": "Spearman", "mrpc": "F1", "qqp": "F1"}.get(
        benchmark, "accuracy"
    )


ROW = {"sentence": "a text", "label": 0}


@pytest.mark.parametrize(
    ("rows", "error", "words"),
    [
        (
            [ROW, {"sentence": "b"}],
            TrainingError,
            "row 2 of .* no 'label'; expected .* sentence and label",
        ),
        ([{"text": "a", "label": 1}], TrainingError, "row 1 of .* has no 'sentence'.* got text, label"),
        ([ROW, {"sentence": 3, "label": 1}], TrainingError, "row 2 .* expected texts"),
        ([ROW, {"sentence": "b", "label": 2}], TrainingError, "label 2; expected a whole number from 0 to 1$"),
        ([ROW, {"sentence": "b", "label": -1}], TrainingError, "label -1.*test sets hide their labels"),
        ([{"sentence": "a", "label": "good"}], TrainingError, "label 'good'; expected a whole number from 0 to 1"),
        ([ROW, ROW, ROW, ROW], TrainingError, "all 3 examples to train on .* have the label 0; expected two"),
        ([ROW], TrainingError, "no examples to validate on"),
    ],
)
def test_bad_rows_are_named(tmp_path, rows, error, words):
    with pytest.raises(error, match=words):
        labelled("sst2", _written(tmp_path / "a.jsonl", rows))


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda path: labelled("snli"), TrainingError, "no task 'snli' in GLUE; there are: cola, sst2"),
        (lambda path: labelled(), TrainingError, "expected one of GLUE's tasks .*, or a file to train on"),
        (lambda path: labelled("rte", str(path / "none.jsonl")), TaskError, "there is no file"),
        (lambda path: labelled("rte", _broken(path)), TaskError, "cannot read"),
        (
            lambda path: labelled("rte", _written(path / "a.jsonl", _rows("rte")), held_out=1.0),
            TrainingError,
            "held_out",
        ),
        (lambda path: labelled(train=_jsonl(path, [{"text": "a"}])), TrainingError, "got text"),
        (
            lambda path: labelled(train=_jsonl(path, [{**ROW, "label": "x"}])),
            TrainingError,
            "counted from 0",
        ),
    ],
)
def test_what_cannot_be_read_is_refused(tmp_path, make, error, words):
    with pytest.raises(error, match=words):
        make(tmp_path)


def _jsonl(path, rows):
    return _written(path / "a.jsonl", rows)


def _broken(path):
    (path / "broken.jsonl").write_text(json.dumps(_rows("rte")[0]) + '\n{"sentence1": "a", "sen')
    return str(path / "broken.jsonl")
