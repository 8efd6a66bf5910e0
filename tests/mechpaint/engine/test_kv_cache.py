"""Generating under a route: with a key-value cache, without one, and by a plain loop over Hugging Face layers."""

from __future__ import annotations

import copy
from functools import cache
from unittest import mock

import pytest
import torch
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer, LinearAttentionLayer

import mechpaint as mp
from mechpaint.engine.kv_cache import layout as layout_of
from mechpaint.errors import TextTooLong
from mechpaint.hooks import (  # fmt: skip
    Average,
    Duplicate,
    Hooks,
    Loop,
    Pair,
    ReadAttention,
    ReadResidual,
    Reroute,
    Reverse,
    Skip,
)
from mechpaint.routes.route import Route
from mechpaint.routes.steps import Visit
from tests import plain, tiny
from tests.architectures.recipes import RECIPES

NAMES = (
    "llama", "gemma2", "gemma3", "gpt2", "gpt_neox", "bloom", "opt", "mistral", "qwen2 (sliding)", "phi",
)  # fmt: skip
ROUTES = {
    "0-1 4-5": [0, 1, 4, 5],
    "5-0": [5, 4, 3, 2, 1, 0],
    "0 2x9 5": [0, *[2] * 9, 5],
    "0 (1-3)x2 4-5": [0, (1, 2, 3), (1, 2, 3), 4, 5],
    "0 (1+2) 4 3 5": [0, [1, 2], 4, 3, 5],
    "3 [1 4]x2": [3, 1, 4, 1, 4],
}
LOOPED = "0 (1-3)x2 4-5"
FAST = (LOOPED, "3 [1 4]x2")
PROMPT, NEW = 6, 5  # windows are 4 tokens long
GREEDY = {"max_new_tokens": NEW, "do_sample": False}
OPTIONS = {**GREEDY, "stop_at_eos": False, "verbose": False}


@cache
def _bridge(name):
    return tiny.bridge(name)


@cache
def _module(name):
    return tiny.module(name)


def _generated(model, tokens, **options):
    """Tokens, and the logits of the new ones: [batch, new, vocab]."""
    done = model.generate(tokens, output_logits=True, **{**OPTIONS, **options})
    return done.sequences, torch.stack(done.logits, dim=1)


@cache
def _recomputed(name, text, tokens=None):
    """The same by a plain loop over Hugging Face layers that runs the whole text at every step."""
    tokens, steps, logits = tiny.tokens(length=PROMPT) if tokens is None else tokens, ROUTES[text], []
    for _ in range(NEW):
        logits.append(plain.logits(_module(name), tokens, steps)[:, -1])
        tokens = torch.cat([tokens, logits[-1].argmax(-1, keepdim=True)], dim=1)
    return tokens, torch.stack(logits, dim=1)


def _agree(actual, expected):
    return torch.equal(actual[0], expected[0]) and bool((actual[1] - expected[1]).abs().max() < 1e-4)


def _hf_generated(model, tokens, **options):
    return model.original_model.generate(tokens, **{**GREEDY, "eos_token_id": None, "pad_token_id": 0, **options})


# ---- exact slots ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", [pytest.param(x, marks=() if x in FAST else pytest.mark.slow) for x in ROUTES])
@pytest.mark.parametrize("name", NAMES)
def test_cached_is_uncached_is_recomputed(name, text):
    model, tokens = _bridge(name), tiny.tokens(length=PROMPT)
    with mp.attach(model, Reroute(text)):
        cached = _generated(model, tokens)
        uncached = _generated(model, tokens, use_past_kv_cache=False)
    expected = _recomputed(name, text)
    assert _agree(cached, expected)
    assert _agree(uncached, expected)
    if text != LOOPED:  # a control: another route's run must not agree
        assert not _agree(cached, _recomputed(name, LOOPED))


