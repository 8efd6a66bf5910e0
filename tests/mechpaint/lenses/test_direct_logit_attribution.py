"""Direct logit attribution against TransformerLens on unrolled routes, and against the logit that it divides."""

from __future__ import annotations

import pytest
import torch
import transformers as hf

import mechpaint as mp
from mechpaint import lenses
from mechpaint.errors import DrawingError, InputError
from mechpaint.hooks import Ablate, Hooks, Steer
from mechpaint.lenses import attribution
from mechpaint.lenses.frozen_norm import FrozenNorm
from tests import plain, tiny

TOKENS = tiny.tokens(1, 7)
NAMES = ("llama", "gpt2", "gemma3", "gpt_neox")
GROUPS, STEPS = "0 3 (1 2) 3 (4+5) 5", [0, 3, (1, 2), 3, [4, 5], 5]
SINGLE, ORDER = "0 4-1 3 5", [0, 4, 3, 2, 1, 3, 5]


def _attributed(model, route, **how):
    return lenses.direct_logit_attribution(model, TOKENS, route, answer=5, wrong=8, **how)


def _uncapped(name):
    module = tiny.module(name)
    if name == "gemma2":
        module.config.final_logit_softcapping = None
    return module


@pytest.mark.parametrize("name", [*NAMES, "bloom", "gemma2"])
def test_it_adds_up_to_the_logits_of_a_plain_loop(name):
    logits = plain.logits(_uncapped(name), TOKENS, STEPS)[0, -1]
    model = mp.load(_uncapped(name))
    for unit in ("component", "head", "layer"):
        found = _attributed(model, GROUPS, unit=unit)
        total = sum(one.value for one in found.contributions)
        assert total == pytest.approx(float(logits[5] - logits[8]), abs=2e-4)
        assert abs(found.rounding) < 1e-4
        assert len({(one.visit, one.column) for one in found.contributions}) == len(found.contributions)


@pytest.mark.parametrize("name", NAMES)
def test_components_are_those_of_transformer_lens(name):
    """Its own primitives, on the unrolled route: decompose_resid, and heads where no norm comes after attention."""
    model = tiny.bridge(name)
    unrolled = mp.unroll(model, SINGLE)
    with torch.no_grad():
        _, cache = unrolled.run_with_cache(TOKENS)
    parts = {("attention", i): cache[f"blocks.{i}.hook_attn_out"][0, -1] for i in range(len(ORDER))}
    parts |= {("mlp", i): cache[f"blocks.{i}.hook_mlp_out"][0, -1] for i in range(len(ORDER))}
    direction = (unrolled.W_U[:, 5] - unrolled.W_U[:, 8]).detach()
    found = {(one.part, one.visit.step): one.value for one in _attributed(model, SINGLE).contributions if one.visit}
    scale = cache["ln_final.hook_scale"][0, -1]
    assert found.keys() == parts.keys()
    weight = _effective_weight(unrolled, cache)
    centre = name in ("gpt2", "gpt_neox")
    for key, vector in parts.items():
        shifted = vector - vector.mean() if centre else vector
        assert found[key] == pytest.approx(float(shifted / scale * weight @ direction), abs=2e-4), key


def _effective_weight(unrolled, cache):
    """The final norm's weight as the ratio of what TransformerLens shows before and after it."""
    normed, out = cache["ln_final.hook_normalized"][0], cache["ln_final.hook_out"][0]
    bias = getattr(unrolled.ln_final.original_component, "bias", None)
    out = out if bias is None else out - bias.detach()
    most = normed.abs().argmax(0)  # the position where dividing loses least
    every = torch.arange(normed.shape[1])
    return out[most, every] / normed[most, every]


@pytest.mark.parametrize("name", ["llama", "gpt2", "gpt_neox"])
def test_heads_and_logit_attrs_of_transformer_lens(name):
    """The whole of their tool, in compatibility mode, where norms are folded into what reads them."""
    model = tiny.bridge(name)
    found = _attributed(model, SINGLE, unit="head")
    unrolled = mp.unroll(model, SINGLE)
    unrolled.enable_compatibility_mode(center_writing_weights=False, center_unembed=False, fold_value_biases=False)
    unrolled.set_use_attn_result(True)
    with torch.no_grad():
        _, cache = unrolled.run_with_cache(TOKENS)
        heads, labels = cache.stack_head_results(pos_slice=-1, return_labels=True)
        theirs = cache.logit_attrs(heads, tokens=5, incorrect_tokens=8, pos_slice=-1)[:, 0]
    ours = {f"L{one.visit.step}H{one.head}": one.value for one in found.contributions if one.part == "head"}
    assert list(ours) == labels
    assert list(ours.values()) == pytest.approx(theirs.tolist(), abs=5e-4)


@torch.no_grad()
def test_members_of_averaged_groups_share():
    """Half of what the MLP of 2 writes, by plain torch hooks and the model's own weights."""
    (value,) = [
        one.value
        for one in _attributed(tiny.bridge("llama"), "0 (1 2) 5").contributions
        if one.part == "mlp" and one.visit == mp.Visit(1, 2)
    ]
    module, written = tiny.module("llama"), []
    loop = plain.hugging_face(module, TOKENS)
    module.model.layers[2].mlp.register_forward_hook(lambda part, args, out: written.append(out[0, -1]))
    final = loop.residual([0, (1, 2), 5])[0, -1]
    scale = (final.square().mean() + module.config.rms_norm_eps).sqrt()
    direction = module.lm_head.weight[5] - module.lm_head.weight[8]
    expected = written[0] / 2 / scale * module.model.norm.weight @ direction
    assert value == pytest.approx(float(expected), abs=1e-4)


