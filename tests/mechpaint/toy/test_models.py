"""The simplified and the full model: the paper's formulas, and bridges that every hook set works on."""

from __future__ import annotations

import math

import pytest
import torch

import mechpaint as mp
from mechpaint.errors import ToyError
from mechpaint.hooks import Average, Hooks, Loop, ReadAttention, ReadResidual, Skip, Swap
from mechpaint.toy.bigram_task import BigramTask
from mechpaint.toy.bridge import as_bridge, task_of
from mechpaint.toy.chains import Chain
from mechpaint.toy.full import FullConfig, FullTransformer
from mechpaint.toy.simplified import SimplifiedConfig, SimplifiedTransformer, sinusoids
from tests.mechpaint.toy import plain

SIMPLIFIED = {
    "paper": {},
    "feed-forward": {"feed_forward": True},
    "one layer": {"layers": 1, "feed_forward": True},
    "three layers": {"layers": 3},
    "sinusoidal": {"positions": "sinusoidal"},
    "rotary": {"positions": "rotary", "feed_forward": True},
}
FULL = {
    "full": {},
    "one layer": {"layers": 1},
    "attention only": {"mlp": 0, "heads": 1},
    "no norm": {"layer_norm": False, "layers": 3},
    "rotary": {"positions": "rotary", "heads": 2},
}


def _simplified(**changed):
    return SimplifiedTransformer(SimplifiedConfig(**{"vocabulary": 11, "dim": 16, "length": 9, "seed": 3, **changed}))


def _full(**changed):
    return FullTransformer(FullConfig(**{"vocabulary": 11, "dim": 16, "length": 9, "heads": 4, "mlp": 24, **changed}))


def _models():
    yield from ((f"simplified, {name}", _simplified(**changed)) for name, changed in SIMPLIFIED.items())
    yield from ((f"full, {name}", _full(**changed)) for name, changed in FULL.items())


MODELS = dict(_models())


@pytest.fixture
def tokens():
    return torch.randint(0, 11, (3, 9), generator=torch.Generator().manual_seed(5))


@pytest.mark.parametrize("changed", SIMPLIFIED.values(), ids=SIMPLIFIED.keys())
def test_the_simplified_model_is_the_papers(changed, tokens):
    model = _simplified(**changed)
    rotate = plain.turned if changed.get("positions") == "rotary" else None
    with torch.no_grad():
        logits = model(tokens)
        for row, expected in zip(tokens, logits, strict=True):
            torch.testing.assert_close(
                plain.logits(model.state_dict(), row, rotate=rotate).float(), expected, atol=1e-5, rtol=1e-5
            )


@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS.keys())
def test_logits_at_chosen_positions_are_those_of_a_whole_forward(model, tokens):
    for seed in range(3):
        where = torch.rand(tokens.shape, generator=torch.Generator().manual_seed(seed)) < 0.3
        where[1] = False  # a sequence without any
        where[2, seed] = True
        torch.testing.assert_close(model.logits_at(tokens, where), model(tokens)[where], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS.keys())
def test_gradients_at_chosen_positions_are_those_of_a_whole_forward(model, tokens):
    where = torch.rand(tokens.shape, generator=torch.Generator().manual_seed(7)) < 0.4
    parameters = [p for p in model.parameters() if p.requires_grad]
    some = torch.autograd.grad(model.logits_at(tokens, where).square().sum(), parameters, allow_unused=True)
    whole = torch.autograd.grad(model(tokens)[where].square().sum(), parameters, allow_unused=True)
    for a, b in zip(some, whole, strict=True):
        torch.testing.assert_close(a, b, atol=1e-3, rtol=1e-4)


@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS.keys())
def test_a_bridge_computes_the_same(model, tokens):
    bridge = as_bridge(model)
    with torch.no_grad():
        torch.testing.assert_close(bridge(tokens), model(tokens), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS.keys())
def test_a_bridge_shares_its_weights(model, tokens):
    bridge = as_bridge(model)
    with torch.no_grad():
        before = bridge(tokens)
        model.head.weight.mul_(2)
        torch.testing.assert_close(bridge(tokens), 2 * before)
        model.head.weight.mul_(0.5)
    assert all("original_component" not in name for name in model.state_dict())  # the module itself stays plain


@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS.keys())
def test_patterns_and_residuals_can_be_read_and_edited(model, tokens):
    bridge = as_bridge(model)
    n_layers, heads = model.config.layers, getattr(model.config, "heads", 1)
    with mp.attach(bridge, ReadAttention() + ReadResidual()) as session:
        before = bridge(tokens)
    patterns = list(session["attention"].values())
    assert [tuple(p.shape) for p in patterns] == [(3, heads, 9, 9)] * n_layers
    for pattern in patterns:
        torch.testing.assert_close(pattern.sum(-1), torch.ones(3, heads, 9))
        assert not pattern.triu(1).any()
    assert len(session["residual"]) == n_layers
    with mp.attach(bridge, Hooks([("blocks.0.attn.hook_pattern", lambda pattern, hook: torch.zeros_like(pattern))])):
        assert (bridge(tokens) - before).abs().max() > 1e-3


