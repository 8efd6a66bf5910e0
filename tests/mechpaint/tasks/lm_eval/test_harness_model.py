"""lm-eval asks a model along a route: compared with lm-eval's own HFLM around a model whose layers were reordered."""

from __future__ import annotations

import functools
import json
import sys

import pytest

pytest.importorskip("lm_eval")

import lm_eval.__main__
import lm_eval.tasks
import torch
import transformers
from lm_eval.api.instance import Instance
from lm_eval.api.model import CachingLM

import mechpaint as mp
from mechpaint.cli import lm_eval as command
from mechpaint.errors import TaskError
from mechpaint.hooks import Average, ReadResidual, Skip
from mechpaint.models.loading import digest
from mechpaint.tasks.lm_eval.harness_model import MAX_GEN_TOKS, MechpaintLM
from tests import tiny
from tests.reordered import hflm

TEXTS = ("The capital of France", "When Mary and John went to the store", "the city of", "Par")
ORDERS = {
    "": [0, 1, 2, 3, 4, 5],
    "0-5": [0, 1, 2, 3, 4, 5],
    "5-0": [5, 4, 3, 2, 1, 0],
    "3 [1 4]x2": [3, 1, 4, 1, 4],
    "skip(2, 3)": [0, 1, 4, 5],
    "reverse(1, 4) + skip(0, 0)": [4, 3, 2, 1, 5],
}
FAST = ("", "3 [1 4]x2")
CHAT = "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}{% if add_generation_prompt %}<a>{% endif %}"


def _requests(kind, *arguments):
    return [Instance(kind, {}, given, i) for i, given in enumerate(arguments)]


CHOICES = _requests(
    "loglikelihood", *((text, more) for text in ("", *TEXTS) for more in (" is Paris", " the", "\n\nstore"))
)
ROLLING = _requests("loglikelihood_rolling", *((text * 12,) for text in TEXTS))
GREEDY = _requests(
    "generate_until",
    *((text, {"until": ["\n", "ar"], "max_gen_toks": 12}) for text in TEXTS),
    *((text, {"max_gen_toks": 5, "do_sample": False}) for text in TEXTS),
)


def _answers(lm):
    return (
        lm.loglikelihood(CHOICES, disable_tqdm=True),
        lm.loglikelihood_rolling(ROLLING, disable_tqdm=True),
        lm.generate_until(GREEDY, disable_tqdm=True),
    )


@pytest.mark.parametrize("route", [pytest.param(x, marks=() if x in FAST else pytest.mark.slow) for x in ORDERS])
def test_every_kind_of_request_is_answered_as_by_the_layers_in_that_order(folder, route):
    options = {"batch_size": 3, "max_length": 40}  # rolling texts have several windows
    answers = _answers(MechpaintLM(str(folder), route, device="cpu", **options))
    expected = _answers(hflm(folder, ORDERS[route], **options))
    if ORDERS[route] == ORDERS[""]:
        assert answers == expected
        return
    for (a, greedy), (b, also) in zip(answers[0], expected[0], strict=True):
        assert (a, greedy) == (pytest.approx(b, abs=1e-4), also)
    assert answers[1] == pytest.approx(expected[1], abs=1e-3)
    assert answers[2] == expected[2]
    full = _answers(hflm(folder, ORDERS[""], **options))  # a control: the model's own order answers otherwise
    assert answers[0] != full[0]
    assert answers[2] != full[2]


@pytest.mark.slow
def test_batches_do_not_change_answers(folder):
    alone, together = (_answers(MechpaintLM(str(folder), "5-0", batch_size=size)) for size in (1, 5))
    assert [greedy for _, greedy in alone[0]] == [greedy for _, greedy in together[0]]
    assert [value for value, _ in alone[0]] == pytest.approx([value for value, _ in together[0]], abs=1e-4)
    assert alone[2] == together[2]


@pytest.mark.slow
def test_sampling_is_that_of_hugging_face(folder):
    sampled = _requests(
        "generate_until", *((text, {"do_sample": True, "temperature": 0.8, "max_gen_toks": 8}) for text in TEXTS)
    )
    texts = []
    for lm in (MechpaintLM(str(folder), "3 [1 4]x2", batch_size=4), hflm(folder, [3, 1, 4, 1, 4], batch_size=4)):
        torch.manual_seed(5)
        texts.append(lm.generate_until(sampled, disable_tqdm=True))
    assert texts[0] == texts[1]
    assert texts[0] != MechpaintLM(str(folder), "3 [1 4]x2", batch_size=4).generate_until(sampled, disable_tqdm=True)


