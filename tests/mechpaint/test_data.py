"""What a source may be, and that of a large one no more is read than is asked for."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import subprocess
import sys
from itertools import islice

import pandas as pd
import pytest

from mechpaint.data import FileSource, HubSource, parse_source, read_rows, read_texts
from mechpaint.errors import TaskError, TrainingError
from mechpaint.finetuning import labelled
from mechpaint.tasks import MaskedTokens, Similarity

ROWS = [{"text": f"number {i}, é", "label": i, "score": i / 2} for i in range(7)]
LINES = "".join(json.dumps(row) + "\n" for row in ROWS).encode()


def _write(path):
    """The rows, in the way that the name says."""
    name, last = path.name, path.suffix
    if name.endswith(".json"):
        path.write_text(json.dumps(ROWS, indent=1))
    elif name.endswith(".csv"):
        pd.DataFrame(ROWS).to_csv(path, index=False)
    elif name.endswith(".parquet"):
        pd.DataFrame(ROWS).to_parquet(path)
    elif ".csv." in name:
        pd.DataFrame(ROWS).to_csv(path, index=False, compression="infer")
    else:
        opened = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}.get(last, open)
        with opened(path, "wb") as file:
            file.write(LINES)
    return path


@pytest.mark.parametrize(
    "name",
    ["a.jsonl", "a.json", "a.csv", "a.parquet", "A.JSONL", "a.b.jsonl.gz", "a.jsonl.bz2", "a.jsonl.xz", "a.csv.gz"],
)
def test_every_kind_of_file_gives_the_same_rows(tmp_path, name):
    assert list(read_rows(str(_write(tmp_path / name)))) == ROWS


@pytest.mark.parametrize("name", ["a.txt", "a.md", "a.txt.gz"])
def test_of_a_text_each_line_is_a_row(tmp_path, name):
    text = "one\n\n  three é\n".encode()
    (tmp_path / name).write_bytes(gzip.compress(text) if name.endswith(".gz") else text)
    assert list(read_rows(str(tmp_path / name))) == [{"text": "one"}, {"text": ""}, {"text": "  three é"}]


@pytest.mark.parametrize(
    ("source", "place"),
    [
        ("user/name", HubSource("user/name")),
        ("nyu-mll/glue:rte", HubSource("nyu-mll/glue", "rte")),
        ("glue:rte:validation", HubSource("glue", "rte", "validation")),
        ("name::test", HubSource("name", None, "test")),
    ],
)
def test_data_sets_on_the_hub_are_named_with_configuration_and_split(source, place):
    assert parse_source(source) == place


def test_a_file_is_a_file_whatever_it_is_called(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = _write(tmp_path / "odd:name.jsonl")
    assert parse_source("odd:name.jsonl") == FileSource(path.relative_to(tmp_path), "json")


def test_splits_and_configurations_are_those_of_datasets(tmp_path, monkeypatch):
    """A folder that is laid out like a data set on the hub is read by the same code, and needs no network."""
    folder = tmp_path / "set"
    folder.mkdir()
    (folder / "train.jsonl").write_text('{"sentence": "a", "label": 0}\n{"sentence": "b", "label": 1}\n')
    (folder / "test.jsonl").write_text('{"sentence": "c", "label": 1}\n')
    (folder / "README.md").write_text(
        "---\nconfigs:\n- config_name: whole\n  data_files:\n  - {split: train, path: train.jsonl}\n"
        "  - {split: test, path: test.jsonl}\n"
        "- config_name: half\n  data_files:\n  - {split: train, path: test.jsonl}\n---\n"
    )
    monkeypatch.chdir(tmp_path)

    def sentences(source, split="train"):
        return [row["sentence"] for row in read_rows(source, split)]

    assert sentences("set:whole") == ["a", "b"]
    assert sentences("set:whole", "test") == sentences("set:whole:test") == sentences("set:half:train", "test") == ["c"]
    assert sentences(f"{folder}:whole:test") == ["c"]
    with pytest.raises(TaskError, match="cannot read 'set:whole:nothing'"):
        sentences("set:whole:nothing")
    data = labelled(train="set:whole", validation="set:whole:test")
    assert [example.texts for example in (*data.train, *data.validation)] == [("a",), ("b",), ("c",)]
    with pytest.raises(TrainingError, match="names the split to train on: say what to validate on"):
        labelled(train="set:whole:train")


def test_without_a_network_the_hub_cannot_be_asked(monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(
        TaskError, match=r"cannot read 'no/such:en'.*Couldn't reach.*There is no file of that name either"
    ):
        list(read_rows("no/such:en"))


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        (
            "a.jsonl",
            LINES + b'{"text": "c" "label": 3}\n',
            r"line 8 is not JSON .* at character 14\): '{\"text\": \"c\" ",
        ),
        ("a.jsonl", LINES + b"\n[1, 2]\n", r"line 9 is \[1, 2\], not an object"),
        ("a.jsonl", LINES + b'{"text": "cut o', "line 8 is not JSON"),
        ("a.jsonl", LINES + b'{"text": "\xff"}\n', "line 8 is not UTF-8"),
        ("a.jsonl.gz", gzip.compress(LINES + b"{\n"), "line 8 is not JSON"),
        ("a.jsonl.gz", gzip.compress(LINES)[:-12], "cannot read .*Compressed file ended"),
        ("a.jsonl.gz", LINES, "Not a gzipped file"),
        ("a.json", b'[{"text": "a"},\n{"text" "b"}]', r"line 2 is not JSON .* at character 9\): '{\"text\" \"b\"}]'"),
        ("a.json", b'[{"text": "a"},\n{"text": "\xff"}]', r"line 2 is not UTF-8 .* at byte 11\)"),
        ("a.jsonl", b"", "it is empty"),
        ("a.csv", b"text,label\na,1\nb,2,3\n", "line 3"),
        ("a.parquet", b"PAR1", "cannot read"),
    ],
)
def test_what_is_broken_is_said_by_its_line(tmp_path, name, content, said):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(TaskError, match=said):
        list(read_rows(str(tmp_path / name)))


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("none.jsonl", "there is no file"),
        ("./none", "there is no file"),
        ("none.csv.gz", "there is no file"),
        ("a.xyz", "expected a file ending in .txt"),
        ("a.xyz.gz", "expected a file ending in .txt"),
        ("a:b:c:d", "expected a file, or name:configuration:split"),
        (":b", "expected a file, or name:configuration:split"),
    ],
)
def test_what_is_no_source_is_said_at_once(tmp_path, monkeypatch, source, said):
    monkeypatch.chdir(tmp_path)
    for name in ("a.xyz", "a.xyz.gz"):
        (tmp_path / name).write_text("a")
    with pytest.raises(TaskError, match=said):
        read_rows(source)


def test_rows_without_what_is_needed_are_named(tmp_path, speaking):
    path = tmp_path / "a.jsonl"
    path.write_text('{"text": "a", "sentence1": "b", "sentence2": "c", "label": 1}\n{"text": null}\n')
    with pytest.raises(
        TaskError, match=r"the column 'text' of row 2 of .* does not hold text; it has: text, sentence1"
    ):
        list(read_texts(str(path)))
    with pytest.raises(TaskError, match=r"row 2 of .*: expected texts in sentence1 and sentence2"):
        Similarity(str(path)).items(speaking)
    with pytest.raises(TaskError, match=r"row 1 of .* does not hold text"):
        list(read_texts(str(path), "label"))


# ---- large files ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """24 megabytes of JSON lines, the last of which is broken."""
    path = tmp_path_factory.mktemp("large") / "a.jsonl"
    line = json.dumps({"text": "to be or not to be " * 50, "sentence1": "a b", "sentence2": "b c", "score": 1.0}) + "\n"
    path.write_text(line * 24_000 + "{broken\n")
    return path


def test_no_more_is_read_than_is_asked_for(large):
    assert len(list(islice(read_rows(str(large)), 100))) == 100
    assert len(list(read_texts(str(large)))) == 2106  # until there are two million characters
    with pytest.raises(TaskError, match="line 24001 is not JSON"):
        list(read_rows(str(large)))


def test_masked_tokens_and_pairs_of_a_large_file_are_of_its_beginning(large):
    assert len(MaskedTokens(str(large))._texts()) == 2106
    with pytest.raises(TaskError, match="line 24001"):  # pairs of a few letters: the end comes before two million
        list(Similarity(str(large))._pairs())


GROWTH = """
import resource, sys
from mechpaint.data import read_rows

