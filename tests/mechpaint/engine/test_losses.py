"""Losses of many routes are those of their logits."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

import mechpaint as mp
from mechpaint.errors import InputError
from mechpaint.hooks import Ablate
from tests import tiny

ROUTES = ["0-5", "0 4-1 5", "0 (1-4) 5", Ablate(heads="2.1")]


@pytest.mark.parametrize("name", ["llama", "gemma3"])
@pytest.mark.parametrize("padded", [False, True])
def test_losses_are_those_of_the_logits(name, padded, monkeypatch):
    model, tokens = tiny.bridge(name), tiny.tokens(3, 8)
    mask = torch.ones_like(tokens)
    if padded:
        mask[1, 5:] = 0
    monkeypatch.setattr("mechpaint.engine.sweep.TAIL_BYTES", 4 * tiny.VOCABULARY * 5)  # blocks of five positions
    found = dict(mp.losses(model, tokens, ROUTES, mask if padded else None))
    assert len(found) == len(ROUTES)
    for route, logits in mp.sweep(model, tokens, ROUTES, mask if padded else None):
        each = functional.cross_entropy(logits[:, :-1].transpose(1, 2), tokens[:, 1:], reduction="none")
        real = (mask[:, :-1] & mask[:, 1:]).bool()
        torch.testing.assert_close(found[route][real], each[real], atol=1e-5, rtol=1e-5)
        assert found[route][~real].isnan().all()


def test_what_has_no_loss_is_refused():
    model = tiny.bridge("llama")
    with pytest.raises(InputError, match="a single token has no loss"):
        next(mp.losses(model, tiny.tokens(2, 1), "0-5"))
    with pytest.raises(InputError, match="nothing to predict"):
        next(mp.losses(model, tiny.tokens(1, 4), "0-5", torch.tensor([[1, 0, 1, 0]])))
    with pytest.raises(InputError, match="causal model"):
        next(mp.losses(tiny.bridge("bert"), tiny.tokens(), "0-5"))
