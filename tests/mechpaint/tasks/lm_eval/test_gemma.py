"""lm-eval's own tasks on Gemma-3-270M, against its own model of Hugging Face (`HFLM`), document by document.

MECHPAINT_DATA names a folder with arc_easy.jsonl, arc_challenge.jsonl, hellaswag.jsonl, winogrande.jsonl and
lambada_openai.jsonl, in the columns of the data sets on the hub. The figures are printed: pytest -s shows them.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import transformers as hf

import mechpaint as mp
from mechpaint.models.presets import PRESETS
from mechpaint.routes.prefix_tree import PrefixTree
from mechpaint.routes.route import Route
from mechpaint.scoring.score import score_items
from mechpaint.tasks import LmEval
from mechpaint.tasks.lm_eval.registry import quiet
from mechpaint.tasks.lm_eval.tables import aggregated

DATA = Path(os.environ.get("MECHPAINT_DATA", ""))
NAMES = ("lambada_openai", "arc_easy", "arc_challenge", "hellaswag", "winogrande")
LIMIT = 100

pytestmark = [
    pytest.mark.models,
    pytest.mark.slow,
    pytest.mark.skipif(
        not all((DATA / f"{name}.jsonl").is_file() for name in NAMES), reason="MECHPAINT_DATA names no such folder"
    ),
]


@pytest.fixture(scope="module")
def gemma():
    return mp.load("gemma-3-270m")


@pytest.fixture(scope="module")
def peer():
    """lm-eval's own model of the same weights."""
    with quiet():
        from lm_eval.models.huggingface import HFLM

        folder = PRESETS["gemma-3-270m"].folder()
        plain = hf.AutoModelForCausalLM.from_pretrained(folder).eval()
        return HFLM(pretrained=plain, tokenizer=hf.AutoTokenizer.from_pretrained(folder), batch_size=8)


class Remembering(LmEval):
    """The task, which writes down every outcome."""

    @property
    def outcomes(self):
        return self.__dict__.setdefault("_outcomes", {})

    def evaluate(self, item, outcome):
        self.outcomes[item.number] = outcome
        return super().evaluate(item, outcome)


@pytest.mark.parametrize("name", NAMES)
def test_the_full_models_answers_are_those_of_hugging_faces_model(gemma, peer, name):
    task = Remembering(name, data=str(DATA / f"{name}.jsonl"))
    items = task.select(gemma, LIMIT).items
    records = list(score_items(gemma, task, items, PrefixTree([Route.identity(len(gemma.blocks))])))
    said, answers = _by_lm_eval(peer, task)
    assert len(items) == LIMIT
    differences = [
        abs(logprob - float(theirs[0]))
        for item in items
        for logprob, theirs in zip(task.outcomes[item.number].logprobs, answers[item.number], strict=True)
    ]
    ours = {metric.name: _value(metric, items, records) for metric in task.reported()}
    theirs = {metric: said[f"{metric},none"] for metric in ours}
    print(f"\n{name}: log-probabilities differ by at most {max(differences):.2e}; here {ours}, by lm-eval {theirs}")  # noqa: T201
    assert max(differences) < 1e-4
    for metric, value in theirs.items():
        if metric == "perplexity":
            assert ours[metric] == pytest.approx(value, rel=1e-4)
        else:
            assert ours[metric] == value


def _value(metric, items, records):
    by_name = {record["item"]: json.loads(record["metrics"])[metric.filter][metric.name] for record in records}
    return aggregated(metric, [by_name[item.name] for item in items])[0]


def _by_lm_eval(peer, task):
    """What lm-eval says of the task, and its answers to each document's requests."""
    from lm_eval.evaluator import evaluate

    with quiet():
        output = evaluate(peer, {"tasks": {task.task: task.loaded}}, limit=LIMIT, bootstrap_iters=0)
    answers = {sample["doc_id"]: [one[0] for one in sample["resps"]] for sample in output["samples"][task.task]}
    return output["results"][task.task], answers