@pytest.mark.parametrize("name", NAMES)
def test_rows_that_are_padded_on_the_left_are_generated_as_alone(name):
    model = _bridge(name)
    row = tiny.tokens(rows=1, length=PROMPT)
    rows = torch.cat([torch.cat([torch.full((1, 3), 7), row], dim=1), tiny.tokens(rows=1, length=PROMPT + 3)])
    mask = torch.ones_like(rows)
    mask[0, :3] = 0
    with mp.attach(model, Reroute(LOOPED)):
        together = _generated(model, rows, attention_mask=mask)
        by_hugging_face = _hf_generated(model, rows, attention_mask=mask)
        unmasked = _generated(model, rows)
    assert torch.equal(by_hugging_face, together[0])
    for i, alone in enumerate((row, rows[1:])):
        expected = _recomputed(name, LOOPED, alone)
        assert _agree((together[0][i : i + 1, -expected[0].shape[1] :], together[1][i : i + 1]), expected)
    assert not _agree((unmasked[0][:1, 3:], unmasked[1][:1]), (together[0][:1, 3:], together[1][:1]))


@pytest.mark.parametrize("name", ["jamba", "falcon_h1", "lfm2"])
def test_states_of_recurrences_and_convolutions_are_kept_by_visit(name):
    """In two of them only layer 3 has attention. Of a state, a layer that runs twice has two."""
    tokens = tiny.tokens(length=PROMPT)
    for text in ("5-0", "0 3 2x3 3", "0 (1-3)x2 5"):
        with torch.no_grad(), mp.attach(_bridge(name), Reroute(text)):
            cached = _generated(_bridge(name), tokens)
            assert _agree(cached, _generated(_bridge(name), tokens, use_past_kv_cache=False)), text


def test_a_hybrid_without_attention_on_its_route_cannot_count_tokens():
    tokens = tiny.tokens(length=PROMPT)
    with torch.no_grad(), mp.attach(_bridge("jamba"), Reroute("0 2 1")):
        with pytest.raises(mp.RouteError, match="no layer on the route 0 2-1 keeps keys and values"):
            _generated(_bridge("jamba"), tokens)
        _generated(_bridge("jamba"), tokens, use_past_kv_cache=False)


@pytest.mark.parametrize("name", ["gemma3", pytest.param("gpt2", marks=pytest.mark.slow)])
def test_other_ways_to_generate(name):
    """Streaming, Hugging Face's own loop, in chunks, from embeddings, and with tokens guessed from the prompt."""
    model, tokens = _bridge(name), tiny.tokens(length=PROMPT)
    inner = model.original_model
    with mp.attach(model, Reroute(LOOPED)):
        expected = model.generate(tokens, **OPTIONS)
        streamed = torch.cat(list(model.generate_stream(tokens, max_tokens_per_yield=2, **OPTIONS)), dim=1)
        assert torch.equal(streamed, expected)
        assert torch.equal(_hf_generated(model, tokens), expected)
        assert torch.equal(_hf_generated(model, tokens, use_cache=False), expected)
        assert torch.equal(_hf_generated(model, tokens, prefill_chunk_size=4), expected)
        with torch.no_grad():
            embeddings = inner.get_input_embeddings()(tokens)
        assert torch.equal(
            inner.generate(inputs_embeds=embeddings, **GREEDY, eos_token_id=None, pad_token_id=0), expected[:, PROMPT:]
        )
        repeating = tokens[:1].repeat(1, 2)  # so that there is something to look up
        guessed = _hf_generated(model, repeating, prompt_lookup_num_tokens=2)
        assert torch.equal(guessed, _hf_generated(model, repeating))


