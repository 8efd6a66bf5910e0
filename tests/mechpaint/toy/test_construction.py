"""The induction head written down, and gradient steps as memories."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional

import mechpaint as mp
from mechpaint.errors import ToyError
from mechpaint.hooks import Read
from mechpaint.toy import probes
from mechpaint.toy.bigram_task import BigramTask
from mechpaint.toy.bridge import as_bridge
from mechpaint.toy.chains import Chain
from mechpaint.toy.construction import (
    construct,
    first_position_memory,
    induction_memory,
    mend_first_position,
    outer_products,
    output_memory,
    previous_token_memory,
)
from mechpaint.toy.gradients import TOP_DOWN, FirstStep, gradient_memory, step, zero
from mechpaint.toy.probes import learned, memory_scores, recall
from mechpaint.toy.simplified import SimplifiedConfig, SimplifiedTransformer


def _orthonormal(vocabulary=5, length=6):
    """A model whose vectors are exactly orthogonal, where the paper's approximations are equations."""
    model = SimplifiedTransformer(SimplifiedConfig(vocabulary=vocabulary, dim=64, length=length))
    eye = torch.eye(64)
    shift = eye.roll(2 * vocabulary + length, 0)
    with torch.no_grad():
        model.tok_embed.weight.copy_(8 * eye[:vocabulary])
        model.pos.weight.copy_(8 * eye[vocabulary : vocabulary + length])
        model.head.weight.copy_(eye[-vocabulary:])
        for layer in model.layers:
            layer.attn.v.weight.copy_(shift)
        model.layers[0].attn.o.weight.copy_(eye)
    return model


def _accuracy(model, batch):
    where = batch.occurrences >= 2
    with torch.no_grad():
        return float((model.logits_at(batch.tokens, where).argmax(-1) == batch.targets[where]).double().mean())


def test_an_outer_product_memory_is_a_sum_of_outer_products():
    left, right = torch.randn(4, 3), torch.randn(4, 5)
    expected = sum(torch.outer(a, b) for a, b in zip(left, right, strict=True))
    torch.testing.assert_close(outer_products(left, right), expected)


def test_with_orthogonal_vectors_right_answers_score_beta_and_others_nothing():
    model = _orthonormal()
    construct(model, sharpness=7.0)
    for matrix in TOP_DOWN:
        scores = memory_scores(model, matrix)
        torch.testing.assert_close(scores, 7.0 * torch.eye(len(scores)), atol=1e-4, rtol=0)


def test_the_constructed_head_is_wrong_only_where_a_trigger_opens_the_sequence_and_that_can_be_mended():
    task = BigramTask(Chain.uniform(5), triggers=2, fixed=False, no_repeat=True)
    batch = task.batch(400, 6, seed=0)
    model = _orthonormal()
    construct(model, sharpness=40.0)
    where = batch.occurrences >= 2
    with torch.no_grad():
        right = model.logits_at(batch.tokens, where).argmax(-1) == batch.targets[where]
    opens = (batch.tokens == batch.tokens[:, :1])[where]
    assert right[~opens].all()
    assert not right[opens].all()
    mend_first_position(model, sharpness=40.0)
    assert _accuracy(model, batch) == 1.0


@pytest.mark.parametrize("fixed", [True, False])
def test_the_constructed_head_works_in_512_dimensions(fixed):
    batch = BigramTask(Chain.shakespeare(), fixed=fixed).batch(64, 64, seed=1)
    model = SimplifiedTransformer(SimplifiedConfig(dim=512))
    untouched = model.layers[1].attn.v.weight.clone()
    assert _accuracy(model, batch) < 0.1
    construct(model)
    assert _accuracy(model, batch) >= 0.95
    found = probes.recalls(model)
    assert found["recall_output"] == found["recall_positions"] == found["recall_tokens"] == 1.0
    assert torch.equal(model.layers[1].attn.v.weight, untouched)


def test_what_cannot_be_constructed_is_refused():
    with pytest.raises(ToyError, match="two layers, and this model has 3"):
        construct(SimplifiedTransformer(SimplifiedConfig(layers=3)))
    with pytest.raises(ToyError, match="rotary model has none"):
        construct(SimplifiedTransformer(SimplifiedConfig(positions="rotary")))


def test_only_the_tokens_asked_for_are_stored():
    model = _orthonormal()
    construct(model, sharpness=7.0, tokens=(3, 1))
    torch.testing.assert_close(
        memory_scores(model, "W_K^2"), 7.0 * torch.diag(torch.tensor([0, 1.0, 0, 1, 0])), atol=1e-4, rtol=0
    )
    torch.testing.assert_close(memory_scores(model, "W_O^2"), 7.0 * torch.eye(5), atol=1e-4, rtol=0)
    before = learned(model, "W_K^2").detach().clone()
    mend_first_position(model, sharpness=7.0, tokens=(3, 1))
    added = learned(model, "W_K^2").detach() - before
    expected = [-7.0 * 8 if v in (3, 1) else 0.0 for v in range(5)]  # times √64
    found = model.tok_embed.weight @ added @ model.pos.weight[0]
    torch.testing.assert_close(found.detach(), torch.tensor(expected), atol=1e-3, rtol=0)


def test_storing_only_the_triggers_leaves_less_cross_talk():
    task = BigramTask(Chain.shakespeare())
    batch = task.batch(64, 64, seed=1)
    model = SimplifiedTransformer(SimplifiedConfig(dim=256))
    construct(model)
    every = _accuracy(model, batch)
    construct(model, tokens=task.fixed_triggers)
    assert _accuracy(model, batch) > every + 0.02


