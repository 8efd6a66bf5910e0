"""Every architecture along every kind of route, against a plain loop over its layers; and what is refused, and why."""

from __future__ import annotations

import pytest
import torch
import transformers as hf

import mechpaint as mp
from mechpaint.engine.route_runner import RouteRunner
from mechpaint.hooks import Reroute, Skip
from tests import plain, tiny
from tests.architectures import table
from tests.architectures.checks import BFLOAT16_BOUND, BOUND, CONTROL, SWEPT_BOUND, Compatibility, examine, refusal
from tests.architectures.recipes import LLAMA, OWN_RECIPES, RECIPES, REFUSED

QUICK = (
    "gpt2", "llama", "mistral", "mixtral", "qwen2", "qwen2 (sliding)", "qwen3", "phi", "phi3", "gemma", "gemma2",
    "gemma3", "gpt_neox", "gptj", "opt", "bloom", "falcon", "mpt", "olmo2", "stablelm", "starcoder2", "granite",
    "cohere", "bert", "roberta", "native", "toy (simplified)", "toy (full)", "qwen3_5",
    "t5", "bart", "gemma4 (shared keys and values)", "glm_moe_dsa", "rwkv", "deepseek_v4", "hrm_text",
    "vit", "wav2vec2",
)  # fmt: skip
"""What the fast tests run: one of each kind, and what most people use."""


def _each(names):
    return [pytest.param(name, marks=[] if name in QUICK else pytest.mark.slow) for name in sorted(names)]


PADDING_MATTERS = {"bert": "left", "recurrent_gemma": "left", "toy (simplified)": "left"}
"""On which side, without a route too."""


@pytest.mark.parametrize("name", _each([*RECIPES, *OWN_RECIPES]))
def test_routes_are_exact(name):
    result = examine(name)
    assert result.identity
    assert result.orders < BOUND
    assert result.groups < BOUND
    assert result.swept < SWEPT_BOUND
    assert result.control > CONTROL
    assert result.rows < BOUND
    for side in ("left", "right"):
        apart = getattr(result, side)
        assert apart is None if PADDING_MATTERS.get(name) == side else apart < BOUND
    assert result.watched < BOUND
    if result.orders == result.bfloat16_own == 0:
        assert result.bfloat16_ordered == 0  # the same operations in the same order
    assert max(result.bfloat16_ordered, result.bfloat16_averaged) < BFLOAT16_BOUND
    assert result.gradients < BOUND
    assert result.unvisited
    if isinstance(result.compatibility, Compatibility) and result.compatibility.own < BOUND:
        assert result.compatibility.routed < BOUND
    assert table.verdicts(table.exact_row(name, result)) == table.verdicts(table.rows()[name])


@pytest.mark.parametrize("name", _each(REFUSED))
def test_what_cannot_be_rerouted_is_refused_by_name(name):
    kind, adapter, why = refusal(name)
    assert kind in why
    assert table.refused_row(name, kind, adapter, why) == table.rows()[name]


def test_the_table_is_whole():
    assert list(table.rows()) == [*sorted([*RECIPES, *OWN_RECIPES]), *sorted(REFUSED)]
    assert set(QUICK) <= table.rows().keys()


def test_a_wrong_route_would_be_noticed(monkeypatch):
    """The checks themselves can fail: here layers are taken for their neighbours."""
    real = RouteRunner.call

    def neighbour(self, layer, residual, arguments, block):
        return real(self, layer, residual, arguments, self.layers[max(layer - 1, 0)])

    monkeypatch.setattr(RouteRunner, "call", neighbour)
    result = examine("llama")
    assert not result.identity
    assert (
        min(result.orders, result.groups, result.swept, result.watched, result.gradients, result.bfloat16_averaged)
        > CONTROL
    )
    assert not result.unvisited


# ---- what the route runner notices, on models that no library has ----


