"""Rows that begin alike: their trees, where these run, where they must not, and that results are those of the rows."""

from __future__ import annotations

import pytest
import torch
import transformers as hf
from hypothesis import given, settings
from hypothesis import strategies as st

import mechpaint as mp
from mechpaint.engine.route_runner import RouteRunner
from mechpaint.engine.token_tree import TokenTree, shareable
from mechpaint.routes.route import Route
from tests import plain, tiny
from tests.architectures.recipes import GPT2, VOCABULARY, WINDOW

ROUTES = {
    "0-5": [0, 1, 2, 3, 4, 5],
    "0-1 4-5": [0, 1, 4, 5],
    "5-0": [5, 4, 3, 2, 1, 0],
    "0 (1-4) 5": [0, (1, 2, 3, 4), 5],
    "0 (1-3)x2 5": [0, (1, 2, 3), (1, 2, 3), 5],
}
ALL = [Route.parse(text, 6) for text in ROUTES]
EXACT = (
    "gpt2", "gpt_neox", "opt", "falcon", "gpt_oss", "llama", "llama4", "mistral", "mixtral", "qwen2 (sliding)", "qwen3",
    "phi", "phi3", "gemma2", "gemma3", "olmo2", "deepseek_v3",
)  # fmt: skip
QUICK = ("gpt2", "llama", "llama4", "gemma3", "bloom", "gpt_neo", "bert")
ROWS_ONLY = ("bloom", "mpt", "gpt_neo", "bert", "qwen3_5", "toy (full)")
"""Positions are no input; windows within layers; both directions; states; none of Hugging Face's masks."""


def _each(names):
    return [pytest.param(name, marks=[] if name in QUICK else pytest.mark.slow) for name in names]


_CONTEXT = [1, 20, 21, 22, 23, 24, 25, 26, 27]
TEXTS = [
    [*_CONTEXT, 30, 31, 32, 33],
    [*_CONTEXT, 40, 41],
    [*_CONTEXT, 30, 31, 50, 51, 52],
    _CONTEXT,
    [*_CONTEXT[:4], 60, 61, 62],
    [70, 71, 72, 73],
    [*_CONTEXT, 40, 41],
]
"""Contexts longer than sliding windows; a row that begins others, two that are equal, one like none."""


def _padded(texts):
    length = max(map(len, texts))
    tokens = torch.tensor([[*text, *[0] * (length - len(text))] for text in texts])
    return tokens, torch.tensor([[1] * len(text) + [0] * (length - len(text)) for text in texts])


def _beginnings(texts):
    return {tuple(text[:end]) for text in texts for end in range(1, len(text) + 1)}


def _computed(monkeypatch):
    """The positions of every call of a layer."""
    computed: list[int] = []
    call = RouteRunner.call

    def counted(self, layer, residual, arguments, block=None):
        computed.append(residual.shape[0] * residual.shape[1])
        return call(self, layer, residual, arguments, block)

    monkeypatch.setattr(RouteRunner, "call", counted)
    return computed


texts = st.lists(st.lists(st.integers(3, 5), min_size=1, max_size=7), min_size=1, max_size=7)


@given(texts, st.integers(1, 200))
@settings(max_examples=40)
def test_a_tree_has_each_beginning_where_it_can_see_its_own(several, price):
    tokens, mask = _padded(several)
    tree = TokenTree.of(tokens, mask, price)
    assert tree.nodes == len(_beginnings(several))
    allowed, length = tree.allowed(), tree.tokens.shape[1]
    for row, text in enumerate(several):
        path = tree.index[row, : len(text)]
        assert (tree.index[row, len(text) :] == -1).all()
        assert tree.tokens.flatten()[path].tolist() == text
        assert tree.positions.flatten()[path].tolist() == list(range(len(text)))
        packed, places = path[0] // length, path % length
        for end, place in enumerate(places):
            assert allowed[packed, place].nonzero().flatten().tolist() == places[: end + 1].tolist()
    used = tree.index[tree.index >= 0].unique()
    rest = torch.ones(tree.tokens.numel(), dtype=torch.bool).index_fill(0, used, False).reshape(tree.tokens.shape)
    assert (allowed[rest].sum(-1) == 1).all()  # what is left over sees itself, so that nothing is NaN
    assert (tree.tokens == tree.tokens[:, :1])[rest].all()
    assert not tree.positions[rest].any()


