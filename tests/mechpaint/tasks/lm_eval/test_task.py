"""lm-eval's tasks under routes, against lm-eval's own model of Hugging Face (`HFLM`), its layers reordered by hand."""

from __future__ import annotations

import csv
import json
import math
from dataclasses import dataclass

import pandas as pd
import pytest
import torch
import transformers as hf

from mechpaint.analysis import RouteAnalysis
from mechpaint.hooks import Reroute, Swap
from mechpaint.report import Report
from mechpaint.routes.hookset import HookSet
from mechpaint.runs.execute import run
from mechpaint.runs.manifest import Manifest
from mechpaint.runs.plans.route_plan import RoutePlan, Settings
from mechpaint.runs.plans.routed_model import RoutedModel
from mechpaint.runs.report_inputs import ReportInputs
from mechpaint.statistics.bootstrap import Scores
from mechpaint.statistics.results import ReportedMetric
from mechpaint.tasks import LmEval, Sources, lm_eval_tasks
from mechpaint.tasks.lm_eval.metrics import aggregation_of, name_of
from mechpaint.tasks.lm_eval.registry import quiet
from mechpaint.tasks.lm_eval.tables import aggregated
from tests import tiny
from tests.mechpaint.tasks.lm_eval import made_up

ORDERS = {
    "baseline": [0, 1, 2, 3, 4, 5],
    "swapped": [0, 1, 4, 3, 2, 5],
    "looped": [0, 1, 2, 3, 2, 3, 4, 5],
}


DRAWS = 40
"""Resamples for standard errors: both sides take the same few, for lm-eval takes a second for a thousand."""


@dataclass(frozen=True)
class Two(RouteAnalysis):
    name = "two"
    question = "What do two routes do?"
    tasks = ()

    def hook_sets(self, n_layers):
        return {"swapped": Swap(2, 4), "looped": Reroute("0-3 2-5")}

    def report(self, results):
        return Report("Two routes", [], [])


@pytest.fixture(scope="module")
def tasks(tmp_path_factory):
    """The folder that defines them."""
    return made_up.folder(tmp_path_factory.mktemp("lmeval") / "tasks")


@pytest.fixture(scope="module")
def own(folder, tasks):
    """What lm-eval says of every task by itself, for each order of layers."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DISABLE_MULTIPROC", "1")
        with quiet():
            return {label: _evaluated(folder, tasks, order) for label, order in ORDERS.items()}


def _evaluated(folder, tasks, order):
    from lm_eval import simple_evaluate
    from lm_eval.models.huggingface import HFLM
    from lm_eval.tasks import TaskManager

    model = hf.LlamaForCausalLM.from_pretrained(folder, attn_implementation="eager").eval()
    model.model.layers = torch.nn.ModuleList([model.model.layers[i] for i in order])
    model.config.num_hidden_layers, model.config.use_cache = len(order), False
    return simple_evaluate(
        model=HFLM(pretrained=model, tokenizer=hf.AutoTokenizer.from_pretrained(folder), batch_size=3),
        tasks=list(made_up.NAMES),
        task_manager=TaskManager(include_path=str(tasks), include_defaults=False),
        bootstrap_iters=DRAWS,
    )


@pytest.fixture(scope="module")
def plan(speaking, tasks):
    asked = tuple(LmEval(name, folder=str(tasks)) for name in made_up.NAMES)
    return RoutePlan.of(Two(), RoutedModel(speaking, "tiny", HookSet()), Settings(asked, batch_size=5))


@pytest.fixture(scope="module")
def finished(plan, tmp_path_factory):
    """A run of all tasks."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("mechpaint.tasks.lm_eval.tables.RESAMPLES", DRAWS)
        return run(plan, tmp_path_factory.mktemp("runs"), "")


@pytest.fixture(scope="module")
def records(finished, plan):
    """From task, label and document to the record."""
    table = pd.read_parquet(finished.path / "results.parquet")
    label = {str(route): name for name, route in plan.routes().items()}
    return {(row.task, label[row.route], row.item): row for row in table.itertuples()}


@pytest.mark.parametrize("name", made_up.NAMES)
def test_documents_are_judged_as_by_lm_eval(own, records, name):
    for label in ORDERS:
        samples = own[label]["samples"][name]
        assert len(samples) == sum(key[:2] == (f"lm_eval:{name}", label) for key in records)
        for sample in samples:
            record = records[f"lm_eval:{name}", label, f"document {sample['doc_id']}"]
            values = json.loads(record.metrics)["none"]
            assert set(values) == set(sample["metrics"])
            for metric in sample["metrics"]:
                expected = json.loads(json.dumps(sample[metric], default=lambda value: value.tolist()))
                assert _flat(values[metric]) == pytest.approx(_flat(expected), abs=1e-4)