def _llama_whose_layers(do):
    """A bridge on a Llama whose layers do more than they should: `do(i, residual, kwargs)` before each."""
    module = tiny.module("llama")
    for i, layer in enumerate(module.model.layers):
        layer.register_forward_pre_hook(lambda _, args, kwargs, i=i: do(i, args[0], kwargs), with_kwargs=True)
    return mp.load(module)


def test_layers_that_write_into_their_arguments_are_noticed():
    def into_mask(i, residual, kwargs):
        kwargs["attention_mask"] += 0

    def into_stream(i, residual, kwargs):
        residual += 0

    def into_notes(i, residual, kwargs):
        kwargs.get("notes", {})[i] = residual

    for do, what in ((into_mask, "attention_mask"), (into_stream, "residual stream"), (into_notes, "notes")):
        model = _llama_whose_layers(do)
        words = rf"layer 0 of LlamaForCausalLM writes into what it is handed \({what}\)"
        with torch.no_grad(), mp.attach(model, Skip(1, 1)), pytest.raises(mp.CannotReroute, match=words):
            model(tiny.tokens(), notes={})


def test_inference_mode_has_no_versions_to_compare(llama):
    tokens = tiny.tokens()
    with torch.inference_mode(), mp.attach(llama, Reroute("5-0")):
        logits = llama(tokens)
    assert torch.equal(logits, plain.logits(tiny.module("llama"), tokens, [5, 4, 3, 2, 1, 0]))


class LlamaForCausalLM(hf.LlamaForCausalLM):
    """One that runs its layers twice, or not all of them; with a name that TransformerLens knows."""

    def forward(self, input_ids, **inputs):
        """Logits."""
        if self.times == 0:
            hidden = self.model.layers[0](self.model.embed_tokens(input_ids), attention_mask=None)
            return hf.modeling_outputs.CausalLMOutputWithPast(logits=self.lm_head(hidden))
        hidden = self.model(input_ids, use_cache=False).last_hidden_state
        for _ in range(self.times - 1):
            hidden = self.model(inputs_embeds=hidden, use_cache=False).last_hidden_state
        return hf.modeling_outputs.CausalLMOutputWithPast(logits=self.lm_head(hidden))


@pytest.mark.parametrize(
    ("times", "words"),
    [
        (2, "LlamaForCausalLM runs its stack of layers several times in a forward pass"),
        (0, "the forward pass of LlamaForCausalLM does not reach layer 5, the last"),
    ],
)
def test_layers_that_run_twice_or_not_at_all_are_noticed(times, words):
    module = LlamaForCausalLM(hf.LlamaConfig(**LLAMA))
    module.times = 1
    model = mp.load(module)
    tokens = tiny.tokens()
    with torch.no_grad(), mp.attach(model, Skip(1, 1)):
        assert model(tokens).equal(model(tokens))  # a forward pass each, with nothing left of the first
        module.times = times
        with pytest.raises(mp.CannotReroute, match=words):
            model(tokens)
        module.times = 1
        model(tokens)


@pytest.mark.parametrize(
    "name", ["jamba", "qwen3_5", *(pytest.param(name, marks=pytest.mark.slow) for name in ("falcon_h1", "zamba2"))]
)
def test_states_of_recurrences_have_a_slot_for_every_visit(name):
    """Logits, not tokens: a state that another visit wrote may leave the likeliest token as it was."""
    model, tokens = tiny.bridge(name), tiny.tokens(length=8)
    with torch.no_grad(), mp.attach(model, Reroute("0 2x3 (1-4)x2 5")):
        expected = model(tokens)
        logits, cache = model(tokens[:, :5], return_type="logits_and_cache", use_cache=True)
        steps = [logits]
        for i in range(5, 8):
            logits, cache = model(
                tokens[:, i : i + 1], past_key_values=cache, return_type="logits_and_cache", use_cache=True
            )
            steps.append(logits)
    assert (torch.cat(steps, 1) - expected).abs().max() < 1e-4
