"""What is wrong with a task of lm-eval, or with its data, is named, and counted where it is many."""

from __future__ import annotations

import dataclasses
import json

import pandas as pd
import pytest

from mechpaint.errors import TaskError
from mechpaint.runs.kinds import KINDS
from mechpaint.tasks import LmEval, Sources, lm_eval_tasks
from mechpaint.tasks.lm_eval import registry
from tests import tiny
from tests.mechpaint.tasks.lm_eval import made_up

ANSWERS = """
task: answers
dataset_path: json
dataset_kwargs: {data_files: {test: nowhere.jsonl}}
test_split: test
output_type: loglikelihood
doc_to_text: "{{question}}"
doc_to_target: "{{answer}}"
metric_list:
  - {metric: acc, aggregation: mean, higher_is_better: true}
"""
CHOICES = """
task: choices
dataset_path: json
dataset_kwargs: {data_files: {test: nowhere.jsonl}}
test_split: test
output_type: multiple_choice
doc_to_text: "{{question}}"
doc_to_choice: choices
doc_to_target: gold
metric_list:
  - {metric: acc, aggregation: mean, higher_is_better: true}
"""
GOOD = {"question": "Where is Paris?", "answer": " France"}


@pytest.fixture
def own(tmp_path):
    """A folder with two tasks, whose data is given beside them."""
    path = tmp_path / "tasks"
    path.mkdir()
    (path / "answers.yaml").write_text(ANSWERS)
    (path / "choices.yaml").write_text(CHOICES)
    return path


def _task(own, documents, name="answers", **changed):
    data = made_up.rows(own.parent / "data.jsonl", documents)
    return LmEval(name, folder=str(own), data=str(data), **changed)


def test_a_task_that_does_not_exist_is_told_with_names_like_it(own):
    with pytest.raises(TaskError, match=r"neither lm-eval nor '.*tasks' has a task 'answrs'; names like it: answers"):
        lm_eval_tasks("answrs", Sources(folder=str(own)))


@pytest.mark.slow
def test_names_like_it_are_sought_among_lm_evals_own():
    with pytest.raises(TaskError, match=r"lm-eval has no task, group or tag 'arc_eazy'; names like it: arc_easy"):
        LmEval("arc_eazy").loaded  # noqa: B018


def test_a_group_is_not_one_task(own):
    (own / "group.yaml").write_text("group: both\ntask: [answers, choices]\n")
    with pytest.raises(TaskError, match="'both' is a group"):
        LmEval("both", folder=str(own)).loaded  # noqa: B018


def test_a_group_that_changes_its_tasks_is_refused(own):
    (own / "group.yaml").write_text("group: both\ntask: [choices, {task: answers, num_fewshot: 3}]\n")
    with pytest.raises(TaskError, match=r"'both' of lm-eval defines or changes tasks .*\(answers: num_fewshot\)"):
        lm_eval_tasks("both", Sources(folder=str(own)))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("task: [broken", r"broken.yaml, line \d+: expected"),
        ("task: a\n  output_type: b: c\n", r"broken.yaml, line 2: mapping values are not allowed"),
        ("just words", "broken.yaml: expected names and values"),
        ("include: other.yaml\ntask: broken\n", "broken.yaml includes 'other.yaml', and there is no such file"),
    ],
)
def test_a_yaml_file_with_an_error_is_named(own, text, message):
    (own / "broken.yaml").write_text(text)
    with pytest.raises(TaskError, match=message):
        lm_eval_tasks("answers", Sources(folder=str(own)))


def test_a_setting_that_lm_eval_does_not_know_is_named(own):
    (own / "answers.yaml").write_text(ANSWERS + "doc_to_txt: question\n")
    with pytest.raises(TaskError, match=r"cannot load lm_eval:answers: .*doc_to_txt"):
        _task(own, [GOOD]).loaded  # noqa: B018


def test_no_folder(tmp_path):
    with pytest.raises(TaskError, match="there is no folder"):
        lm_eval_tasks("answers", Sources(folder=str(tmp_path / "nowhere")))