@torch.no_grad()
def test_biases_have_rows_of_their_own():
    found = _attributed(tiny.bridge("gpt2"), SINGLE, unit="head")
    parts = [one.part for one in found.contributions]
    assert parts.count("attention bias") == len(ORDER)
    assert parts[0] == "embedding"
    assert parts[-1] == "bias"
    module = tiny.module("gpt2")
    row = module.transformer.wte.weight
    expected = module.transformer.ln_f.bias @ (row[5] - row[8])
    assert found.contributions[-1].value == pytest.approx(float(expected), abs=1e-5)
    assert "attention bias" not in [
        one.part for one in _attributed(tiny.bridge("llama"), "", unit="head").contributions
    ]


def test_an_answer_alone(llama):
    found = lenses.direct_logit_attribution(llama, TOKENS, answer=5, position=2)
    with torch.no_grad():
        assert found.logit == pytest.approx(float(llama(TOKENS)[0, 2, 5]), abs=1e-5)
    assert found.wrong is None
    assert abs(found.rounding) < 1e-4


def test_an_ablated_head_writes_nothing(llama):
    found = _attributed(llama, Ablate(heads="3.1"), unit="head")
    values = {(one.visit.layer, one.head): one.value for one in found.contributions if one.head is not None}
    assert values[3, 1] == 0
    assert sum(value == 0 for value in values.values()) == 1


@pytest.mark.parametrize(
    "hook_set",
    [
        Steer(torch.ones(32), layers=2),
        Hooks([("blocks.2.hook_out", lambda x, hook: x + 1)]),
        Hooks([("blocks.2.hook_in", lambda x, hook: x + 1)]),
    ],
    ids=["steer", "out", "in"],
)
def test_what_no_component_writes_is_refused(llama, hook_set):
    with pytest.raises(InputError, match='unit="layer"'):
        _attributed(llama, hook_set)
    assert abs(_attributed(llama, hook_set, unit="layer").rounding) < 1e-4


def test_attention_that_is_no_sum_of_heads_is_refused(llama):
    changed = Hooks([("blocks.2.attn.hook_out", lambda x, hook: 2 * x)])
    with pytest.raises(InputError, match="do not add up"):
        _attributed(llama, changed, unit="head")
    assert abs(_attributed(llama, changed).rounding) < 1e-4


def test_capped_logits_are_refused():
    module = tiny.module("gemma2")
    module.config.final_logit_softcapping = 2.0
    with pytest.raises(InputError, match="caps or scales"):
        _attributed(mp.load(module), "")


def test_a_layer_that_scales_what_its_heads_write():
    torch.manual_seed(0)
    config = hf.GraniteConfig(**tiny.LLAMA, residual_multiplier=0.5, logits_scaling=1.0, initializer_range=0.2)
    model = mp.load(hf.GraniteForCausalLM(config).eval())
    assert abs(_attributed(model, "").rounding) < 1e-4
    with pytest.raises(InputError, match="do not add up"):
        _attributed(model, "", unit="head")


def test_sixteen_bits():
    model = mp.load(tiny.module("llama").to(torch.bfloat16))
    found = _attributed(model, SINGLE, unit="head")
    assert abs(found.rounding) < 0.05 * sum(abs(one.value) for one in found.contributions)


@pytest.mark.parametrize("centred", [True, False])
def test_a_frozen_norm_is_the_norm(centred):
    norm = torch.nn.LayerNorm(7) if centred else torch.nn.RMSNorm(7)
    for parameter in norm.parameters():
        torch.nn.init.normal_(parameter)
    at = torch.randn(7, generator=torch.Generator().manual_seed(0))
    frozen = FrozenNorm.of(lambda rows: norm(rows).detach(), at, "a norm")
    assert frozen.centred is centred
    torch.testing.assert_close(frozen.weight.float(), norm.weight.detach(), atol=1e-4, rtol=1e-4)
    parts = torch.randn(3, 7)
    parts[2] = at - parts[:2].sum(0)
    torch.testing.assert_close((frozen.linear(parts).sum(0) + frozen.bias).float(), norm(at).detach())
    with pytest.raises(InputError, match="neither a layer norm"):
        FrozenNorm.of(torch.tanh, at, "tanh")


def test_the_table_and_the_picture(speaking):
    found = lenses.direct_logit_attribution(
        speaking, "The city of", "0 1 0 2", answer=" city", wrong=" store", unit="head"
    )
    table = found.table()
    heads = speaking.cfg.n_heads
    assert len(table) == 2 + 4 * (heads + 1)
    assert table["value"].sum() == pytest.approx(found.logit, abs=1e-4)
    assert list(dict.fromkeys(table["visit"].dropna())) == ["0#1", "1", "0#2", "2"]
    page = found._repr_html_()
    first = found.top(1)[0]
    assert found.name(first) in page
    assert f"{first.value:+.2f}" in found.diagram.svg
    assert found.diagram.svg in page


def test_too_much_to_draw(llama, monkeypatch):
    monkeypatch.setattr(attribution, "MOST_CELLS", 11)
    found = _attributed(llama, "")
    with pytest.raises(DrawingError, match="table"):
        _ = found.diagram
    assert "<svg" not in found._repr_html_()


def test_an_unknown_unit(llama, as_users_run):
    with pytest.raises(InputError, match='"component", "head" or "layer"'):
        _attributed(llama, "", unit="neuron")