def test_strings_sampling_and_stopping(speaking):
    with mp.attach(speaking, Average(1, 3) + Loop(1, 3, 2)):
        greedy = speaking.generate("The capital of", **OPTIONS)
        both = speaking.generate(["The capital of", "When Mary and John"], **OPTIONS)
        streamed = "".join(speaking.generate_stream("The capital of", max_tokens_per_yield=1, **OPTIONS))
        by_hugging_face = speaking.hf_generate(
            speaking.to_tokens("The capital of"), max_new_tokens=NEW, do_sample=False, stop_at_eos=False
        )
        sampled = []
        for cached in (True, False):
            torch.manual_seed(0)
            sampled.append(
                speaking.generate(
                    "The capital of", **{**OPTIONS, "do_sample": True}, top_k=50, temperature=1.5,
                    use_past_kv_cache=cached, return_type="tokens",
                )
            )  # fmt: skip
        tokens = speaking.to_tokens("The capital of")
        first = speaking(tokens)[0, -1].argmax().item()
        stopped = speaking.generate(tokens, **{**OPTIONS, "stop_at_eos": True}, eos_token_id=first)
    assert greedy.startswith("The capital of")
    assert both[0] == greedy == streamed
    assert speaking.to_string(by_hugging_face[0, 1:]) == greedy
    assert torch.equal(*sampled)
    assert not torch.equal(sampled[0], speaking.to_tokens(greedy))
    assert stopped.shape[1] == tokens.shape[1] + 1


@pytest.mark.parametrize("kv", ["exact", "averaged"])
@pytest.mark.parametrize("name", ["gemma3", pytest.param("gpt_neox", marks=pytest.mark.slow)])
def test_beam_search(name, kv):
    """Its hypotheses change rows, and their keys and values must go with them."""
    model, tokens = _bridge(name), tiny.tokens(length=PROMPT)
    beams = {"num_beams": 3, "max_new_tokens": 6}
    with mp.attach(model, Reroute("0 (1-3) 2 5"), kv=kv):
        cached = _hf_generated(model, tokens, **beams)
        alone = [_hf_generated(model, row[None], **beams) for row in tokens]
        uncached = _hf_generated(model, tokens, use_cache=False, **beams)
        greedy = _hf_generated(model, tokens, max_new_tokens=6)
    assert torch.equal(cached, torch.cat(alone))
    assert not torch.equal(cached, greedy)
    if kv == "exact":
        assert torch.equal(cached, uncached)


def test_reads_and_hooks_while_generating():
    """A session holds the last forward pass: one token, and the attention from it to all."""
    model, tokens, fired = _bridge("llama"), tiny.tokens(length=PROMPT), []
    watch = Reroute("0 2 2 5") + Hooks([("blocks.2.hook_in", lambda x, hook: fired.append(x.shape))])
    with mp.attach(model, watch + ReadAttention([2]) + ReadResidual()) as session:
        whole = model.generate(tokens, **OPTIONS)
        residual, attention = session["residual"], session["attention"]
        model(whole[:, :-1])
        again = session["residual"]
        for visit in (Visit(1, 2), Visit(2, 2)):
            assert attention[visit].shape == (2, 4, 1, PROMPT + NEW - 1)
            assert (attention[visit] - session["attention"][visit][:, :, -1:]).abs().max() < 1e-5
    assert all((residual[v] - again[v][:, -1:]).abs().max() < 1e-4 for v in session.route.visits())
    prompt, *steps, last = fired[::2]
    assert (prompt, last) == ((2, PROMPT, 32), (2, PROMPT + NEW - 1, 32))
    assert steps == [(2, 1, 32)] * (NEW - 1)


def test_gradients_flow_through_the_cache():
    model, tokens = tiny.bridge("gemma3"), tiny.tokens(length=PROMPT)
    for kv in ("exact", "averaged"):
        with mp.attach(model, Reroute(LOOPED), kv=kv):
            _, past = model(tokens[:, :-1], return_type="logits_and_cache", use_cache=True)
            model.zero_grad()
            model(tokens[:, -1:], past_key_values=past).sum().backward()
            through = model.original_model.model.embed_tokens.weight.grad[tokens[0, 0]]
        assert through.abs().max() > 0  # of the first token, which is seen through the cache only


# ---- averaged slots ------------------------------------------------------------------------------------------------