def test_broken_lines_are_named_and_counted(own):
    data = own.parent / "data.jsonl"
    data.write_text(f'{json.dumps(GOOD)}\n{{"question": "Where\n\n{json.dumps(GOOD)}\n{{]\n')
    with pytest.raises(TaskError, match=r"data.jsonl: line 2 is not JSON \(.*\): .* \(2 such in all\)"):
        LmEval("answers", folder=str(own), data=str(data)).loaded  # noqa: B018


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "has no rows"),
        ("[1, 2]", r"row 1 is 1, not an object \(2 such in all\)"),
        ("\n\n[null]", "row 1 is null, not an object"),
        ('[{"question": "a"},\n {"question" "b"}]', "line 2 is not JSON"),
    ],
)
def test_files_that_hold_no_documents(own, content, message):
    data = own.parent / "data.json"
    data.write_text(content)
    with pytest.raises(TaskError, match=message):
        LmEval("answers", folder=str(own), data=str(data)).loaded  # noqa: B018


@pytest.mark.parametrize(("name", "message"), [("no.jsonl", "there is no file"), ("is.odd", "cannot tell how to read")])
def test_files_that_cannot_be_read(own, name, message):
    (own.parent / "is.odd").write_text("")
    with pytest.raises(TaskError, match=message):
        LmEval("answers", folder=str(own), data=str(own.parent / name)).loaded  # noqa: B018


def test_columns_that_are_missing_are_named_with_those_that_are_there(own):
    with pytest.raises(TaskError, match=r"needs the column 'question', and '.*data.jsonl' has: prompt, answer"):
        _task(own, [{"prompt": "Where?", "answer": " here"}]).loaded  # noqa: B018


def test_columns_that_some_rows_lack_are_named_and_counted(own):
    rows = [GOOD, {"question": "Where?"}, GOOD, {"answer": " here"}]
    with pytest.raises(TaskError, match=r"line 2 has no 'answer', which other rows have \(2 such in all\)"):
        _task(own, rows).loaded  # noqa: B018


def test_empty_answers_are_named_and_counted(own, speaking):
    rows = [GOOD, {**GOOD, "answer": ""}, GOOD, {**GOOD, "answer": ""}]
    with pytest.raises(TaskError, match=r"2 documents of lm_eval:answers have nothing to predict.*from 0: 1, 3"):
        _task(own, rows).items(speaking)


def test_answers_that_are_no_choice_are_named_and_counted(own, speaking):
    rows = [{"question": "Which?", "choices": [" a", " b"], "gold": gold} for gold in (0, 2, 1)]
    with pytest.raises(TaskError, match=r"1 documents of lm_eval:choices have a right answer that is none .*from 0: 1"):
        _task(own, rows, "choices").items(speaking)


def test_documents_longer_than_the_context_are_left_out_and_named(own, speaking):
    rows = [GOOD, {**GOOD, "question": "Where is the city? " * 30}, GOOD]
    selection = _task(own, rows).select(speaking)
    assert [document.name for document in selection.items] == ["document 0", "document 2"]
    assert selection.too_long == ("document 1",)
    assert _task(own, rows).select(speaking, limit=2).too_long == ("document 1",)  # the limit counts it, as lm-eval's
    with pytest.raises(TaskError, match="all 1 items of lm_eval:answers are longer than the model's 64 tokens"):
        _task(own, rows[1:2]).select(speaking)


def test_a_metric_that_the_task_has_not(own):
    with pytest.raises(TaskError, match="has no metric 'f1'; it has: acc"):
        _task(own, [GOOD], metric_name="f1").measured()


def test_aggregations_that_make_no_score(own):
    (own / "answers.yaml").write_text(ANSWERS.replace("aggregation: mean", "aggregation: median"))
    with pytest.raises(TaskError, match="cannot be scored by acc: expected a metric whose aggregation is one of mean"):
        _task(own, [GOOD]).measured()


