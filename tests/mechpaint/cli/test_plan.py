"""`mechpaint plan` as the command line has it."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from mechpaint.cli.app import commands
from mechpaint.planning import calibration
from mechpaint.plugins import built_in

SMALL = ("painters", "--start-layers", "1", "--seeds", "1")
SIZE = ("--items", "40", "--tokens", "16")


@pytest.fixture
def plan(monkeypatch):
    """The command, with less time for measuring."""
    monkeypatch.setattr(calibration, "BUDGET", 0.02)
    monkeypatch.setenv("COLUMNS", "160")

    def given(*arguments, fails=0):
        done = CliRunner().invoke(commands(built_in()), [str(argument) for argument in arguments])
        assert done.exit_code == fails, done.output
        return done

    return given


def test_a_configuration_alone_is_planned_with_the_counts_of_the_loaded_model(plan, folder, tmp_path):
    (tmp_path / "only").mkdir()
    (tmp_path / "only" / "config.json").write_text((folder / "config.json").read_text())
    items = ("--task", "facts", "--limit", "4", "--batch-size", "8")
    loaded = json.loads(plan("analyze", *SMALL, "--model", folder, *items, "--dry-run", "--json").stdout)
    shaped = json.loads(plan("plan", *SMALL, "--model", folder, *items, "--json").stdout)
    there = json.loads(plan("plan", *SMALL, "--model", folder, *items, "--on", "h100", "--json").stdout)
    timed = {"minutes", "hours", "hours with them", "where"}
    for name in shaped.keys() - timed:
        assert shaped[name] == loaded[name], name
    # nothing tells there that rows can share their beginnings, so all are counted; and more visits share a call
    rows = {"floating-point operations", "logits, GB", "activations, GB", "memory, GB"}
    for name in shaped.keys() - timed - rows:
        assert shaped[name] == there[name], name
    assert there["floating-point operations"] >= shaped["floating-point operations"]
    assert (shaped["where"], there["where"]) == ("here", "1 x h100, float32")
    alone = plan("plan", *SMALL, "--model", tmp_path / "only", *items, fails=2).stderr
    assert "comes without a tokenizer" in alone
    assert "--items N --tokens T" in alone
    described = json.loads(plan("plan", *SMALL, "--model", tmp_path / "only", *SIZE, "--on", "l40s", "--json").stdout)
    assert described["items"] == {"rows of 16 tokens": 40}
    assert described["batches"] == 2
    assert described["layer calls"] == 2 * described["layer calls a batch"]


def test_a_model_that_does_not_fit_says_how_many_devices_it_needs(plan, tmp_path):
    sizes = {"num_hidden_layers": 3, "hidden_size": 16384, "intermediate_size": 16384, "vocab_size": 50}
    (tmp_path / "wide.json").write_text(json.dumps({"model_type": "llama", "num_attention_heads": 8, **sizes}))
    given = ("plan", *SMALL, "--model", tmp_path / "wide.json", *SIZE, "--json", "--on")
    found = json.loads(plan(*given, "rtx-4090").stdout)
    parameters = 3 * 7 * 16384**2  # and embeddings and norms, which are few
    assert found["weights, GB"] == pytest.approx(4e-9 * parameters, rel=0.01)
    assert found["where"] == "2 x rtx-4090, float32"
    assert json.loads(plan(*given, "h200").stdout)["where"] == "1 x h200, float32"
    slower = json.loads(plan(*given, "h200", "--reached", "0.25", "--reached-bandwidth", "0.35").stdout)
    assert slower["hours"] > json.loads(plan(*given, "h200").stdout)["hours"]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (("--on", "abacus"), "there is no accelerator 'abacus'"),
        (("--on", "v100", "--dtype", "bfloat16"), "v100 does not compute in bfloat16"),
        (("--on", "h100", "--reached", "2"), "must be in (0, 1]"),
        ((*SIZE, "--task", "facts"), "--items or --task, got both"),
        (("--items", "2", "--tokens", "0"), "at least 1 token"),
        (("--items", "2", "--batch-size", "0"), "(--batch-size) must be 1 or more"),
        (("--dtype", "float7"), "there is no dtype 'float7'"),
    ],
)
def test_what_cannot_be_planned_is_told_in_a_line(plan, folder, given, words):
    found = plan("plan", *SMALL, "--model", folder, *given, fails=2).stderr
    assert words in found
    assert found.startswith("error")
    assert len(found.splitlines()) == 1


def test_a_plan_is_made_of_every_analysis_that_scores_routes(plan):
    shown = plan("plan", "--help").stdout
    assert "painters" in shown
    assert "loops" in shown
    assert "No plan: mechpaint analyze birth --dry-run" in shown


@pytest.mark.parametrize("analysis", ["induction", "similarity", "birth", "memories", "pareto"])
def test_an_analysis_without_a_plan_says_why_and_what_to_use(plan, analysis):
    found = plan("plan", analysis, "--model", "llama-2-7b", "--on", "h100", fails=2).stderr
    assert f"{analysis} cannot be planned from a configuration alone: " in found
    assert f"mechpaint analyze {analysis} --dry-run" in found
    assert len(found.splitlines()) == 1