class _AveragedPast:
    """By hand, and all of it: the whole past of one step of a route, in place of Hugging Face's cache."""

    def __init__(self):
        self.keys, self.values, self.new = [], [], []

    def update(self, keys, values, *args, **kwargs):
        self.new.append((keys, values))
        return torch.cat([*self.keys, keys], dim=-2), torch.cat([*self.values, values], dim=-2)

    def close(self):
        self.keys.append(sum(keys for keys, _ in self.new) / len(self.new))
        self.values.append(sum(values for _, values in self.new) / len(self.new))
        self.new = []


def _by_hand(name, tokens, steps, prompt):
    """Logits at the last position of the prompt and at each later one, with every group's past averaged by hand.

    The arguments of the layers are those of a pass over the whole text, cut to the positions of each pass: so masks
    are as wide as the text, whatever the window.
    """
    module = _module(name)
    caught = {}
    layers = module.model.layers
    handles = [
        layer.register_forward_pre_hook(plain.catcher(caught, i), with_kwargs=True) for i, layer in enumerate(layers)
    ]
    with torch.no_grad():
        module(tokens, use_cache=False)
    for handle in handles:
        handle.remove()
    pasts = [[_AveragedPast() for _ in (step if isinstance(step, list) else [0])] for step in steps]
    logits = []
    for start, stop in [(0, prompt), *((i, i + 1) for i in range(prompt, tokens.shape[1]))]:
        stream = caught[0][0][0][:, start:stop]
        for step, past in zip(steps, pasts, strict=True):
            outputs = []
            for member, layer in enumerate([step] if isinstance(step, int) else step):
                given = dict(caught[layer][1])
                given["position_embeddings"] = tuple(x[:, start:stop] for x in given["position_embeddings"])
                given["attention_mask"] = given["attention_mask"][:, :, start:stop, :stop]
                given["past_key_values"] = past[member % len(past)]
                with torch.no_grad():
                    output = layers[layer](stream, **given)
                outputs.append(output[0] if isinstance(output, tuple) else output)
            for kept in past:
                kept.close()
            if isinstance(step, list):
                stream = stream + sum(output - stream for output in outputs)
            else:
                stream = sum(outputs) / len(outputs)
        with torch.no_grad():
            logits.append(module.lm_head(module.model.norm(stream[:, -1])))
    return torch.stack(logits, dim=1)


@pytest.mark.parametrize("text", ["0 (1-4)x2 5", "0 (1+3) (2 4) 5", "(1 2) 0x3 (3 5)"])
@pytest.mark.parametrize("name", ["llama", "gemma3", "qwen2 (sliding)"])
def test_averaged_slots_are_those_by_hand(name, text):
    """Also where sliding windows and full attention are in one group, and single layers and sums on the way."""
    steps = {
        "0 (1-4)x2 5": [0, (1, 2, 3, 4), (1, 2, 3, 4), 5],
        "0 (1+3) (2 4) 5": [0, [1, 3], (2, 4), 5],
        "(1 2) 0x3 (3 5)": [(1, 2), 0, 0, 0, (3, 5)],
    }[text]
    model, tokens = _bridge(name), tiny.tokens(length=11)
    logits_by_kv = {}
    for kv in ("averaged", "exact"):
        with mp.attach(model, Reroute(text), kv=kv), torch.no_grad():
            logits, past = model(tokens[:, :6], return_type="logits_and_cache", use_cache=True)
            logits_by_kv[kv] = torch.stack(
                [logits[:, -1], *(_next(model, tokens[:, i : i + 1], past) for i in range(6, 11))], dim=1
            )
    expected = _by_hand(name, tokens, steps, prompt=6)
    assert (logits_by_kv["averaged"] - expected).abs().max() < 1e-4
    assert (logits_by_kv["exact"] - expected)[:, :1].abs().max() < 1e-4  # the prompt's pass is exact
    assert (logits_by_kv["exact"] - expected)[:, 2:].abs().amax((0, 2)).min() > 1e-2  # and no later one


