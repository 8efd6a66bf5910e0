"""What a source may be, and that of a large one no more is read than is asked for."""

from __future__ import annotations

import bz2
import codecs
import csv
import gzip
import json
import lzma
import subprocess
import sys
from itertools import islice

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mechpaint.data import FileSource, HubSource, parse_source, read_rows, read_text, read_texts
from mechpaint.errors import TaskError, TrainingError
from mechpaint.finetuning import labelled
from mechpaint.tasks import MaskedTokens, Similarity, Text

WORDS = ("NA", "null", "None", "nan")
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
    with pytest.raises(TaskError, match=r"the column 'text' of row 2 of .* does not hold text; it has: text"):
        list(read_texts(str(path)))
    with pytest.raises(TaskError, match=r"row 2 of .*: expected texts in sentence1 and sentence2"):
        Similarity(str(path)).items(speaking)
    with pytest.raises(TaskError, match=r"row 1 of .* does not hold text"):
        list(read_texts(str(path), "label"))


# ---- files say what they hold --------------------------------------------------------------------------------------

NAMES = {"a[1]": "a1", "b*": "bb", "c?": "cc", "d{1,2}": "d1", "e::f": "f", "[2026] x/g": "2 x/g", "h#i": "h"}


@pytest.mark.parametrize("suffix", ["txt", "jsonl", "csv", "parquet", "txt.gz", "jsonl.xz"])
@pytest.mark.parametrize(("name", "other"), NAMES.items())
def test_a_name_is_a_name(tmp_path, monkeypatch, name, other, suffix):
    monkeypatch.chdir(tmp_path)
    opened = {"gz": gzip.open, "xz": lzma.open}.get(suffix.rpartition(".")[2], open)
    for stem, text in ((name, "mine"), (other, "another's")):
        path = tmp_path / f"{stem}.{suffix}"
        path.parent.mkdir(exist_ok=True)
        if suffix == "parquet":
            pd.DataFrame({"text": [text]}).to_parquet(path)
            continue
        with opened(path, "wb") as file:
            file.write(({"csv": "text\n", "jsonl": '{"text": "'}.get(suffix.partition(".")[0], "") + text).encode())
            file.write(b'"}' if "jsonl" in suffix else b"\n")
    assert list(read_texts(f"{name}.{suffix}")) == ["mine"]


def test_a_folder_whose_name_is_a_pattern_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "set[1]").mkdir()
    (tmp_path / "set[1]" / "train.jsonl").write_text('{"text": "mine"}\n')
    with pytest.raises(TaskError, match="takes for a pattern"):
        read_rows("set[1]")


@pytest.mark.parametrize(
    "source", ["Once upon a time " * 20, "x" * 300 + ".txt", "a\0b.txt", "~nobody-of-this-name/a.txt"]
)
def test_what_cannot_be_a_name_is_refused(source):
    with pytest.raises(TaskError, match="there is no file"):
        read_rows(source)


@pytest.mark.parametrize(
    ("name", "content", "rows"),
    [
        ("a.txt", b"one\r\ntwo\rthree\n", [{"text": "one"}, {"text": "two"}, {"text": "three"}]),
        ("a.txt", "a\u2028b\x0bc\n".encode(), [{"text": "a\u2028b\x0bc"}]),
        ("a.csv", b'text,n\r\n"one\r\ntwo",1\r\n', [{"text": "one\r\ntwo", "n": 1}]),
        ("a.csv", b"code,y\nNA,0\nnull,1\nNone,2\nnan,3\n", [{"code": c, "y": i} for i, c in enumerate(WORDS)]),
        ("a.csv", b"a,b\nTrue,2026-01-02\nfalse,1/2\n", [{"a": "True", "b": "2026-01-02"}, {"a": "false", "b": "1/2"}]),
        ("a.csv", b"a,b\n007,1.50\n12,2.5\n", [{"a": "007", "b": "1.50"}, {"a": "12", "b": "2.5"}]),
        ("a.csv", b"a,b\n7,1\n,2.5\n-3,inf\n", [{"a": 7, "b": 1}, {"a": None, "b": 2.5}, {"a": -3, "b": float("inf")}]),
        ("a.csv", b"a,b\n,x\n,y\n", [{"a": None, "b": "x"}, {"a": None, "b": "y"}]),
        ("a.csv", b"text\n" + b"long " * 100_000 + b"\n", [{"text": "long " * 100_000}]),
        ("a.jsonl", b'{"a": "2026-01-02T00:00:00", "b": "NA"}\r\n', [{"a": "2026-01-02T00:00:00", "b": "NA"}]),
        ("a.jsonl", b'{"a": 1}\n{"a": "x", "b": null}\n', [{"a": 1}, {"a": "x", "b": None}]),
    ],
)
@pytest.mark.parametrize("mark", [b"", codecs.BOM_UTF8], ids=["", "BOM"])
def test_a_file_holds_what_it_says(tmp_path, name, content, rows, mark):
    (tmp_path / name).write_bytes(mark + content)
    assert list(read_rows(str(tmp_path / name))) == rows
    (tmp_path / f"{name}.gz").write_bytes(gzip.compress(mark + content))
    assert list(read_rows(str(tmp_path / f"{name}.gz"))) == rows