for row in read_rows(sys.argv[1]):
    break
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
count = sum(1 for row in read_rows(sys.argv[2]))
print(count, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


@pytest.mark.slow
@pytest.mark.parametrize("suffix", ["txt", "jsonl", "csv", "parquet"])
def test_a_large_file_is_never_in_memory_whole(tmp_path, suffix):
    """Reading all of 400 megabytes takes less than half as much more memory than reading seven rows."""
    small, big = tmp_path / f"small.{suffix}", tmp_path / f"big.{suffix}"
    table = pd.DataFrame({"text": ["to be or not to be " * 50] * 1000})
    if suffix == "parquet":
        import pyarrow as pa
        import pyarrow.parquet as pq

        with pq.ParquetWriter(
            big, pa.schema([("text", pa.string())]), compression="none", use_dictionary=False
        ) as file:
            for _ in range(400):
                file.write_table(pa.table({"text": table["text"].to_list()}))
        table.head(7).to_parquet(small)
    else:
        block = {
            "txt": "\n".join(table["text"]) + "\n",
            "jsonl": table.to_json(orient="records", lines=True),
            "csv": table.to_csv(index=False, header=False),
        }[suffix]
        header = "text\n" if suffix == "csv" else ""
        small.write_text(header + block)
        with big.open("w") as file:
            file.write(header)
            for _ in range(400):
                file.write(block)
    assert big.stat().st_size > 370e6
    done = subprocess.run([sys.executable, "-c", GROWTH, small, big], capture_output=True, text=True, check=True)
    count, megabytes = map(int, done.stdout.split())
    assert count == 400_000
    assert megabytes < 180