def test_a_route_without_averaged_groups_has_nothing_to_average(llama):
    tokens = tiny.tokens()
    runs = []
    for kv in ("exact", "averaged"):
        with mp.attach(llama, Reverse(1, 3) + Pair(4, 5), kv=kv):
            runs.append(_generated(llama, tokens))
            whole = _next(llama, tokens[:, 4:], _filled(llama, tokens[:, :4]))
            assert (whole - llama(tokens)[:, -1]).abs().max() < 1e-5  # several tokens after the prompt
    assert torch.equal(runs[0][1], runs[1][1])


def test_averaged_slots_want_one_token_after_the_other(llama):
    tokens = tiny.tokens()
    with mp.attach(llama, Average(1, 3), kv="averaged"):
        past = _filled(llama, tokens[:, :6])
        with pytest.raises(mp.RouteError, match=r"one token at a time, got 3 tokens after the prompt: .*kv=\"exact\""):
            _next(llama, tokens[:, 6:], past)
        with pytest.raises(mp.RouteError, match="one token at a time"):
            _hf_generated(llama, tokens[:1].repeat(1, 2), prompt_lookup_num_tokens=2)


def test_layers_whose_keys_differ_in_shape_cannot_share_a_slot():
    layout = layout_of("averaged", Route.parse("0 (1 2)", 3))
    cache = layout.caches(layout.lay_out([DynamicLayer() for _ in range(3)]), tokens=3)
    wide, narrow = torch.zeros(1, 2, 3, 8), torch.zeros(1, 2, 3, 4)
    cache(Visit(1, 1)).update(wide, wide, 1)
    with pytest.raises(mp.RouteError, match="layers 1, 2 are averaged, but their keys and values differ in shape"):
        cache(Visit(1, 2)).update(narrow, narrow, 2)


def test_states_that_are_no_keys_and_values_are_not_averaged():
    layout = layout_of("averaged", Route.parse("0 (1 2)", 3))
    with pytest.raises(mp.RouteError, match=r'layer 1 keeps a LinearAttentionLayer, .* use kv="exact"'):
        layout.lay_out([DynamicLayer(), LinearAttentionLayer(), DynamicLayer()])
    layout_of("exact", layout.route).lay_out([DynamicLayer(), LinearAttentionLayer(), DynamicLayer()])


def test_an_unknown_layout_is_refused():
    with pytest.raises(mp.RouteError, match="kv='mean' is not known: give one of 'exact', 'averaged'"):
        layout_of("mean", Route.identity(3))


# ---- caches that come from elsewhere -------------------------------------------------------------------------------


def _filled(model, tokens, **options):
    with torch.no_grad():
        return model(tokens, return_type="logits_and_cache", use_cache=True, **options)[1]


def _next(model, tokens, past):
    with torch.no_grad():
        return model(tokens, past_key_values=past)[:, -1]


@pytest.mark.parametrize(
    ("first", "second", "words"),
    [
        ((Skip(1, 2), "exact"), (Skip(2, 3), "exact"), "filled along 0 3-5 with exact slots"),
        ((Average(1, 2), "exact"), (Average(1, 2), "averaged"), r"filled along 0 \(1-2\) 3-5 with exact slots"),
        ((Average(1, 2), "averaged"), (Average(1, 2), "exact"), "filled along .* with averaged slots"),
        ((mp.HookSet(), "exact"), (Skip(1, 2), "exact"), "filled along no route"),
    ],
)  # fmt: skip
def test_a_cache_of_another_route_or_layout_is_refused(llama, first, second, words):
    tokens = tiny.tokens()
    with mp.attach(llama, first[0], kv=first[1]):
        past = _filled(llama, tokens)
    with mp.attach(llama, second[0], kv=second[1]), pytest.raises(mp.RouteError, match=words):
        _next(llama, tokens[:, -1:], past)