@pytest.mark.parametrize("name", _each(EXACT))
def test_logits_are_those_of_a_plain_loop_over_rows(name, monkeypatch):
    model, (tokens, mask) = tiny.bridge(name), _padded(TEXTS)
    before = model.original_model.config._attn_implementation
    sweep = mp.sweep(model, tokens, ALL, attention_mask=mask)
    assert sweep.shares_tokens
    computed = _computed(monkeypatch)
    found = dict(sweep)
    assert sweep.computed_positions == len(_beginnings(TEXTS)) < mask.sum()
    assert sum(computed) == sweep.layer_calls * sweep.computed_positions
    loop = plain.hugging_face(tiny.module(name), tokens, attention_mask=mask)
    with torch.no_grad():
        for route, steps in zip(ALL, ROUTES.values(), strict=True):
            expected = loop.logits(steps).log_softmax(-1)
            assert (found[route].log_softmax(-1) - expected)[mask.bool()].abs().max() < 1e-4
    assert model.original_model.config._attn_implementation == before


@pytest.mark.parametrize("name", _each(ROWS_ONLY))
def test_rows_stay_rows_where_trees_are_not_exact(name, monkeypatch):
    model, (tokens, mask) = tiny.bridge(name), _padded(TEXTS)
    route = Route.identity(model.cfg.n_layers)
    sweep = mp.sweep(model, tokens, [route], attention_mask=mask)
    assert not sweep.shares_tokens
    assert sweep.computed_positions == tokens.numel()
    computed = _computed(monkeypatch)
    list(sweep)
    assert sum(computed) == sweep.layer_calls * tokens.numel()


def test_what_is_given_or_hooked_by_rows_turns_sharing_off():
    model, (tokens, mask) = tiny.bridge("llama"), _padded(TEXTS)
    assert mp.sweep(model, tokens, ALL, attention_mask=mask).shares_tokens
    assert not mp.sweep(model, tokens, ALL, attention_mask=mask.flip(1)).shares_tokens
    assert not mp.sweep(model, tokens[:1], ALL).shares_tokens
    positions = torch.arange(tokens.shape[1])[None]
    assert not mp.sweep(model, tokens, ALL, attention_mask=mask, position_ids=positions).shares_tokens
    sweep = mp.sweep(model, tokens, ALL, attention_mask=mask)
    for name in ("blocks.3.hook_out", "embed.hook_out", "unembed.hook_in"):
        model.add_hook(name, lambda activation, hook: activation)
        assert not sweep.shares_tokens
        model.reset_hooks()
        assert sweep.shares_tokens


def test_little_to_share_is_left_alone():
    """Rows of one length that have only their first token in common, as questions of a task with none."""
    tokens = torch.randint(3, VOCABULARY, (8, 100), generator=torch.Generator().manual_seed(0))
    tokens[:, 0] = 1
    assert shareable(tokens, None, width=256) is None
    tokens[1::2, :50] = tokens[::2, :50]
    tree = shareable(tokens, None, width=256)
    assert tree is not None
    assert tree.tokens.shape == (4, 150)


