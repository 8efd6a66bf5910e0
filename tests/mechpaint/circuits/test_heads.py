"""Head scores on heads that are known: written down, planted, or defined by a plain loop."""

from __future__ import annotations

import pytest
import torch

import mechpaint as mp
from mechpaint.circuits.heads import copying_scores, head_scores, repeated_tokens
from mechpaint.errors import TextTooLong
from mechpaint.hooks import Loop, ReadAttention, Skip
from mechpaint.toy.bridge import as_bridge
from mechpaint.toy.construction import construct, mend_first_position
from mechpaint.toy.simplified import SimplifiedConfig, SimplifiedTransformer
from tests import tiny


@pytest.fixture(scope="module")
def constructed():
    model = SimplifiedTransformer(SimplifiedConfig(dim=512))
    construct(model)
    mend_first_position(model)
    return as_bridge(model)


def test_a_constructed_induction_head_is_one(constructed):
    first, second = head_scores(constructed, repeated_tokens(constructed, 8, 32))
    assert first.previous_token > 0.99
    assert second.prefix_matching > 0.9
    assert second.copying > 0.9
    assert max(first.prefix_matching, first.duplicate_token, second.previous_token, second.duplicate_token) < 0.1
    assert abs(first.copying) < 0.5


def test_scores_are_means_over_a_plain_loop(llama):
    data = repeated_tokens(llama, 2, 5)
    with torch.no_grad(), mp.attach(llama, ReadAttention()) as session:
        llama(data.tokens)
    for score in head_scores(llama, data):
        pattern = session["attention"][score.visit][:, score.head]
        previous = [float(row[t, t - 1]) for row in pattern for t in range(1, 10)]
        prefix = [float(row[t, t - 4]) for row in pattern for t in range(5, 10)]
        duplicate = [float(row[t, t - 5]) for row in pattern for t in range(5, 10)]
        for found, values in (
            (score.previous_token, previous),
            (score.prefix_matching, prefix),
            (score.duplicate_token, duplicate),
        ):
            assert found == pytest.approx(sum(values) / len(values))


@pytest.mark.parametrize("name", tiny.MAKERS)
def test_copying_is_that_of_the_whole_circuit(name):
    model = tiny.bridge(name)
    found = copying_scores(model)
    assert found.shape == (6, 4)
    values = model.W_V.repeat_interleave(model.W_O.shape[1] // model.W_V.shape[1], 1)
    for layer, head in ((0, 0), (3, 1), (5, 3)):
        circuit = model.W_E.detach() @ values[layer, head] @ model.W_O[layer, head] @ model.W_U  # [vocab, vocab]
        eigenvalues = torch.linalg.eigvals(circuit.detach().double())
        expected = eigenvalues.real.sum() / eigenvalues.abs().sum()
        assert float(found[layer, head]) == pytest.approx(float(expected), abs=1e-3)


def test_every_visit_is_scored_on_a_route(constructed):
    data = repeated_tokens(constructed, 4, 16)
    looped = head_scores(constructed, data, Loop(1, 1, 3))
    assert [(s.visit.step, s.visit.layer) for s in looped] == [(0, 0), (1, 1), (2, 1), (3, 1)]
    (alone,) = head_scores(constructed, data, Skip(0, 0))
    assert alone.prefix_matching < 0.1  # nothing has written which token came before


def test_sequences_repeat_distinct_ordinary_tokens(speaking):
    data = repeated_tokens(speaking, 5, 9, seed=3)
    special = set(speaking.tokenizer.all_special_ids)
    assert data.tokens.shape == (5, 19)
    assert (data.tokens[:, 0] == speaking.tokenizer.bos_token_id).all()
    for row in data.tokens[:, 1:].tolist():
        assert row[:9] == row[9:]
        assert len(set(row)) == 9
        assert not special & set(row)
    assert torch.equal(data.tokens, repeated_tokens(speaking, 5, 9, seed=3).tokens)
    assert not torch.equal(data.tokens, repeated_tokens(speaking, 5, 9, seed=4).tokens)


@pytest.mark.parametrize("period", [1, 33, 66])
def test_what_does_not_fit_is_refused(constructed, period):
    with pytest.raises(TextTooLong, match=f"cannot repeat {period} distinct tokens.*no more than 65.*64 positions"):
        repeated_tokens(constructed, 1, period)