def test_a_cache_of_a_route_is_refused_by_the_plain_model(llama):
    tokens = tiny.tokens()
    for hook_set in (Skip(1, 2), Reverse(0, 5), Duplicate(2, 3)):
        with mp.attach(llama, hook_set):
            past = _filled(llama, tokens)
        with pytest.raises(mp.RouteError, match="cannot go on without a route"):
            _next(llama, tokens[:, -1:], past)


@pytest.mark.parametrize("kv", ["exact", "averaged"])
def test_a_cache_goes_on_along_the_same_route(kv):
    """In another session too, as a copy, taken back by a token, with its rows chosen; and emptied along any route."""
    model, tokens = _bridge("mistral"), tiny.tokens(length=3)  # full windows cannot be taken back
    with mp.attach(model, Reroute(LOOPED), kv=kv):
        whole = _next(model, tokens[:, -1:], _filled(model, tokens[:, :-1]))
        past = _filled(model, tokens[:, :-1])
    with mp.attach(model, Reroute(LOOPED), kv=kv):
        copied = copy.deepcopy(past)
        assert torch.equal(_next(model, tokens[:, -1:], copied), whole)
        assert torch.equal(_next(model, tokens[:, -1:], past), whole)
        past.crop(-1)
        assert torch.equal(_next(model, tokens[:, -1:], past), whole)
        past.crop(-1)
        past.batch_select_indices(torch.tensor([1]))
        assert (_next(model, tokens[1:, -1:], past) - whole[1:]).abs().max() < 1e-5
    past.reset()
    with mp.attach(model, Reverse(0, 5)), torch.no_grad():
        expected = model(tokens)
        assert (model(tokens, past_key_values=past) - expected).abs().max() < 1e-5
        assert past.get_seq_length() == tokens.shape[1]


def test_reading_alone_leaves_caches_as_the_plain_model_has_them(llama):
    """In and out of a session that does not reroute, with caches of both of Hugging Face's makes."""
    tokens = tiny.tokens()
    with torch.no_grad():
        expected = llama(tokens)[:, -1]
    for make in (lambda: DynamicCache(config=llama.original_model.config), DynamicCache):
        with mp.attach(llama, ReadAttention()):
            past = make()
            _next(llama, tokens[:, :4], past)
        _next(llama, tokens[:, 4:6], past)
        with mp.attach(llama, ReadAttention()) as session:
            assert (_next(llama, tokens[:, 6:], past) - expected).abs().max() < 1e-5
        assert session["attention"][Visit(0, 0)].shape[-2:] == (3, 9)


def test_slots_made_on_demand_are_laid_out_too(llama):
    tokens = tiny.tokens()
    with mp.attach(llama, Reroute("3 1 1 5")), torch.no_grad():
        past = DynamicCache()
        _next(llama, tokens[:, :-1], past)
        assert (_next(llama, tokens[:, -1:], past) - llama(tokens)[:, -1]).abs().max() < 1e-5
    assert len(past.layers) == 4


def test_a_route_that_changes_while_a_stream_runs_is_refused(llama):
    tokens = tiny.tokens()
    for after in (Skip(2, 2), mp.HookSet()):
        with mp.attach(llama, Skip(1, 1)):
            stream = llama.generate_stream(tokens, max_tokens_per_yield=1, **OPTIONS)
            next(stream)
        with mp.attach(llama, after), pytest.raises(mp.RouteError, match="filled along 0 2-5"):
            next(stream)
    with mp.attach(llama, Skip(1, 1)):
        stream = llama.generate_stream(tokens, max_tokens_per_yield=1, **OPTIONS)
        next(stream)
    with pytest.raises(mp.RouteError, match="without a route"):
        next(stream)


