"""The task `glue`: what it is made of, its records, and a run of an analysis with it that is stopped and taken up."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch

from mechpaint.analyses.painters import Painters
from mechpaint.errors import TaskError, TrainingError
from mechpaint.finetuning import FineTuning, finetune
from mechpaint.hooks import Skip
from mechpaint.routes.prefix_tree import PrefixTree
from mechpaint.routes.route import Route
from mechpaint.runs.plans.route_plan import RoutePlan, Settings
from mechpaint.runs.plans.routed_model import RoutedModel
from mechpaint.scoring.score import score_items
from mechpaint.tasks import Glue
from tests.mechpaint.finetuning import made_up
from tests.mechpaint.finetuning.test_classification import quietly

ROUTES = [Route.identity(4), Skip(1, 2).route(4), Skip(2, 2).route(4)]


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "opinions.jsonl"
    rows = [{"sentence": e.texts[0], "label": int(e.label)} for e in made_up.opinions(60)]
    path.write_text("\n".join(map(json.dumps, rows)))
    return str(path)


@pytest.fixture(scope="module")
def saved(tmp_path_factory, encoder):
    """A folder with the tiny BERT and its tokenizer."""
    import transformers as hf

    path = tmp_path_factory.mktemp("models") / "bert"
    ordinary = hf.BertModel(encoder.original_model.config)
    weights = {n.replace("._original_component", ""): t for n, t in encoder.original_model.state_dict().items()}
    ordinary.load_state_dict({name: weights[name] for name in ordinary.state_dict()})
    ordinary.save_pretrained(path)
    made_up.tokenizer().save_pretrained(path)
    return path


def test_the_argument_of_the_command_line():
    found = Glue.from_argument("rte,train=a.jsonl, validation=b.csv,learns=head,epochs=7,lr=1e-3,held_out=0.5,seed=3")
    training = FineTuning(learns="head", epochs=7, lr=1e-3, seed=3)
    assert found == Glue("rte", "a.jsonl", "b.csv", held_out=0.5, training=training)
    assert Glue.from_argument("cola") == Glue("cola")
    assert Glue.from_argument("train=mine.csv") == Glue(train="mine.csv")


@pytest.mark.parametrize(
    ("argument", "error", "words"),
    [
        ("rte,frozen=true", TaskError, "cannot read 'frozen=true' .* the names are train, validation, .* learns"),
        ("rte,cola", TaskError, "cannot read 'cola'"),
        ("rte,epochs=many", TaskError, "epochs of the task glue is a int, got 'many'"),
        ("rte,learns=nothing", TrainingError, "one of all, layers, head, got 'nothing'"),
    ],
)
def test_bad_arguments_are_refused(argument, error, words):
    with pytest.raises(error, match=words):
        Glue.from_argument(argument)


@pytest.mark.parametrize(("learns", "parts"), [("head", [3]), ("layers", [1, 1, 1])])
def test_records_are_what_training_along_each_route_gives(encoder, source, learns, parts):
    task = Glue("sst2", source, training=FineTuning(learns=learns, epochs=1))
    items, tree = task.items(encoder, limit=10), PrefixTree(ROUTES)
    assert [len(part.tree.routes) for part in task.parts(items, tree)] == parts
    ticks = []
    records = [
        record
        for part in task.parts(items, tree)
        for record in score_items(encoder, task, part.items, part.tree, advance=ticks.append)
    ]
    assert sum(ticks) == len(records) == 30
    data = made_up.Labelled(task.data.benchmark, task.data.train, tuple(items), "the same")
    for route in ROUTES:
        tuned = finetune(encoder, data, route, task.training, quietly)
        found = [record for record in records if record["route"] == str(route)]
        assert [record["item"] for record in found] == [item.name for item in items]
        assert [record["score"] for record in found] == list(tuned.predicted)
        assert all(record["finite"] and math.isnan(record["logprob"]) and not record["tokens"] for record in found)


def test_chance_is_that_of_always_saying_the_same(encoder, source):
    task = Glue("sst2", source)
    items = task.items(encoder)
    most = round(sum(example.label for example in task.data.train) / len(task.data.train))
    assert task.chance(encoder, items) == sum(item.label == most for item in items) / len(items)
    assert Glue("cola", source).chance(encoder, items) == 0
    assert task.measured() == "accuracy"
    assert Glue("cola", source).measured() == "Matthews"


def test_its_settings_tell_other_examples_apart(tmp_path, source):
    task = Glue("sst2", source)
    other = tmp_path / "other.jsonl"
    other.write_text(Path(source).read_text().replace("fine", "lovely"))
    assert task.settings() == Glue("sst2", source).settings()
    assert task.settings()["examples"] != Glue("sst2", str(other)).settings()["examples"]


def test_cost_counts_what_runs(encoder, source):
    """Every update and every batch that is asked runs each layer of a route; a frozen body runs once an example."""
    tree = PrefixTree(ROUTES)
    for learns in ("all", "head"):
        task = Glue("sst2", source, training=FineTuning(learns=learns, epochs=2, batch=9))
        items = task.items(encoder)
        before = torch.get_rng_state()
        cost = task.cost(encoder, task.parts(items, tree), 32)
        assert torch.equal(torch.get_rng_state(), before)
        expected = (4 + 2 + 3) * (2 * 5 + 1) if learns == "all" else tree.layer_calls * (2 + 1)
        assert cost.layer_calls == expected
        assert cost.seconds > 0
        assert cost.memory.whole > 0


def test_models_that_cannot_get_a_head_are_refused(source):
    import mechpaint as mp

    with pytest.raises(TrainingError, match="on a Hugging Face model"):
        Glue("sst2", source).items(mp.load("toy-induction"))


def test_each_route_is_a_cell(encoder, source):
    """Which gives the same at every call."""
    routed_model = RoutedModel(encoder, "tiny")
    task = Glue("sst2", source, training=FineTuning(epochs=1, batch=40))
    plan = RoutePlan.of(Painters(start_layers=(1,), seeds=1), routed_model, Settings((task,), limit=4))
    cells = plan.cells()
    assert len(cells) == len(plan.tree.routes) == len({cell.name for cell in cells})
    assert all(cell.rows == cell.ticks == 4 for cell in cells)
    first, again = ([*cells[2].compute(quietly)] for _ in range(2))
    assert str(first) == str(again)  # NaN is not equal to itself
    assert {record["route"] for record in first} == {str(plan.tree.routes[2])}


@pytest.mark.slow
def test_a_run_is_taken_up_where_it_was_stopped(mechpaint, source, saved, tmp_path):
    """Each route is a cell: of a run that lost one, that one alone is computed again, and comes out the same."""
    asked = f"glue:sst2,train={source},learns=layers,epochs=1,batch=40"
    options = ["--model", saved, "--task", asked, "--start-layers", "1", "--seeds", "1", "--limit", "6", "--json"]
    command = ["analyze", "painters", *options, "--out", tmp_path]
    plan = mechpaint(*command, "--dry-run")
    assert json.loads(plan.stdout)["layer calls"] > 0
    first = mechpaint(*command)
    assert first.returncode == 0, first.stderr
    cells = sorted(Path(json.loads(first.stdout)["run"]).glob("cells/*"))
    assert len(cells) == json.loads(plan.stdout)["routes"]
    cells[3].unlink()
    kept = {cell: cell.stat().st_mtime_ns for cell in cells if cell.exists()}
    again = mechpaint(*command)
    assert again.stdout == first.stdout
    assert {cell: cell.stat().st_mtime_ns for cell in kept} == kept
    assert cells[3].exists()


def test_what_is_wrong_is_said_in_a_line(mechpaint, saved):
    done = mechpaint("analyze", "painters", "--model", saved, "--task", "glue:snli")
    assert done.returncode == 2
    assert "there is no task 'snli' in GLUE" in done.stderr
    assert "Traceback" not in done.stderr