@pytest.mark.parametrize("tokens", [(5,), (-1,), (1, 1), ()])
def test_tokens_that_cannot_be_stored_are_refused(tokens):
    with pytest.raises(ToyError, match="different numbers from 0 to 4, or None for all; got"):
        construct(_orthonormal(), tokens=tokens)


def test_memories_are_theirs_alone():
    model = _orthonormal()
    assert torch.linalg.matrix_rank(previous_token_memory(model, 1.0)) == 5  # pairs of 6 positions
    assert torch.linalg.matrix_rank(induction_memory(model, 1.0)) == 5
    assert torch.linalg.matrix_rank(output_memory(model, 1.0)) == 5
    assert torch.linalg.matrix_rank(first_position_memory(model, 1.0)) == 1


def test_the_lemma_is_the_gradient():
    generator = torch.Generator().manual_seed(0)
    x, unembed = torch.randn(50, 6, generator=generator), torch.randn(4, 7, generator=generator)
    y = torch.randint(0, 4, (50,), generator=generator)
    for weight in (torch.zeros(7, 6), torch.randn(7, 6, generator=generator)):
        weight.requires_grad_()
        logits = x @ weight.T @ unembed.T
        (gradient,) = torch.autograd.grad(functional.cross_entropy(logits, y), weight)
        found = gradient_memory(x, y, unembed, logits.softmax(-1).detach())
        torch.testing.assert_close(found, -gradient, atol=1e-6, rtol=1e-5)


def test_the_lemma_says_what_is_stored():
    """At W = 0: p(y=k) w_U(k) (E[x | y=k] - E[x] / (vocab p(y=k)))ᵀ, summed over k."""
    x, y = torch.eye(3), torch.tensor([0, 1, 1])
    expected = torch.zeros(2, 3)
    for k in range(2):
        p, mu = float((y == k).double().mean()), x[y == k].mean(0)
        expected += p * torch.outer(torch.eye(2)[k], mu - x.mean(0) / (2 * p))
    torch.testing.assert_close(gradient_memory(x, y, torch.eye(2), torch.full((3, 2), 0.5)), expected)


@pytest.mark.parametrize("fixed", [True, False])
def test_the_first_step_counted_is_the_lemma_on_what_the_model_reads(fixed):
    task = BigramTask(Chain.zipf(9), triggers=3, fixed=fixed)
    batches = [task.batch(20, 15, seed=0, index=i) for i in range(2)]
    model = SimplifiedTransformer(SimplifiedConfig(vocabulary=9, dim=24, length=15))
    zero(model)
    bridge, inputs, targets = as_bridge(model), [], []
    for batch in batches:
        where = batch.occurrences >= 2
        with torch.no_grad(), mp.attach(bridge, Read("attn.hook_z", layers=[1])) as session:
            bridge(batch.tokens)
        (read,) = session["attn.hook_z"].values()
        inputs.append(read[:, :, 0][where])
        targets.append(batch.targets[where])
    uniform = torch.full((sum(map(len, targets)), 9), 1 / 9)
    expected = gradient_memory(torch.cat(inputs), torch.cat(targets), model.head.weight.detach(), uniform)
    torch.testing.assert_close(FirstStep.of(batches, 9).memory(model), expected, atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize("matrix", TOP_DOWN)
def test_a_step_goes_down_the_gradient_of_all_batches_as_far_as_asked(matrix):
    task = BigramTask(Chain.zipf(9), triggers=3)
    batches = [task.batch(20, 15, seed=0, index=i) for i in range(2)]
    model = SimplifiedTransformer(SimplifiedConfig(vocabulary=9, dim=256, length=15))
    weight = learned(model, matrix)
    losses = [functional.cross_entropy(model(b.tokens).mT, b.targets, reduction="none") for b in batches]
    total = sum(own[b.occurrences >= 2].sum() for own, b in zip(losses, batches, strict=True))
    (gradient,) = torch.autograd.grad(total, weight)
    step(model, matrix, batches, sharpness=5.0)
    scores = memory_scores(model, matrix)
    # above the average or, where the gradient says so, below it: in a random model it may
    assert abs(float((scores.diagonal() - scores.mean(1)).mean())) == pytest.approx(5.0, rel=1e-3)
    cosine = functional.cosine_similarity(weight.detach().flatten(), gradient.flatten(), dim=0)
    assert float(cosine) == pytest.approx(-1.0, abs=1e-4)


def test_a_step_along_no_gradient_stores_nothing():
    """Keys get none from an output matrix that is zero."""
    task = BigramTask(Chain.zipf(9), triggers=3)
    model = SimplifiedTransformer(SimplifiedConfig(vocabulary=9, dim=16, length=15))
    zero(model)
    step(model, "W_K^2", [task.batch(20, 15, seed=0)], sharpness=5.0)
    assert not learned(model, "W_K^2").any()  # and not NaN, which is true


def test_in_infinite_dimension_one_step_finds_the_output_memory():
    task = BigramTask(Chain.uniform(30), fixed=False)
    found = FirstStep.of((task.batch(512, 64, seed=0, index=i) for i in range(4)), 30)
    assert found.limit_recall() == 1.0
    low = SimplifiedTransformer(SimplifiedConfig(vocabulary=30, dim=8))
    with torch.no_grad():
        learned(low, "W_O^2").copy_(found.memory(low))
    assert recall(memory_scores(low, "W_O^2")) < 0.9  # cross-talk between vectors hides it
    assert math.isfinite(float(found.memory(low).abs().max()))