def test_a_nested_attach_is_refused_and_generating_goes_on(llama):
    tokens = tiny.tokens()
    with mp.attach(llama, Skip(1, 1)):
        expected = llama.generate(tokens, **OPTIONS)
        stream = llama.generate_stream(tokens, max_tokens_per_yield=1, **OPTIONS)
        first = next(stream)
        with pytest.raises(mp.CannotReroute, match="attached already"), mp.attach(llama, Skip(2, 2)):
            pass
        assert torch.equal(torch.cat([first, *stream], dim=1), expected)


# ---- what is refused -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("implementation", "kind"), [("static", "StaticCache"), ("offloaded", "DynamicCache with offloading")]
)
def test_other_kinds_of_caches_are_refused(llama, implementation, kind):
    ran, tokens = [], tiny.tokens()
    handle = llama.blocks[0].register_forward_hook(lambda *_: ran.append(1))
    with mp.attach(llama, Skip(1, 1)):
        ran.clear()  # of the probe
        with pytest.raises(mp.RouteError, match=f"default key-value cache.*got a {kind}$"):
            _hf_generated(llama, tokens, cache_implementation=implementation)
    handle.remove()
    assert not ran


@pytest.mark.parametrize("name", ["gpt2", "opt", "gpt_neo", "gptj", "codegen", "mpt", "bert", "native"])
def test_texts_longer_than_a_table_of_positions_are_refused(name):
    model = tiny.bridge(name)
    ran = []
    model.blocks[0].register_forward_hook(lambda *_: ran.append(1))
    with mp.attach(model, Skip(1, 1)), torch.no_grad():
        model(tiny.tokens(rows=1, length=64))
        ran.clear()
        with pytest.raises(TextTooLong, match="has 64 positions, and this text needs 65: give a shorter one"):
            model(tiny.tokens(rows=1, length=65))
    assert not ran


def test_generating_beyond_a_table_of_positions_is_refused():
    model = tiny.bridge("gpt2")
    tokens = tiny.tokens(rows=1, length=62)
    with mp.attach(model, Skip(1, 1)):
        assert model.generate(tokens, **{**OPTIONS, "max_new_tokens": 3}).shape == (1, 65)
        with pytest.raises(TextTooLong, match=r"64 positions, .* needs 65 \(64 in the key-value cache, 1 new\)"):
            model.generate(tokens, **{**OPTIONS, "max_new_tokens": 4})
        mask = torch.ones(1, 70, dtype=torch.long)
        mask[:, :10] = 0  # 70 columns, but 60 tokens
        padded = torch.cat([torch.full((1, 10), 7), tokens[:, :60]], dim=1)
        with torch.no_grad():
            assert (model(padded, attention_mask=mask)[:, 10:] - model(tokens[:, :60])).abs().max() < 1e-4


def test_rotary_models_go_beyond_the_length_they_were_trained_on():
    model, tokens = _bridge("llama"), tiny.tokens(rows=1, length=62)
    with mp.attach(model, Reroute(LOOPED)):
        assert _agree(_generated(model, tokens), _generated(model, tokens, use_past_kv_cache=False))


def test_encoders_do_not_generate():
    model = _bridge("bert")
    with mp.attach(model, Skip(1, 1)), pytest.raises(NotImplementedError, match="not supported by the BertForMaskedLM"):
        model.generate(tiny.tokens())


def test_attention_weights_are_read_by_hook_sets_not_by_hugging_face(llama):
    """Its own output stays empty, with a route and without: a bridge's layers do not record it."""
    options = {"output_attentions": True, "return_dict_in_generate": True}
    plainly = _hf_generated(llama, tiny.tokens(), **options)
    with mp.attach(llama, Skip(1, 1)):
        routed = _hf_generated(llama, tiny.tokens(), **options)
    assert not any(plainly.attentions)
    assert not any(routed.attentions)


# ---- bare layers ---------------------------------------------------------------------------------------------------


