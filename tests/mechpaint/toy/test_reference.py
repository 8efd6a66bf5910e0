"""Every probe, the logits and the attention, against the values that the paper's own code gave."""

from __future__ import annotations

import json
import os
from functools import cache
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import mechpaint as mp
from mechpaint.hooks import ReadAttention
from mechpaint.toy import probes
from mechpaint.toy.bigram_task import ToyBatch
from mechpaint.toy.bridge import as_bridge
from mechpaint.toy.chains import Chain
from mechpaint.toy.simplified import SimplifiedConfig, SimplifiedTransformer

REFERENCE = Path(os.environ.get("MECHPAINT_BIRTH") or Path(__file__).parents[2] / "birth")
VALUES = json.loads((REFERENCE / "values.json").read_text())
TRIGGERS = tuple(VALUES["triggers"])
OUR_NAMES = {
    "loss": "loss",
    "loss_bigram": "loss_bigram",
    "loss_head": "loss_in_context",
    "acc_tot": "accuracy_triggers",
    "acc_start": "accuracy_start",
    "acc_end": "accuracy_in_context",
    "repeat_frac": "repeats",
    "score_acc": "previous_token",
    "score_start_acc": "previous_token_first",
    "score2_next_acc": "attends_output",
    "score2_acc": "attends_after_trigger",
    "score_cond_acc": "previous_token_there",
    "pred_attended_acc": "predicts_attended",
    "score1_repeat_val_acc": "repeat_1",
    "score2_repeat_val_acc": "repeat_2",
    "wo1_acc": "recall_output",
    "wk0_acc": "recall_positions",
    "wk0_64_acc": "recall_early",
    "wk1_acc": "recall_triggers",
    "wk1_acc_all_tokens": "recall_tokens",
    "ff1_loss": "kl_feed_forward",
    "ff1_loss_all_tokens": "kl_feed_forward_all",
}
CASES = [(c, name) for c, checkpoint in VALUES["checkpoints"].items() for name in checkpoint["values"]]


@cache
def _batch():
    stored = {name: tensor.long() for name, tensor in load_file(REFERENCE / "batch.safetensors").items()}
    none = torch.zeros((len(stored["x"]), 0), dtype=torch.long)
    return ToyBatch(stored["x"], stored["y"], stored["outs"], none, none)


@cache
def _model(checkpoint):
    names = {"pe": "pos.weight", "tok_embeddings.weight": "tok_embed.weight", "output.weight": "head.weight"}
    stored = load_file(REFERENCE / f"model_{checkpoint}.safetensors")
    model = SimplifiedTransformer(SimplifiedConfig(dim=128, length=80, feed_forward=True))
    model.load_state_dict({names.get(n, n.replace("attention.w", "attn.")): tensor for n, tensor in stored.items()})
    return model


@cache
def _run(checkpoint):
    bridge = as_bridge(_model(checkpoint))
    with torch.no_grad(), mp.attach(bridge, ReadAttention()) as session:
        logits = bridge(_batch().tokens)
    return logits, [pattern[:, 0] for pattern in session["attention"].values()]


@cache
def _values(checkpoint):
    logits, (first, second) = _run(checkpoint)
    return {
        **probes.predictions(logits, _batch()),
        **probes.attention(first, second, logits, _batch()),
        **probes.recalls(_model(checkpoint), TRIGGERS, Chain.shakespeare().transitions),
    }


@pytest.mark.parametrize(("checkpoint", "name"), CASES, ids=map("-".join, CASES))
def test_every_value(checkpoint, name):
    expected = VALUES["checkpoints"][checkpoint]["values"][name]
    assert _values(checkpoint)[OUR_NAMES[name]] == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("checkpoint", VALUES["checkpoints"])
def test_logits_and_attention(checkpoint):
    stored = load_file(REFERENCE / f"forward_{checkpoint}.safetensors")
    logits, patterns = _run(checkpoint)
    for name, found in (("logits", logits), ("attn1", patterns[0]), ("attn2", patterns[1])):
        assert float((found[: len(stored[name])] - stored[name]).abs().max()) < 1e-5, name


def test_the_shipped_task_has_the_references_triggers():
    from mechpaint.toy.bigram_task import BigramTask

    assert set(BigramTask(Chain.shakespeare(), triggers=5).fixed_triggers) == set(TRIGGERS)
