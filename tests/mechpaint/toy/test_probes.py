"""Divergences and recalls that the reference does not have, in closed form or by plain loops."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest
import torch

from mechpaint.errors import ToyError
from mechpaint.toy import probes
from mechpaint.toy.bigram_task import BigramTask
from mechpaint.toy.chains import Chain
from mechpaint.toy.probes import learned, memory_scores, recall
from mechpaint.toy.simplified import SimplifiedConfig, SimplifiedTransformer


@pytest.fixture(scope="module")
def batch():
    return BigramTask(Chain.zipf(7), triggers=2, fixed=False).batch(5, 20, seed=1)


def test_in_context_bigrams_are_counted_by_hand(batch):
    found = probes.in_context_bigrams(batch.tokens, batch.targets, 7)
    for row, (tokens, targets) in enumerate(zip(batch.tokens.tolist(), batch.targets.tolist(), strict=True)):
        for t, token in enumerate(tokens):
            counts = Counter(targets[s] for s in range(t) if tokens[s] == token)
            expected = [counts[v] / max(1, counts.total()) for v in range(7)]
            assert found[row, t].tolist() == pytest.approx(expected)


def test_a_model_that_knows_the_chain_is_no_nats_from_it(batch):
    chain = Chain.zipf(7)
    logits = torch.tensor(np.log(chain.transitions))[batch.tokens].float()
    found = probes.divergences(logits, batch, chain.transitions)
    assert found["kl_global"] == pytest.approx(0, abs=1e-6)
    assert found["kl_in_context"] > 0.1


def test_a_model_that_knows_the_context_is_no_nats_from_it(batch):
    logits = probes.in_context_bigrams(batch.tokens, batch.targets, 7).clamp(min=1e-30).log().float()
    found = probes.divergences(logits, batch, Chain.zipf(7).transitions)
    assert found["kl_in_context"] == pytest.approx(0, abs=1e-6)
    assert found["kl_global"] > 1


def test_a_model_that_knows_nothing_has_the_loss_of_guessing(batch):
    found = probes.predictions(torch.zeros(5, 20, 7), batch)
    for name in ("loss", "loss_bigram", "loss_in_context"):
        assert found[name] == pytest.approx(math.log(7))
    where = (batch.occurrences >= 2) & (batch.targets != batch.tokens)
    assert found["accuracy_changed"] == pytest.approx(float((batch.targets[where] == 0).double().mean()))


def test_nothing_to_average_is_not_a_number(batch):
    found = probes.predictions(torch.zeros(1, 2, 7), BigramTask(Chain.zipf(7), triggers=0).batch(1, 2, seed=0))
    assert math.isnan(found["accuracy_in_context"])


@pytest.mark.parametrize("matrix", ["W_O^2", "W_K^2", "W_K^1"])
def test_memories_answer_as_their_formulas_say(matrix):
    model = SimplifiedTransformer(SimplifiedConfig(vocabulary=6, dim=8, length=5))
    w = {name: tensor.double() for name, tensor in model.state_dict().items()}
    embed, positions, d = w["tok_embed.weight"], w["pos.weight"], 8
    found = memory_scores(model, matrix)
    for i, row in enumerate(found):
        for j, score in enumerate(row):
            if matrix == "W_O^2":
                value = w["layers.1.attn.o.weight"] @ w["layers.1.attn.v.weight"] @ embed[i]
                expected = w["head.weight"][j] @ value
            elif matrix == "W_K^2":
                again = w["layers.0.attn.o.weight"] @ w["layers.0.attn.v.weight"] @ embed[j]
                expected = embed[i] @ w["layers.1.attn.k.weight"] @ again / math.sqrt(d)
            else:
                expected = positions[i + 1] @ w["layers.0.attn.k.weight"] @ positions[j] / math.sqrt(d)
            assert float(score) == pytest.approx(float(expected), abs=1e-4)
    assert learned(model, matrix).requires_grad


def test_recall_counts_highest_scores_on_the_diagonal():
    assert recall(torch.tensor([[2.0, 1.0], [3.0, 1.0]])) == 0.5


def test_recalls_need_what_they_are_about():
    with pytest.raises(ToyError, match="two layers or more"):
        probes.recalls(SimplifiedTransformer(SimplifiedConfig(layers=1)))
    rotary = SimplifiedTransformer(SimplifiedConfig(positions="rotary"))
    assert set(probes.recalls(rotary)) == {"recall_output", "recall_tokens"}
    with pytest.raises(ToyError, match="no position vectors"):
        memory_scores(rotary, "W_K^1")