@pytest.mark.parametrize("hook_set", [Skip(0, 0), Swap(0, 1), Loop(1, 1, 3), Average(0, 1), Loop(0, 2, 2)], ids=str)
@pytest.mark.parametrize("make", [_simplified, _full])
def test_routes_are_a_plain_loop_over_layers(make, hook_set, tokens):
    model = make(layers=3)
    bridge = as_bridge(model)
    with torch.no_grad():
        h = model.tok_embed(tokens) + model.pos(torch.arange(9))

        def ran(layer, residual):
            output = model.layers[layer](residual)
            return output[0] if isinstance(output, tuple) else output

        route = hook_set.route(3)
        for step in route.steps:
            h = torch.stack([ran(layer, h) for layer in step.layers]).mean(0)
        expected = model.head(getattr(model, "ln_out", lambda x: x)(h))
        with mp.attach(bridge, hook_set):
            torch.testing.assert_close(bridge(tokens), expected, atol=1e-5, rtol=1e-5)
        ((_, swept),) = mp.sweep(bridge, tokens, [route])
        torch.testing.assert_close(swept, expected, atol=1e-5, rtol=1e-5)


def test_padding_on_the_left_or_right_changes_nothing_else(tokens):
    model = _simplified(positions="rotary", seed=1)
    bridge = as_bridge(model)
    with torch.no_grad():
        alone = bridge(tokens[:, :6])
        right = bridge(tokens, attention_mask=torch.tensor([[1] * 6 + [0] * 3] * 3))[:, :6]
        torch.testing.assert_close(alone, right, atol=1e-5, rtol=1e-5)
        shifted = torch.cat([tokens[:, 6:], tokens[:, :6]], 1)
        left = bridge(shifted, attention_mask=torch.tensor([[0] * 3 + [1] * 6] * 3))[:, 3:]
        torch.testing.assert_close(alone, left, atol=1e-4, rtol=1e-4)


def test_only_the_papers_matrices_learn():
    learned = {n for n, p in _simplified(feed_forward=True).named_parameters() if p.requires_grad}
    assert learned == {
        "layers.0.attn.k.weight",
        "layers.1.attn.k.weight",
        "layers.1.attn.o.weight",
        "layers.1.ff.weight",
    }
    assert all(p.requires_grad for p in _full().parameters())


def test_weights_have_the_papers_distributions_and_seeds():
    model = SimplifiedTransformer(SimplifiedConfig(dim=256, length=64, seed=1)).requires_grad_(False)
    assert abs(float(model.tok_embed.weight.std()) - 1) < 0.03
    assert abs(float(model.pos.weight.std()) - 1) < 0.03
    for weight in (model.head.weight, model.layers[0].attn.k.weight):
        assert float(weight.abs().max()) <= 1 / 16
        assert abs(float(weight.std()) - 1 / 16 / math.sqrt(3)) < 1e-3
    same, other = (SimplifiedTransformer(SimplifiedConfig(dim=256, seed=seed)) for seed in (1, 2))
    assert torch.equal(model.tok_embed.weight, same.tok_embed.weight)
    assert not torch.equal(model.tok_embed.weight, other.tok_embed.weight)


def test_sinusoids_are_the_textbooks():
    found = sinusoids(7, 6)
    for position in range(7):
        for i in range(3):
            angle = position / 10_000 ** (2 * i / 6)
            assert found[position, 2 * i] == pytest.approx(math.sin(angle), abs=1e-6)
            assert found[position, 2 * i + 1] == pytest.approx(math.cos(angle), abs=1e-6)


def test_a_bridge_with_symbols_takes_text():
    chain = Chain.from_text(["\n abcdefgh ab"])
    model = SimplifiedTransformer(SimplifiedConfig(vocabulary=10, dim=16, length=9))
    task = BigramTask(chain, triggers=2)
    bridge = as_bridge(model, task)
    assert task_of(bridge) is task
    assert task_of(as_bridge(model)) is None
    assert bridge.to_tokens("abc a").tolist() == [[2, 3, 4, 1, 2]]
    assert bridge.to_str_tokens("b\nc") == ["b", "\n", "c"]
    assert bridge.to_string(torch.tensor([2, 1, 3])) == "a b"
    with torch.no_grad():
        torch.testing.assert_close(bridge("abc"), model(torch.tensor([[2, 3, 4]])))
        assert bridge(["abc", "fgh"]).shape == (2, 3, 10)
        with pytest.raises(ToyError, match=r"token 10 is not among this model's 10 .*one at a time"):
            bridge(["abc", "abcde"])
    assert len(bridge.generate("abc", max_new_tokens=4, verbose=False)) == 7


@pytest.mark.parametrize(
    ("make", "changed", "words"),
    [
        (_simplified, {"vocabulary": 0}, "vocabulary must be 1 or more, got 0"),
        (_simplified, {"layers": 0}, "layers must be 1 or more"),
        (_simplified, {"positions": "rotary", "dim": 15}, "even dim, got 15"),
        (_full, {"heads": 3}, "multiple of heads, got 16 and 3"),
        (_full, {"mlp": -1}, "mlp must be 0"),
        (_full, {"positions": "rotary", "heads": 16}, "even width per head, got 1"),
    ],
)
def test_bad_configurations_are_refused(make, changed, words):
    with pytest.raises(ToyError, match=words):
        make(**changed)


def test_too_long_a_sequence_is_refused():
    with pytest.raises(ToyError, match="up to 9 tokens, got 10"):
        _simplified()(torch.zeros((1, 10), dtype=torch.long))