def _flat(value):
    return [one for part in value for one in _flat(part)] if isinstance(value, list) else [value]


@pytest.mark.parametrize("name", ["riddles", "shots", "yes_or_no", "blanks", "endings"])
def test_log_probabilities_of_right_answers_are_those_of_hugging_faces_model(own, records, name):
    for label in ORDERS:
        for sample in own[label]["samples"][name]:
            answers = [float(answer[0][0]) for answer in sample["resps"]]
            right = 0 if name == "endings" else sample["doc"]["gold"]
            record = records[f"lm_eval:{name}", label, f"document {sample['doc_id']}"]
            assert record.logprob == pytest.approx(answers[right], abs=1e-4)


def _rows(path):
    return list(csv.DictReader(path.read_text().splitlines()))


def test_tables_have_lm_evals_values_and_standard_errors(own, finished):
    tables = sorted((finished.path / "tables").glob("lm-eval-*.csv"))
    assert len(tables) == len(made_up.NAMES)
    for name, path in zip(made_up.NAMES, tables, strict=True):
        rows = {row["hook set"]: row for row in _rows(path)}
        assert set(rows) == set(ORDERS)
        for label in ORDERS:
            said = own[label]["results"][name]
            metrics = [key.split(",")[0] for key in said if key.endswith(",none") and "_stderr" not in key]
            assert metrics
            for metric in metrics:
                assert float(rows[label][metric]) == pytest.approx(said[f"{metric},none"], rel=1e-4, abs=1e-6)
                error, expected = rows[label][f"{metric}, standard error"], said[f"{metric}_stderr,none"]
                if expected == "N/A":
                    assert error == "–"
                else:
                    assert float(error) == pytest.approx(expected, rel=1e-3, abs=1e-6)


def test_the_full_models_metrics_are_in_one_table(own, finished):
    rows = _rows(finished.path / "tables" / "lm-eval.csv")
    values = {(row["task"], row["metric"]): float(row["value"]) for row in rows}
    assert values["lm_eval:endings", "perplexity"] == pytest.approx(
        own["baseline"]["results"]["endings"]["perplexity,none"], rel=1e-4
    )
    assert {row["better"] for row in rows if row["metric"] == "perplexity"} == {"lower"}
    assert {row["better"] for row in rows if row["metric"] == "acc_norm"} == {"higher"}


def _task_scores(plan, finished):
    from mechpaint.statistics.results import Results

    table = pd.read_parquet(finished.path / "results.parquet")
    return Scores(Results(table, plan.routes(), plan.facts, "tiny", tiny.N_LAYERS))


def test_a_tasks_score_is_made_of_its_main_metric(own, plan, finished):
    scores = _task_scores(plan, finished)
    for label in ORDERS:
        said = own[label]["results"]
        expected = {
            "riddles": said["riddles"]["acc_norm,none"],
            "shots": said["shots"]["acc,none"],
            "yes_or_no": said["yes_or_no"]["acc,none"],
            "blanks": said["blanks"]["acc,none"],
            "endings": said["endings"]["acc,none"],
            "pages": -math.log(said["pages"]["word_perplexity,none"]),
        }
        for name, value in expected.items():
            assert scores.score(f"lm_eval:{name}", label).value == pytest.approx(value, abs=1e-4)


@pytest.mark.parametrize(
    ("name", "metric", "score"),
    [
        ("yes_or_no", "f1", lambda said: said["f1,none"]),
        ("yes_or_no", "mcc", lambda said: said["mcc,none"]),
        ("yes_or_no", "brier_score", lambda said: -said["brier_score,none"]),
        ("endings", "perplexity", lambda said: -math.log(said["perplexity,none"])),
        ("pages", "bits_per_byte", lambda said: -said["bits_per_byte,none"]),
        ("riddles", "acc", lambda said: said["acc,none"]),
    ],
)
def test_another_metric_can_be_the_score(own, speaking, tasks, plan, records, name, metric, score):
    """Without asking the model again: the records have all metrics."""
    task = LmEval(name, metric, folder=str(tasks))
    items = plan.items[made_up.NAMES.index(name)]
    measure = task.measure_used
    names = [item.name for item in items]
    for label in ORDERS:
        judged = [json.loads(records[f"lm_eval:{name}", label, item].metrics) for item in names]
        totals = task.metric(items)(names, torch.tensor([[measure.score(one)] for one in judged]).double().numpy())
        assert totals[0] == pytest.approx(score(own[label]["results"][name]), abs=1e-4)
    assert str(task) == f"lm_eval:{name}/{metric}"


