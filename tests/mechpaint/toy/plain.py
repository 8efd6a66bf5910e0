"""The simplified model once more, written out position by position from the paper's formulas."""

from __future__ import annotations

import math

import torch


def logits(weights, tokens, *, rotate=None):
    """Logits of one sequence, in float64, by loops over layers, queries and keys."""
    w = {name: tensor.double() for name, tensor in weights.items()}
    n_layers = 1 + max(int(name.split(".")[1]) for name in w if name.startswith("layers."))
    h = [w["tok_embed.weight"][x] + (w["pos.weight"][t] if "pos.weight" in w else 0) for t, x in enumerate(tokens)]
    for i in range(n_layers):
        key, value, output = (w[f"layers.{i}.attn.{part}.weight"] for part in "kvo")
        after = []
        for t in range(len(h)):
            turn = rotate or (lambda vector, _: vector)
            scores = torch.stack([turn(h[t], t) @ turn(key @ h[s], s) / math.sqrt(len(h[t])) for s in range(t + 1)])
            shares = scores.softmax(0)
            after.append(h[t] + output @ sum(shares[s] * (value @ h[s]) for s in range(t + 1)))
        if f"layers.{i}.ff.weight" in w:
            after = [x + w[f"layers.{i}.ff.weight"] @ x for x in after]
        h = after
    return torch.stack([w["head.weight"] @ x for x in h])


def turned(vector, position):
    """One vector rotated pair by pair, with complex numbers."""
    rates = 10_000 ** (-torch.arange(0, len(vector), 2).double() / len(vector))
    pairs = torch.view_as_complex(vector.view(-1, 2)) * torch.polar(torch.ones_like(rates), position * rates)
    return torch.view_as_real(pairs).flatten()
