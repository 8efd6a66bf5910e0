"""Tasks of lm-eval that have the model write, against its own model of Hugging Face, its layers reordered by hand."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass

import pandas as pd
import pytest
import tokenizers
import torch
import transformers

import mechpaint as mp
from mechpaint.analysis import RouteAnalysis
from mechpaint.errors import TaskError
from mechpaint.hooks import Reroute, Skip
from mechpaint.report import Report
from mechpaint.routes.prefix_tree import PrefixTree
from mechpaint.routes.route import Route
from mechpaint.runs.execute import run
from mechpaint.runs.plans.route_plan import RoutePlan, Settings
from mechpaint.runs.plans.routed_model import RoutedModel
from mechpaint.tasks import LmEval
from mechpaint.tasks.lm_eval.generation import generate
from mechpaint.tasks.lm_eval.registry import quiet
from tests import tiny
from tests.mechpaint.tasks.lm_eval import made_up
from tests.reordered import hflm

ROWS = 3
ORDERS = {"0-5": [0, 1, 2, 3, 4, 5], "0-1 4-5": [0, 1, 4, 5], "3 [1 4]x2": [3, 1, 4, 1, 4]}
FAST = ("3 [1 4]x2",)
QUESTIONS = ("1 + 1 =", "Mary has 2. John has 3.", "What is 7 - 3?", "one two three", "12", "Add 4 and 5 and 6 and 7")
SUMS = """
task: sums
output_type: generate_until
dataset_path: json
dataset_kwargs: {{data_files: {{test: {data}}}}}
test_split: test
doc_to_text: "{{{{q}}}}"
doc_to_target: "{{{{a}}}}"
generation_kwargs: {{{options}}}
repeats: {repeats}
filter_list:
  - name: strict
    filter: [{{function: regex, regex_pattern: "#### (.)"}}, {{function: take_first}}]
  - name: flexible
    filter: [{{function: regex, group_select: 0, regex_pattern: "([A-Za-z])"}}, {{function: take_first}}]
metric_list:
  - {{metric: exact_match, aggregation: mean, higher_is_better: true, ignore_case: true}}