def test_what_is_asked_otherwise_is_refused(own, speaking):
    (own / "answers.yaml").write_text(ANSWERS.replace("loglikelihood", "multiple_choice") + "unsafe_code: true\n")
    with pytest.raises(TaskError, match="runs code that the model writes"):
        _task(own, [GOOD]).items(speaking)


def test_encoders_are_refused(own):
    with pytest.raises(TaskError, match="asks which token comes next"):
        _task(own, [GOOD]).items(tiny.bridge("bert"))


def test_data_on_the_hub_says_how_to_give_a_file(own, monkeypatch):
    import datasets

    (own / "answers.yaml").write_text(ANSWERS.replace("dataset_path: json", "dataset_path: someone/something"))

    def offline(*args, **kwargs):
        raise ConnectionError("Couldn't reach 'someone/something' on the Hub (OfflineModeIsEnabled)")

    monkeypatch.setattr(datasets, "load_dataset", offline)
    with pytest.raises(TaskError, match=r"Couldn't reach .*asks the network; .*--task-data answers=FILE"):
        LmEval("answers", folder=str(own)).loaded  # noqa: B018


def test_lm_eval_that_is_not_installed_says_how_to_install_it(monkeypatch):
    monkeypatch.setattr(registry.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(TaskError, match=r"pip install 'mechpaint\[eval\]'"):
        LmEval("arc_easy").loaded  # noqa: B018


@pytest.mark.parametrize("argument", [None, "", "/acc"])
def test_a_task_needs_a_name(argument):
    with pytest.raises(TaskError, match="expected a task of lm-eval, such as lm_eval:arc_easy"):
        LmEval.from_argument(argument)


@pytest.mark.parametrize("text", ["answers", "=data.jsonl", "answers=", "answers:train=data.jsonl"])
def test_files_without_a_task(text):
    with pytest.raises(TaskError, match="--task-data: expected NAME=FILE or NAME:fewshot=FILE"):
        Sources.of_options(None, [text], None)


def test_two_files_for_a_task():
    with pytest.raises(TaskError, match="--task-data: two files for 'a'"):
        Sources.of_options(None, ["a=1.jsonl", "a=2.jsonl"], None)


def test_options_that_no_task_uses():
    tasks = [LmEval("a"), LmEval("b")]
    Sources.of_options("folder", ["a=1.jsonl"], 2).check_used(tasks)
    with pytest.raises(TaskError, match="--task-data names 'c', and no --task lm_eval:c is asked for"):
        Sources.of_options(None, ["c=1.jsonl"], None).check_used(tasks)
    with pytest.raises(TaskError, match="--num-fewshot is for tasks of lm-eval"):
        Sources.of_options(None, [], 2).check_used([])
    with pytest.raises(TaskError, match="--task-path is for tasks of lm-eval"):
        Sources.of_options("folder", [], None).check_used([])


def test_examples_need_a_file_that_is_asked(own):
    with pytest.raises(TaskError, match="the documents that are asked"):
        LmEval("answers", folder=str(own), examples="more.jsonl").loaded  # noqa: B018


def test_examples_come_from_their_own_file(own, speaking):
    more = made_up.rows(own.parent / "more.jsonl", [{"question": "Who?", "answer": " Mary"}] * 3)
    task = _task(own, [GOOD], examples=str(more), num_fewshot=1)
    (document,) = task.items(speaking)
    text = speaking.tokenizer.decode(document.requests[0].windows[0].before)
    assert text == "<bos>Who?  Mary\n\nWhere is Paris?"


def test_the_command_asks_the_tasks_of_a_folder(own, mechpaint, tmp_path):
    data = made_up.rows(tmp_path / "data.jsonl", [GOOD] * 3)
    model = tiny.folder(tmp_path / "model")
    done = mechpaint(
        "analyze", "painters", "--model", model, "--task", "lm_eval:answers", "--task-path", own,
        "--task-data", f"answers={data}", "--dry-run", "--json",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["items"] == {"lm_eval:answers": 3}
    assert "Generating" not in done.stderr


def test_the_command_says_what_is_wrong(mechpaint, own, tmp_path):
    done = mechpaint(
        "analyze", "painters", "--model", tiny.folder(tmp_path / "model"), "--task", "lm_eval:answers",
        "--task-path", own, "--task-data", "answers=nowhere.jsonl",
    )  # fmt: skip
    assert done.returncode == 2
    assert "there is no file 'nowhere.jsonl'" in " ".join(done.stderr.split())
    assert not (tmp_path / "runs").exists()


def test_every_kind_that_scores_tasks_has_the_options():
    from mechpaint.analyses.painters import Painters

    (kind,) = (kind for kind in KINDS if issubclass(Painters, kind.base))
    options = {field.name for group in kind.options for field in dataclasses.fields(group)}
    assert {"task_path", "task_data", "num_fewshot"} <= options


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "json", "parquet", "csv.gz"])
@pytest.mark.parametrize("mark", ["utf-8", "utf-8-sig"])
def test_a_word_is_a_word_in_every_kind_of_file(tmp_path, monkeypatch, speaking, suffix, mark):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "codes.yaml").write_text(
        'task: codes\ndataset_path: json\ntest_split: test\noutput_type: multiple_choice\ndoc_to_text: "{{code}} is"\n'
        'doc_to_choice: [" one", " two"]\ndoc_to_target: y\nmetric_list: [{metric: acc}]\n'
    )
    words = ["NA", "null", "None", "nan", "007", "1.50", "2026-01-02"]
    table = pd.DataFrame({"code": words, "y": [i % 2 for i in range(len(words))]})
    if suffix == "parquet":
        table.to_parquet("d.parquet")
    elif suffix.startswith("csv"):
        table.to_csv(f"d.{suffix}", index=False, encoding=mark, compression="infer")
    else:
        text = table.to_json(orient="records", lines=suffix == "jsonl")
        (tmp_path / f"d.{suffix}").write_text(text, encoding=mark)
    items = LmEval("codes", folder=".", data=f"d.{suffix}").select(speaking).items
    texts = [speaking.tokenizer.decode(item.rows()[0], skip_special_tokens=True) for item in items]
    assert [text.partition(" is")[0] for text in texts] == words
    assert [item.answer for item in items] == [i % 2 for i in range(len(words))]