def _bridged_layers_that_ran(model, hook_set, **options):
    """How often each of the bridge's own layers runs while three tokens are generated, told by their forward."""
    with mp.attach(model, mp.HookSet()):
        pass  # layers are compared when a model is attached for the first time
    ran = [0] * len(model.blocks)
    number = {id(block): i for i, block in enumerate(model.blocks)}
    kind = type(model.blocks[0])
    real = kind.forward

    def counted(block, *args, **kwargs):
        ran[number[id(block)]] += 1
        return real(block, *args, **kwargs)

    with mock.patch.object(kind, "forward", counted), mp.attach(model, hook_set):
        model.generate(tiny.tokens(), **{**OPTIONS, "max_new_tokens": 3, **options})
    return ran


def test_the_bridges_layers_run_where_somebody_listens():
    """The prompt always runs through them, later steps if there is a hook in any layer."""
    silent, has_user_hooks = [1, 0, 2, 1, 1, 1], [3, 0, 6, 3, 3, 3]
    route = Reroute("0 2 2 3-5")

    def ran(hook_set=route, prepare=lambda model: None, **options):
        model = tiny.bridge("llama")
        prepare(model)
        return _bridged_layers_that_ran(model, hook_set, **options)

    assert ran() == silent
    assert ran(prepare=lambda model: model.blocks[3].attn.o.original_component.register_forward_hook(_listen)) == silent
    assert ran(use_past_kv_cache=False) == has_user_hooks
    assert ran(route + ReadAttention([3])) == has_user_hooks
    assert ran(prepare=lambda model: model.add_hook("blocks.1.mlp.hook_out", _listen)) == has_user_hooks
    assert ran(prepare=lambda model: model.blocks[3].mlp.register_forward_hook(_listen)) == has_user_hooks
    assert ran(prepare=lambda model: model.blocks[3].mlp.register_forward_pre_hook(_listen)) == has_user_hooks
    assert ran(prepare=lambda model: model.enable_compatibility_mode(disable_warnings=True)) == has_user_hooks
    assert ran(prepare=_with_a_forward_of_its_own) == has_user_hooks


def _listen(*_, **__):
    """A hook that listens."""


def _with_a_forward_of_its_own(model):
    """As accelerate does it, and whoever changes a module without a hook."""
    mlp = model.blocks[3].mlp
    vars(mlp)["forward"] = mlp.forward


def test_bare_layers_share_parameters_and_hooks_of_what_they_are_made_of():
    model, fired = tiny.bridge("gemma3"), []
    tokens = tiny.tokens()
    inner = model.blocks[2].original_component.mlp.original_component
    inner.register_forward_hook(lambda *_: fired.append(1))
    with mp.attach(model, Reroute("0 2 2 5")), torch.no_grad():
        past = _filled(model, tokens[:, :5])
        fired.clear()
        _next(model, tokens[:, 5:6], past)
        assert len(fired) == 2  # a hook on Hugging Face's own module
        for parameter in model.blocks[2].parameters():
            parameter.mul_(1.5)
        past = _filled(model, tokens[:, :8])
        assert (_next(model, tokens[:, 8:], past) - model(tokens)[:, -1]).abs().max() < 1e-4


_DECODERS = [name for name, recipe in RECIPES.items() if recipe.model.endswith(("ForCausalLM", "LMHeadModel"))]


@pytest.mark.parametrize(
    "name", [pytest.param(x, marks=() if x in ("phi", "bloom", "olmo2") else pytest.mark.slow) for x in _DECODERS]
)
def test_bare_layers_compute_what_the_bridges_do(name):
    """On every architecture that has a cache: with and without somebody who listens."""
    model, tokens = tiny.bridge(name), tiny.tokens(length=7)
    logits = []
    for hook_set in (Reroute(LOOPED), Reroute(LOOPED) + ReadResidual()):
        with mp.attach(model, hook_set):
            past = _filled(model, tokens[:, :-1])
            if past is None:
                pytest.skip("it keeps no cache")
            logits.append(_next(model, tokens[:, -1:], past))
    assert (logits[0] - logits[1]).abs().max() < 1e-4