"""
GREEDY = "until: ['x', '##'], max_gen_toks: 9, do_sample: false"


def _folder(path, questions=QUESTIONS, answers=None, options=GREEDY, repeats=1):
    answers = answers or ["0"] * len(questions)
    data = made_up.rows(path / "sums.jsonl", [{"q": q, "a": a} for q, a in zip(questions, answers, strict=True)])
    (path / "sums.yaml").write_text(SUMS.format(data=data, options=options, repeats=repeats))
    return str(path)


def _evaluated(lm, folder):
    """What lm-eval says of the task by itself: numbers, and the texts of each document."""
    from lm_eval import simple_evaluate
    from lm_eval.tasks import TaskManager

    with quiet():
        manager = TaskManager(include_path=folder, include_defaults=False)
        output = simple_evaluate(lm, tasks=["sums"], task_manager=manager, bootstrap_iters=0)
    return output["results"]["sums"], {s["doc_id"]: s for s in output["samples"]["sums"] if s["filter"] == "flexible"}


def _written(model, items, text, rows=ROWS, advance=lambda ticks: None):
    generations = generate(model, items, Route.parse(text, 6), rows, advance)
    return {prompt.number: answer for prompt, answer in generations}


@pytest.mark.parametrize("text", [pytest.param(x, marks=() if x in FAST else pytest.mark.slow) for x in ORDERS])
def test_texts_are_those_of_lm_evals_own_model(folder, speaking, tmp_path, text):
    items = LmEval("sums", folder=_folder(tmp_path)).select(speaking).items
    generations = _written(speaking, items, text)
    _, samples = _evaluated(hflm(folder, ORDERS[text], batch_size=ROWS), str(tmp_path))
    assert {number: answer.texts for number, answer in generations.items()} == {
        number: tuple(sample["resps"][0]) for number, sample in samples.items()
    }
    assert all(answer.finite for answer in generations.values())
    if text != "0-5":  # a control: the full model writes something else
        assert generations != _written(speaking, items, "0-5")


@dataclass(frozen=True)
class Two(RouteAnalysis):
    name = "two"
    question = "What do two routes write?"
    tasks = ()

    def hook_sets(self, n_layers):
        return {"skipped": Skip(2, 3), "looped": Reroute("3 [1 4]x2")}

    def report(self, results):
        return Report("Two routes", [], [])


def test_a_run_scores_what_lm_eval_scores(folder, speaking, tmp_path):
    """Right answers are what the plain model writes first, so that there is something to find."""
    tasks = tmp_path / "tasks"
    tasks.mkdir()
    _, samples = _evaluated(hflm(folder, ORDERS["0-5"], batch_size=ROWS), _folder(tasks))
    said = [samples[i]["filtered_resps"][0] for i in range(len(QUESTIONS))]
    task = LmEval("sums", folder=_folder(tasks, answers=said))
    plan = RoutePlan.of(Two(), RoutedModel(speaking, "tiny"), Settings((task,), batch_size=ROWS))
    page = run(plan, tmp_path / "runs", "").path
    table = pd.read_parquet(page / "results.parquet").set_index("item")
    assert len(table) == 3 * len(QUESTIONS)
    for text, order in ORDERS.items():
        results, own = _evaluated(hflm(folder, order, batch_size=ROWS), str(tasks))
        along = table[table.route == str(Route.parse(text, 6))]
        metrics = {number: json.loads(along.metrics[f"document {number}"]) for number in own}
        assert {n: values["flexible"]["exact_match"] for n, values in metrics.items()} == {
            n: sample["exact_match"] for n, sample in own.items()
        }
        for name in ("strict", "flexible"):
            scores = [one[name]["exact_match"] for one in metrics.values()]
            assert sum(scores) / len(scores) == pytest.approx(results[f"exact_match,{name}"])
        assert all(along.score[f"document {n}"] == metrics[n]["strict"]["exact_match"] for n in own)  # the first filter
        assert along.logprob.isna().all()
        assert (results["exact_match,flexible"] == 1) == (text == "0-5")
    assert task.chance(speaking, plan.items[0]) == said.count("[invalid]") / len(said)  # of writing nothing


def test_examples_in_prompts_are_the_same_every_time(speaking, tmp_path):
    """Those are drawn at random, the first time and later: a run that is taken up must ask what it has asked."""
    made_up.folder(tmp_path / "more")
    sums = LmEval("sums", folder=_folder(tmp_path, ("1 +", "2 +", "3 +", "4 +", "5 +", "6 +")), num_fewshot=2)
    for task in (sums, LmEval("shots", folder=str(tmp_path / "more"))):
        assert task.select(speaking).items == task.select(speaking).items
    assert all(prompt.text.count("+") == 3 for prompt in sums.select(speaking).items)


def test_prompts_that_leave_no_room_are_named_and_not_cut(speaking, tmp_path):
    """The model has 64 positions; the second question takes more than the 55 that 9 new tokens leave."""
    selection = LmEval("sums", folder=_folder(tmp_path, ("1 + 1", "one " * 60, "2 + 2"))).select(speaking)
    assert [item.name for item in selection.items] == ["document 0", "document 2"]
    assert selection.too_long == ("document 1",)
    with pytest.raises(TaskError, match="all 1 items of lm_eval:sums are longer than the model's 64 tokens"):
        LmEval("sums", folder=_folder(tmp_path, ("one " * 60,))).select(speaking)


def test_prompts_that_are_empty_are_refused(tmp_path):
    bare = mp.load(tiny.folder(tmp_path / "bare"), tokenizer=_without_bos(tmp_path / "bare"))
    with pytest.raises(TaskError, match=r"1 documents of lm_eval:sums have an empty prompt.*from 0: 1"):
        LmEval("sums", folder=_folder(tmp_path, ("1", "", "2"))).select(bare)
    with pytest.raises(TaskError, match="3 documents"):
        LmEval("sums", folder=_folder(tmp_path, ("1", "3", "2"), options="max_gen_toks: 0")).select(bare)


def _without_bos(path):
    own = transformers.AutoTokenizer.from_pretrained(path)
    own.backend_tokenizer.post_processor = tokenizers.processors.ByteLevel(trim_offsets=False)
    return own


def test_progress_moves_with_every_token(speaking, tmp_path):
    items = LmEval("sums", folder=_folder(tmp_path)).select(speaking).items
    ticks = []
    _written(speaking, items, "0-5", advance=ticks.append)
    assert sum(ticks) == len(items)
    assert [tick for tick in ticks if tick] == [3, 3]
    assert ticks.count(0) > 6


def test_logits_that_are_no_numbers_are_said_row_by_row(folder, tmp_path):
    model = mp.load(folder)
    task = LmEval("sums", folder=_folder(tmp_path))
    items = task.select(model).items
    token = items[3].tokens[-1]
    assert [token in item.tokens for item in items].count(True) == 1
    with torch.no_grad():
        model.original_model.model.embed_tokens.weight[token] = torch.nan
    records = list(task.records(model, items, PrefixTree([Route.identity(6)]), 6, lambda ticks: None))
    assert {record["item"]: record["finite"] for record in records} == {
        f"document {i}": i != 3 for i in range(len(QUESTIONS))
    }
    assert all((record["metrics"] == "") == math.isnan(record["score"]) == (not record["finite"]) for record in records)


@pytest.mark.slow
def test_sampling_is_the_same_again_and_disturbs_nobody(speaking, tmp_path):
    options = "max_gen_toks: 9, do_sample: true, temperature: 1.5"
    task = LmEval("sums", folder=_folder(tmp_path, options=options, repeats=3))
    items = task.select(speaking).items
    torch.manual_seed(7)
    before = torch.get_rng_state()
    first, again = (_written(speaking, items, "0-1 4-5") for _ in range(2))
    assert torch.equal(torch.get_rng_state(), before)
    assert first == again
    assert all(len(set(answer.texts)) == 3 for answer in first.values())
    (record, *_) = task.records(speaking, items, PrefixTree([Route.identity(6)]), 6, lambda ticks: None)
    assert record["finite"]


def test_the_work_is_cut_by_route_and_a_new_route_changes_no_other_part(speaking, tmp_path):
    task = LmEval("sums", folder=_folder(tmp_path, [f"{i} + {i} =" for i in range(40)]))
    items = task.select(speaking).items
    one, two, three = (Route.parse(text, 6) for text in ORDERS)
    few, more = task.parts(items, PrefixTree([one, three])), task.parts(items, PrefixTree([one, two, three]))
    assert {part.name for part in few} < {part.name for part in more}
    assert len(more) == 6 == len({part.name for part in more})
    for route in (one, two, three):
        assert [part.items for part in more if part.tree.routes == (route,)] == [items[:32], items[32:]]


def test_what_it_will_cost_grows_with_routes_and_tokens(speaking, tmp_path):
    def cost(texts, most):
        task = LmEval("sums", folder=_folder(tmp_path, options=f"max_gen_toks: {most}"))
        items = task.select(speaking).items
        tree = PrefixTree([Route.parse(text, 6) for text in texts])
        return task.cost(speaking, task.parts(items, tree), ROWS)

    one, two, longer = cost(["0-5"], 9), cost(["0-5", "0-1 4-5"], 9), cost(["0-5"], 18)
    assert (one.batches, two.batches, one.layer_calls) == (2, 4, 2 * 9 * 6)
    assert two.layer_calls == one.layer_calls + 2 * 9 * 4
    assert longer.layer_calls == 2 * one.layer_calls
    assert one.seconds > 0
    assert longer.memory.whole >= one.memory.whole > 0
