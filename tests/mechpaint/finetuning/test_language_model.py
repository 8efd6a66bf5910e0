"""Language models fine-tuned along a route."""

from __future__ import annotations

import runpy

import pytest
import torch
from torch.nn import functional

import mechpaint as mp
from mechpaint.errors import TaskError, TrainingError
from mechpaint.finetuning import FineTuning, finetune_text, text_losses, windows
from mechpaint.hooks import Skip
from tests import plain, tiny
from tests.docs.fences import ROOT
from tests.mechpaint.finetuning import made_up
from tests.mechpaint.finetuning.test_classification import quietly


@pytest.mark.parametrize(("name", "learns"), [("llama", "layers"), ("gemma3", "all")])
def test_a_text_is_learned_along_a_route(name, learns):
    """Losses against those of a plain loop over the layers; skipped layers, and the given model, do not change."""
    model, tokens = tiny.bridge(name), tiny.tokens(8, 12)
    before = made_up.weights(model)
    tuned = finetune_text(model, tokens, Skip(2, 3), FineTuning(learns=learns, epochs=8, batch=4, lr=1e-2), quietly)
    assert made_up.same(model, before)
    logits = plain.logits(tiny.module(name), tokens, [0, 1, 4, 5])
    losses = functional.cross_entropy(logits[:, :-1].transpose(1, 2), tokens[:, 1:], reduction="none").mean(dim=1)
    assert torch.allclose(text_losses(model, tokens, Skip(2, 3), batch=3), losses, atol=1e-4)
    assert text_losses(tuned.model, tokens, Skip(2, 3)).mean() < losses.mean() / 2
    assert len(tuned.losses) == 16
    own = dict(model.original_model.named_parameters())
    changed = {n for n, p in tuned.model.original_model.named_parameters() if not torch.equal(p, own[n])}
    assert {i for i in range(6) if any(n.startswith(f"model.layers.{i}.") for n in changed)} == {0, 1, 4, 5}
    assert any("embed_tokens" in n for n in changed) == (learns == "all")


def test_windows_are_the_text(speaking):
    found = windows(speaking, "The capital of France is the city of Paris. " * 20, 16)
    assert found.shape[1] == 16
    assert (found[:, 0] == speaking.tokenizer.bos_token_id).all()
    joined = "".join(speaking.tokenizer.decode(row[1:]) for row in found)
    assert ("The capital of France is the city of Paris. " * 20).startswith(joined)
    with pytest.raises(TaskError, match="fewer than one window of 15"):
        windows(speaking, "The", 16)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (
            lambda: finetune_text(tiny.bridge("bert"), tiny.tokens()),
            "expected a causal language model, got a BertForMaskedLM",
        ),
        (
            lambda: finetune_text(tiny.bridge("llama"), tiny.tokens(), None, FineTuning(learns="head")),
            "not trained alone",
        ),
        (lambda: finetune_text(_llama(), tiny.tokens(2, 1)), "windows .* of 2 tokens or more, got"),
    ],
)
def test_what_cannot_be_is_refused(make, words):
    with pytest.raises(TrainingError, match=words):
        make()


def _llama():
    return tiny.bridge("llama")


def test_the_example_of_figure_13(folder, capsys):
    script = runpy.run_path(str(ROOT / "examples" / "finetune_after_skipping.py"))
    script["main"](["--model", str(folder), "--skipped", "0", "2", "--updates", "1", "--window", "24", "--items", "3"])
    rows = [line.split(" | ") for line in capsys.readouterr().out.splitlines() if line.startswith("| ")]
    assert [row[0] for row in rows[2:]] == ["| 0 (0%)"] * 3 + ["| 2 (33%)"] * 3
    assert all(len(row) == 5 for row in rows)


def test_the_example_of_glue(tmp_path, capsys, monkeypatch, encoder):
    from tests.mechpaint.finetuning.test_datasets import _written

    rows = [{"sentence": e.texts[0], "label": int(e.label)} for e in made_up.opinions(40)]
    script = runpy.run_path(str(ROOT / "examples" / "glue_along_routes.py"))
    monkeypatch.setattr(mp, "load", lambda model, dtype: encoder)
    script["main"](["sst2", _written(tmp_path / "a.jsonl", rows), "--routes", "skip(1, 2)", "--epochs", "1"])
    found = [line.split(" | ")[:2] for line in capsys.readouterr().out.splitlines() if line.startswith("| ")]
    assert found[2:] == [["| head", "0-3"], ["| head", "0 3"], ["| all", "0-3"], ["| all", "0 3"]]