def test_an_empty_cell_is_refused(tmp_path, speaking):
    (tmp_path / "codes.yaml").write_text(
        'task: codes\ndataset_path: json\ntest_split: test\noutput_type: multiple_choice\ndoc_to_text: "{{code}} is"\n'
        'doc_to_choice: [" one", " two"]\ndoc_to_target: y\nmetric_list: [{metric: acc}]\n'
    )
    (tmp_path / "d.csv").write_text("code,y\nA,0\n,1\n")
    with pytest.raises(TaskError, match="row 2 has no 'code'; JSON lines can say"):
        LmEval("codes", folder=str(tmp_path), data=str(tmp_path / "d.csv")).select(speaking)


@pytest.mark.parametrize("order", [[0, 1], [1, 0]], ids=["a later document", "the first document"])
def test_an_empty_choice_is_refused_wherever_it_is(tmp_path, speaking, order):
    (tmp_path / "c.yaml").write_text(
        'task: c\ndataset_path: json\ntest_split: test\noutput_type: multiple_choice\ndoc_to_text: "{{q}}"\n'
        "doc_to_choice: cs\ndoc_to_target: y\nmetric_list: [{metric: acc}]\n"
    )
    rows = [{"q": "b", "cs": ["x", "y"], "y": 0}, {"q": "a", "cs": ["", "y"], "y": 1}]
    (tmp_path / "d.jsonl").write_text("".join(json.dumps(rows[i]) + "\n" for i in order))
    with pytest.raises(TaskError, match=r"an empty (answer|choice)"):
        LmEval("c", folder=str(tmp_path), data=str(tmp_path / "d.jsonl")).select(speaking)