@pytest.mark.slow
def test_averaged_slots_generate_another_text(folder):
    lms = [MechpaintLM(str(folder), Average(1, 4), kv=kv, batch_size=4) for kv in ("exact", "averaged")]
    exact, averaged = (lm.generate_until(GREEDY, disable_tqdm=True) for lm in lms)
    assert exact != averaged
    assert lms[0].loglikelihood(CHOICES, disable_tqdm=True) == lms[1].loglikelihood(CHOICES, disable_tqdm=True)


def test_chat_templates_are_the_tokenizers(folder):
    own = transformers.AutoTokenizer.from_pretrained(folder)
    own.chat_template = CHAT
    lm = MechpaintLM(str(folder), "skip(1, 2)", tokenizer=own)
    assert lm.apply_chat_template([{"role": "user", "content": "hi"}]) == "<user>hi<a>"
    assert lm.chat_template(True) == CHAT


def test_the_model_is_free_between_questions_and_its_tokenizer_as_it_was(folder):
    model = mp.load(folder)
    stored = model.tokenizer.pad_token, model.tokenizer.padding_side
    lm = MechpaintLM(model, Skip(1, 2))
    lm.loglikelihood(CHOICES[:1], disable_tqdm=True)
    tokens = tiny.tokens()
    with mp.attach(model, Skip(1, 2)):
        routed = model(tokens)
    assert not torch.equal(model(tokens), routed)
    assert (model.tokenizer.pad_token, model.tokenizer.padding_side) == stored


# ---- the command ---------------------------------------------------------------------------------------------------

TASK = """
task: {name}
dataset_path: json
dataset_kwargs: {{data_files: {{test: {data}}}, cache_dir: {cache}}}
test_split: test
doc_to_text: "{{{{question}}}}"
doc_to_target: "{{{{answer}}}}"
{more}
"""
KINDS = {
    "choices": "output_type: multiple_choice\ndoc_to_choice: [' Paris', ' Rome']\nmetric_list: [{metric: acc}]",
    "generating": (
        "output_type: generate_until\ngeneration_kwargs: {until: ['a'], max_gen_toks: 6}\n"
        "metric_list: [{metric: exact_match}]"
    ),
}


@pytest.fixture
def tasks(tmp_path):
    """A folder with two tasks."""
    rows = [{"question": text, "answer": i % 2} for i, text in enumerate(TEXTS)]
    data = tmp_path / "items.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    for name, more in KINDS.items():
        text = TASK.format(name=name, data=data, cache=tmp_path / "cache", more=more)
        (tmp_path / f"{name}.yaml").write_text(text)
    return tmp_path


@pytest.fixture
def lm_eval_command(monkeypatch, capfd, tasks):
    """Run `mechpaint-lm-eval`, knowing the two tasks and none of lm-eval's own, which take half a minute to find."""
    own = functools.partial(lm_eval.tasks.TaskManager, include_defaults=False)
    monkeypatch.setattr(lm_eval.tasks, "TaskManager", own)
    monkeypatch.setattr(lm_eval.__main__, "setup_logging", lambda: None)  # it would write where this test's stderr was
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")

    def run(*arguments, task="choices,generating"):
        given = ["--model", "mechpaint", "--include_path", tasks, "--tasks", task, *arguments]
        monkeypatch.setattr(sys, "argv", ["mechpaint-lm-eval", *map(str, given)])
        status = 0
        try:
            command.main()
        except SystemExit as stopped:
            status = int(stopped.code or 0)
        return status, capfd.readouterr()

    return run


def _results(folder):
    (path,) = folder.rglob("results_*.json")
    return json.loads(path.read_text())


def test_the_command_is_lm_eval_and_its_results_say_the_route(lm_eval_command, folder, tmp_path):
    arguments = f"pretrained={folder},route=skip(2, 3),dtype=float32"
    status, shown = lm_eval_command("--model_args", arguments, "--output_path", tmp_path / "out", "--log_samples")
    assert status == 0, shown.err
    assert "exact_match" in shown.out
    output = _results(tmp_path / "out")
    assert output["config"]["route"] == "0-1 4-5"
    assert output["config"]["model_weights_sha256"] == digest(mp.load(folder))
    expected = lm_eval.simple_evaluate(
        hflm(folder, [0, 1, 4, 5]),
        tasks=["choices", "generating"],
        task_manager=lm_eval.tasks.TaskManager(include_path=str(tmp_path)),
    )
    for task in KINDS:
        numbers = {key: value for key, value in expected["results"][task].items() if "," in key}
        assert {key: output["results"][task][key] for key in numbers} == numbers
        (samples,) = (tmp_path / "out").rglob(f"samples_{task}_*.jsonl")
        texts = [json.loads(line)["filtered_resps"] for line in samples.read_text().splitlines()]
        for text, sample in zip(texts, expected["samples"][task], strict=True):
            if task == "generating":
                assert text == sample["filtered_resps"]