def test_a_json_list_with_a_mark(tmp_path):
    (tmp_path / "a.json").write_bytes(codecs.BOM_UTF8 + json.dumps(ROWS).encode())
    assert list(read_rows(str(tmp_path / "a.json"))) == ROWS


@given(
    st.lists(
        st.fixed_dictionaries({"text": st.text(min_size=1), "number": st.integers() | st.floats(allow_nan=False)}),
        min_size=1,
    )
)
def test_whatever_is_written_as_csv_is_read(tmp_path_factory, rows):
    path = tmp_path_factory.mktemp("csv") / "a.csv"
    with path.open("w", encoding="utf-8", errors="surrogatepass", newline="") as file:
        writer = csv.DictWriter(file, ["text", "number"])
        writer.writeheader()
        writer.writerows(rows)
    try:
        path.read_text("utf-8")
    except UnicodeDecodeError:
        with pytest.raises(TaskError, match="is not UTF-8"):
            list(read_rows(str(path)))
        return
    read = list(read_rows(str(path)))
    assert [(str(row["text"]), row["number"]) for row in read] == [(row["text"], row["number"]) for row in rows]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"text,text\na,b\n", "names the column 'text' twice"),
        (b"text;label\na;1\n", "one column: expected commas between columns"),
        (b"text\tlabel\na\t1\n", "one column: expected commas between columns"),
        (b"text,n\na\n", "line 2 has 1 cells, and the header 2"),
        (b'text\n"never closed\n', "line 2: unexpected end of data"),
        (b"text\n\xff\n", "line 2 is not UTF-8"),
        (b"n\n" + b"1\n" * 1000 + b"x\n", "line 1002 has 'x' in the column 'n', where the first rows have numbers"),
    ],
)
def test_tables_that_are_broken_are_said_by_their_line(tmp_path, content, said):
    (tmp_path / "a.csv").write_bytes(content)
    with pytest.raises(TaskError, match=said):
        list(read_rows(str(tmp_path / "a.csv")))


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv", "sentence,source\nfirst,wiki\n,news\nlast,wiki\n"),
        ("a.jsonl", '{"sentence":"first","source":"wiki"}\n{"sentence":null,"source":"news"}\n'),
        ("b.jsonl", '{"sentence":"first","source":"wiki"}\n{"source":"news"}\n'),
        ("c.jsonl", '{"sentence":"first","source":"wiki"}\n{"sentence":3,"source":"news"}\n'),
    ],
)
def test_the_column_of_texts_is_chosen_once(tmp_path, name, content):
    (tmp_path / name).write_text(content)
    with pytest.raises(TaskError, match=r"the column 'sentence' of row 2 of .* does not hold text"):
        list(read_texts(str(tmp_path / name)))


def test_the_column_of_texts_is_seen_beyond_the_first_row(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"n": 1, "sentence": null}\n{"n": 2, "sentence": "b"}\n')
    with pytest.raises(TaskError, match="the column 'sentence' of row 1"):
        list(read_texts(str(tmp_path / "a.jsonl")))


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


def test_a_column_is_chosen_by_the_tasks_that_take_one_and_named_elsewhere(tmp_path):
    path, hashed = tmp_path / "a.csv", tmp_path / "b#c.txt"
    path.write_text("text,other\nhello,world\n")
    hashed.write_text("a line\n")
    assert Text.from_argument(f"{path}#other") == Text(str(path), column="other")
    assert str(Text.from_argument(f"{path}#other")) == f"text:{path}#other"
    assert read_text(str(path), "other") == "world"
    assert Text.from_argument(str(hashed)) == Text(str(hashed))
    assert [*read_texts(str(hashed))] == ["a line"]
    with pytest.raises(TaskError, match="SOURCE#COLUMN"):
        read_rows(f"{path}#other")
    with pytest.raises(TaskError, match="the column ''"):
        [*read_texts(str(path), "")]


def test_a_folder_is_a_source_whatever_its_name(tmp_path, monkeypatch):
    folder = tmp_path / "a:b"
    folder.mkdir()
    (folder / "train.txt").write_text("a line\n")
    assert [*read_texts(str(folder))] == ["a line"]
    monkeypatch.chdir(folder)
    assert [*read_texts(".")] == ["a line"]


def test_a_number_that_python_does_not_read_is_named_with_its_line(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text('{"text": "a", "n": 1}\n{"text": "b", "n": ' + "9" * 5000 + "}\n")
    with pytest.raises(TaskError, match=r"line 2 has a number of more than 4,300 digits"):
        [*read_rows(str(path))]


def test_half_a_character_and_a_key_twice_are_refused(tmp_path):
    half, twice = tmp_path / "half.jsonl", tmp_path / "twice.jsonl"
    half.write_text('{"text": "to be"}\n{"text": "to be \\ud800 or"}\n')
    twice.write_text('{"text": "a"}\n{"text": "b", "n": {"x": 1, "x": 2}}\n')
    with pytest.raises(TaskError, match=r"row 2 .* half of a character"):
        [*read_texts(str(half))]
    with pytest.raises(TaskError, match=r"line 2 has an object that names 'x' twice"):
        [*read_rows(str(twice))]
    with pytest.raises((TaskError, TypeError), match=r"got 5|violates type hint"):
        read_rows(5)
    assert [*read_rows(half)] == [*read_rows(str(half))]