def test_chance(speaking, tasks, plan):
    chance = {fact.name.partition(":")[2]: fact.chance for fact in plan.facts}
    riddles = [1 / len(riddle["options"]) for riddle in made_up.RIDDLES]
    assert chance["riddles"] == pytest.approx(sum(riddles) / len(riddles))
    assert chance["blanks"] == 0.5
    assert chance["yes_or_no"] == pytest.approx(3 / 5)  # always yes
    assert chance["endings"] == 0
    pages = plan.items[made_up.NAMES.index("pages")]
    tokens = sum(len(place) for page in pages for place in page.places())
    words = sum(len(page["page"].split()) for page in made_up.PAGES)
    assert chance["pages"] == pytest.approx(-math.log(speaking.cfg.d_vocab) * tokens / words)

    def other(name, metric):
        task = LmEval(name, metric, folder=str(tasks))
        return task.chance(speaking, plan.items[made_up.NAMES.index(name)])

    assert other("yes_or_no", "mcc") == 0
    assert other("yes_or_no", "f1") == pytest.approx(2 * 3 / (3 + 5))  # always yes
    ends = plan.items[made_up.NAMES.index("endings")]
    each = [-math.log(speaking.cfg.d_vocab) * len(end.places()[0]) for end in ends]
    assert other("endings", "perplexity") == pytest.approx(sum(each) / len(each))


def test_the_same_question_is_asked_once(speaking, plan):
    from mechpaint.scoring.batches import Batch

    riddles = plan.items[made_up.NAMES.index("riddles")]
    twins = [riddles[0], riddles[3]]
    assert twins[0].rows() == twins[1].rows()
    assert Batch.of(twins).rows == twins[0].rows()


def test_pages_are_read_in_windows(plan, speaking):
    pages = plan.items[made_up.NAMES.index("pages")]
    assert [len(page.requests[0].windows) for page in pages][1] > 1
    assert max(len(row) for page in pages for row in page.rows()) == speaking.cfg.n_ctx


def test_examples_before_a_question_never_hold_the_question_itself(plan, speaking):
    shots = plan.items[made_up.NAMES.index("shots")]
    for shot, word in zip(shots, made_up.WORDS, strict=True):
        text = speaking.tokenizer.decode(shot.requests[0].windows[0].before)
        assert text.count("Q:") == 3
        assert text.count(f"Q: {word['q']} A:") == 1


def test_groups_and_tags_are_their_tasks(tasks):
    names = [task.task for task in lm_eval_tasks("made_up_group", Sources(folder=str(tasks)))]
    assert names == ["endings", "blanks", "riddles", "shots", "yes_or_no"]
    tagged = lm_eval_tasks("made_up/acc", Sources(folder=str(tasks)))
    assert [task.task for task in tagged] == names[1:]
    assert all(task.metric_name == "acc" for task in tagged)


def test_settings_say_what_the_task_is_and_name_no_file(tasks):
    settings = json.dumps(LmEval("blanks", folder=str(tasks)).settings())
    assert "def beginnings(doc)" in settings
    assert str(tasks) not in settings


def test_aggregations_are_found_by_their_names_if_they_are_lm_evals():
    with quiet():
        from lm_eval.api.metrics import mean, perplexity
        from lm_eval.tasks.libra.utils import aggregate_results_em

    for aggregation in (mean, perplexity, aggregate_results_em):
        assert aggregation_of(name_of(aggregation)) is aggregation
    assert name_of(math.fsum) == name_of(lambda values: 0.0) == ""
    assert aggregation_of("") is aggregation_of("os:system") is aggregation_of("lm_eval.nowhere:mean") is None


def test_what_has_no_aggregation_is_shown_as_missing():
    metric = ReportedMetric("odd", "none", "", True)
    assert all(map(math.isnan, aggregated(metric, [1.0, 2.0])))


def test_what_a_report_needs_is_kept_with_the_run(finished, plan):
    """So that it can be drawn again without the model and the data."""
    inputs = ReportInputs.deserialized("two", Manifest.read(finished.path).report, {"two": Two})
    assert inputs.tasks == plan.facts
    assert [metric.name for metric in inputs.tasks[0].reported] == ["acc", "acc_norm"]