@pytest.mark.parametrize(
    ("given", "route"),
    [
        (["route=3 [1 4]x2"], "3 1 4 1 4"),
        (["route=5"], "5"),
        (["route=(1 4) 5"], "(1 4) 5"),
        (["route=average(1, 4) + loop(1, 4, times=2)", "kv=averaged"], "0 (1-4)x2 5"),
        (["route='reroute(\"0 2\")'"], "0 2"),
    ],
)
def test_how_routes_are_written(folder, given, route):
    text = ",".join([f"pretrained={folder}", *given])
    assert str(MechpaintLM.create_from_arg_string(text, {"device": "cuda:0", "batch_size": None}).route) == route


def test_what_cannot_be_is_told_in_a_line(lm_eval_command, folder, tmp_path):
    for arguments, said in {
        f"pretrained={folder},route=skipp(2, 3)": "there is no hook set 'skipp'",
        f"pretrained={folder},route=0-9": "layer 9 does not exist",
        f"pretrained={folder},route=skip(2, 3),hooks=x": "has no argument 'hooks'",
        f"pretrained={folder},kv=mean": "kv='mean' is not known",
        f"pretrained={folder},dtype=int3": "there is no dtype 'int3'",
        f"pretrained={tmp_path / 'nothing'}": "cannot load the model",
        "route=0-3": "expected a model",
        "pretrained=toy-induction": "lm-eval needs a Hugging Face model",
    }.items():
        status, shown = lm_eval_command("--model_args", arguments, task="choices")
        assert status == 2, shown.err
        assert said in shown.err
        assert "Traceback" not in shown.err


def test_as_many_tokens_are_written_as_by_lm_eval(folder):
    assert hflm(folder, ORDERS[""]).max_gen_toks == MAX_GEN_TOKS


def test_readings_are_refused(folder):
    with pytest.raises(TaskError, match="also reads or hooks"):
        MechpaintLM(folder, Skip(1, 2) + ReadResidual())
    with pytest.raises(mp.InputError, match="reads in both directions"):
        MechpaintLM(
            transformers.BertForMaskedLM(
                transformers.BertConfig(
                    vocab_size=50, hidden_size=8, num_hidden_layers=2, num_attention_heads=2, intermediate_size=8
                )
            )
        )


def test_without_lm_eval_the_command_says_what_to_install(monkeypatch, capsys):
    monkeypatch.setattr(command, "find_spec", lambda name: None)
    with pytest.raises(SystemExit) as stopped:
        command.main()
    assert stopped.value.code == 2
    assert "pip install 'mechpaint[eval]'" in capsys.readouterr().err


# ---- caches of answers ---------------------------------------------------------------------------------------------


def _cached(lm, path):
    return CachingLM(lm, str(path))


def test_a_cache_is_of_one_model_and_route(folder, tmp_path):
    first, again = (MechpaintLM(folder, "5-0", batch_size=size) for size in (2, 3))
    kept = _cached(first, tmp_path / "a.db")
    answers = kept.loglikelihood(CHOICES)
    kept.dbdict.close()
    more = _cached(again, tmp_path / "a.db")
    again._model_call = None  # what is kept is not asked again
    assert more.loglikelihood(CHOICES) == answers
    more.dbdict.close()
    for other in (
        MechpaintLM(folder),
        MechpaintLM(folder, "5-0", kv="averaged"),
        MechpaintLM(folder, "5-0", max_length=20),
        MechpaintLM(folder, "5-0", dtype="float64"),
    ):
        with pytest.raises(TaskError, match="give each model and route a cache of its own"):
            _cached(other, tmp_path / "a.db")


def test_the_cache_of_another_kind_of_model_is_refused(folder, tmp_path):
    kept = _cached(hflm(folder, ORDERS[""]), tmp_path / "b.db")
    kept.loglikelihood(CHOICES[:2])
    kept.dbdict.close()
    with pytest.raises(TaskError, match="holds answers of another model"):
        _cached(MechpaintLM(folder), tmp_path / "b.db")