def test_packed_rows_do_not_grow_with_the_batch():
    """Attention grows with the square of a row: many texts with the same beginning are cut into several rows."""
    tokens = torch.randint(3, VOCABULARY, (64, 100), generator=torch.Generator().manual_seed(0))
    tokens[:, :50], tokens[:, 50] = tokens[0, :50], torch.arange(64)
    tree = shareable(tokens, None, width=576)
    assert tree is not None
    assert tree.nodes == 50 + 64 * 50
    rows, length = tree.tokens.shape
    costs = {k: -(-64 // k) * (50 + 50 * k) * (1 + (50 + 50 * k) / 2304) for k in range(1, 65)}
    assert rows * length * (1 + length / 2304) < 1.1 * min(costs.values())


def test_the_summary_says_what_is_computed():
    tokens, mask = _padded(TEXTS)
    sweep = mp.sweep(tiny.bridge("llama"), tokens, ALL, attention_mask=mask)
    assert f"{len(_beginnings(TEXTS))} of {tokens.numel()}" in sweep._repr_html_()


_LLAMA = tiny.bridge("llama")


@given(texts, st.booleans())
@settings(max_examples=8)
def test_any_rows_have_the_residual_streams_of_each_by_itself(several, visits_alone):
    tokens, mask = _padded(several)
    options = {"max_batch_tokens": 1} if visits_alone else {}
    found = dict(mp.sweep(_LLAMA, tokens, ALL[1:4], attention_mask=mask, **options).residuals())
    for text in several[:2]:
        row = several.index(text)
        for route, residual in mp.sweep(_LLAMA, torch.tensor([text]), ALL[1:4]).residuals():
            expected = residual[0]
            assert (found[route][row, : len(text)] - expected).abs().max() < 1e-5 * expected.abs().max().clamp(min=1)
            assert not found[route][row, len(text) :].any() or tokens.shape[1] > len(text)


@pytest.mark.parametrize("most", [None, 30])
def test_a_row_that_is_not_finite_leaves_the_others_alone(most):
    """Attention of 0 to what is infinite is no number, so these routes run again in rows, all or a few at once."""
    model, (tokens, mask) = tiny.bridge("llama"), _padded(TEXTS)
    expected = dict(mp.sweep(model, tokens, ALL, attention_mask=mask))
    with torch.no_grad():
        model.embed.weight[50] = torch.inf
    sweep = mp.sweep(model, tokens, ALL, attention_mask=mask, max_batch_tokens=most)
    assert sweep.shares_tokens
    found = dict(sweep)
    assert found.keys() == expected.keys()
    others = [i for i, text in enumerate(TEXTS) if 50 not in text]
    for route, logits in found.items():
        assert (logits - expected[route])[others][mask.bool()[others]].abs().max() < 1e-4
        assert logits[2, 11:14].isnan().all()


def test_what_is_switched_is_switched_back_after_an_error(monkeypatch):
    model, (tokens, mask) = tiny.bridge("llama"), _padded(TEXTS)
    sweep = mp.sweep(model, tokens, ALL, attention_mask=mask)
    assert sweep.shares_tokens
    seen = []

    def fail(*_, **__):
        seen.append(model.original_model.config._attn_implementation)
        raise ArithmeticError

    monkeypatch.setattr(type(model.original_model.model.rotary_emb), "forward", fail)
    with pytest.raises(ArithmeticError):
        list(sweep)
    assert seen == ["mechpaint_token_tree"]
    assert model.original_model.config._attn_implementation == "eager"


def test_masks_that_forget_siblings_are_noticed(monkeypatch):
    model, (tokens, mask) = tiny.bridge("llama"), _padded(TEXTS)
    monkeypatch.setattr(TokenTree, "allowed", lambda self: torch.ones(1, 1, 1, dtype=torch.bool))
    assert not mp.sweep(model, tokens, ALL, attention_mask=mask).shares_tokens


def test_a_comparison_that_could_not_fail_is_none():
    """Layers whose attention adds nothing yet: once trained, they could differ."""
    module = tiny.module("llama")
    with torch.no_grad():
        for layer in module.model.layers:
            layer.self_attn.o_proj.weight.zero_()
    tokens, mask = _padded(TEXTS)
    assert not mp.sweep(mp.load(module), tokens, ALL, attention_mask=mask).shares_tokens


def test_windows_within_layers_show_in_rows_as_long_as_theirs():
    """GPT-Neo's layers count their window in places, not positions: right for short rows, wrong for long ones."""
    config = hf.GPTNeoConfig(
        vocab_size=VOCABULARY, hidden_size=32, num_layers=2, num_heads=4, window_size=64, max_position_embeddings=256,
        attention_types=[[["global", "local"], 1]],
    )  # fmt: skip
    torch.manual_seed(0)
    model = mp.load(hf.GPTNeoForCausalLM(config).eval())
    drawn = torch.randint(3, VOCABULARY, (2, 120), generator=torch.Generator().manual_seed(0))
    drawn[1, :90] = drawn[0, :90]
    routes = [Route.identity(2)]
    assert mp.sweep(model, drawn[:, 75:97], routes).shares_tokens
    long = mp.sweep(model, drawn, routes)
    assert not long.shares_tokens
    ((_, logits),) = long
    with torch.no_grad():
        assert (logits - model(drawn)).abs().max() < 1e-4


def test_memory_that_is_short_halves_visits_not_trees(monkeypatch):
    model, (tokens, mask) = tiny.bridge("llama"), _padded(TEXTS)
    expected = dict(mp.sweep(model, tokens, ALL, attention_mask=mask, positions="last"))
    call = RouteRunner.call

    def small(self, layer, residual, arguments, block=None):
        if len(residual) > 2:
            raise torch.OutOfMemoryError("out of memory")
        return call(self, layer, residual, arguments, block)

    monkeypatch.setattr(RouteRunner, "call", small)
    sweep = mp.sweep(model, tokens, ALL, attention_mask=mask, positions="last")
    assert sweep.shares_tokens
    for route, logits in sweep:
        assert torch.allclose(logits, expected[route], atol=1e-5)


def test_bridges_that_have_fused_attention_already_share_too():
    model, (tokens, mask) = tiny.bridge("llama"), _padded(TEXTS)
    expected = dict(mp.sweep(model, tokens, ALL, attention_mask=mask, positions="last"))
    model.original_model.config._attn_implementation = "sdpa"
    sweep = mp.sweep(model, tokens, ALL, attention_mask=mask, positions="last")
    assert sweep.shares_tokens
    for route, logits in sweep:
        assert torch.allclose(logits, expected[route], atol=1e-4)
    assert model.original_model.config._attn_implementation == "sdpa"


def test_the_made_up_windows_are_shorter_than_the_texts():
    assert len(_CONTEXT) > WINDOW
    assert GPT2["n_positions"] > max(map(len, TEXTS))


@pytest.mark.parametrize("most", [2**27, 4 * VOCABULARY * 5])
def test_each_distinct_position_is_unembedded_once(most, monkeypatch):
    """Whole, or in blocks of five positions: logits of equal beginnings are computed once, and given to each."""
    model, (tokens, mask) = tiny.bridge("llama"), _padded(TEXTS)
    positions = mask.bool() & (torch.arange(tokens.shape[1]) > 7)
    expected = {route: logits[positions] for route, logits in mp.sweep(model, tokens, ALL, attention_mask=mask)}
    distinct = {tuple(TEXTS[row][: end + 1]) for row, end in positions.nonzero().tolist()}
    monkeypatch.setattr("mechpaint.engine.sweep.TAIL_BYTES", most)
    unembedded: list[int] = []
    tail = RouteRunner.tail
    monkeypatch.setattr(RouteRunner, "tail", lambda self, rows: unembedded.append(len(rows)) or tail(self, rows))
    sweep = mp.sweep(model, tokens, ALL, attention_mask=mask, positions=positions)
    for route, logits in sweep:
        assert torch.allclose(logits, expected[route], atol=1e-5)
    assert sum(unembedded) == len(ALL) * len(distinct) < len(ALL) * positions.sum()
    unembedded.clear()
    found = {route: torch.full_like(logits, torch.nan) for route, logits in expected.items()}
    for route, rows, logits in sweep.distinct_blocks():
        found[route][rows >= 0] = logits[rows[rows >= 0]]
    assert all(torch.allclose(logits, expected[route], atol=1e-5) for route, logits in found.items())
    assert sum(unembedded) == len(ALL) * len(distinct)
    assert max(unembedded) * 4 * VOCABULARY <= most
    for route, some, logits in sweep.blocks():
        assert torch.allclose(logits, expected[route][some], atol=1e-5)
