"""Work that is counted, against closed forms, torch's own counter, and calls that really happen."""

from __future__ import annotations

from collections import Counter

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

import mechpaint as mp
from mechpaint.analyses.painters import suite
from mechpaint.engine.route_runner import RouteRunner
from mechpaint.errors import LoadError
from mechpaint.models.meta_device import fill, is_meta, meta_model, meta_model_of
from mechpaint.planning.flops import SHAPES, Operation, Work, counted
from mechpaint.planning.layer_calls import calls_of
from mechpaint.routes.prefix_tree import PrefixTree
from mechpaint.routes.route import Route
from tests import tiny

ROWS, TOKENS = 3, 7


def llama_flops(rows: int, tokens: int, hidden: int, inner: int, heads: int, key_value_heads: int) -> int:
    """Two for each parameter and token, and two products of queries with keys and patterns with values."""
    key_value = hidden // heads * key_value_heads
    parameters = 2 * hidden * hidden + 2 * hidden * key_value + 3 * hidden * inner
    return 2 * parameters * rows * tokens + 4 * rows * tokens**2 * hidden


PUBLISHED = {"llama-2-7b": 6_738_415_616, "llama-2-13b": 13_015_864_320, "llama-2-70b": 68_976_648_192}


@pytest.mark.parametrize("name", SHAPES)
def test_published_shapes_have_the_published_parameters_and_the_closed_form_s_operations(name):
    """Of two layers, which is quick; all layers are alike."""
    shape = SHAPES[name]
    model = meta_model({**shape, "num_hidden_layers": 2}, dtype="bfloat16")
    assert is_meta(model)
    a_layer = sum(p.numel() for p in model.blocks[1].parameters())
    layers = shape["num_hidden_layers"]
    assert sum(p.numel() for p in model.original_model.parameters()) + (layers - 2) * a_layer == PUBLISHED[name]
    sizes = [shape[part] for part in ("hidden_size", "intermediate_size", "num_attention_heads", "num_key_value_heads")]
    work = Work(model)
    assert work.layer(1, ROWS, TOKENS).flops == llama_flops(ROWS, TOKENS, *sizes)
    assert work.tail(5).flops == 2 * 5 * shape["hidden_size"] * shape["vocab_size"]


@pytest.mark.parametrize("name", ["gpt2", "gemma3", "mixtral"])
def test_a_layer_takes_what_torch_counts_on_a_real_call(name):
    """Experts' routers look at numbers, which a model on `meta` does not have."""
    model = tiny.bridge(name)
    runner = RouteRunner(model)
    work = Work(model)
    with torch.no_grad():
        recording = runner.record(torch.zeros((ROWS, TOKENS), dtype=torch.long))
        for layer in range(runner.n_layers):
            with FlopCounterMode(display=False) as counter:
                runner.call(layer, recording.embeddings, recording.layers[layer])
            assert work.layer(layer, ROWS, TOKENS).flops == counter.get_total_flops() > 0


@pytest.mark.parametrize("per_call", [1, 3, 32])
def test_routes_take_the_calls_that_a_sweep_makes(llama, monkeypatch, per_call):
    """Each of as many visits of its layer."""
    tree = PrefixTree(variant.hook_set(6).route(6) for variant in suite(6))
    tokens, ran = tiny.tokens(), Counter()
    call = RouteRunner.call
    list(mp.sweep(llama, tokens, [Route.identity(6)]))  # a model's first sweep compares its layers

    def counted_call(self, layer, residual, arguments, block=None):
        ran[layer, len(residual) // len(tokens)] += 1
        return call(self, layer, residual, arguments, block)

    monkeypatch.setattr(RouteRunner, "call", counted_call)
    for _ in mp.sweep(llama, tokens, tree, max_batch_tokens=per_call * tokens.numel()).residuals():
        pass
    planned = calls_of(tree, per_call)
    assert planned == ran
    assert sum(visits * times for (_, visits), times in planned.items()) == tree.layer_calls


def test_what_a_sweep_takes_is_that_of_its_calls_and_its_logits(llama):
    tree = PrefixTree(Route.of(steps, 6) for steps in ([0, 1], [0, 2], [3]))
    work = Work(llama)
    a_layer, a_tail = work.layer(0, 2, 9).flops, work.tail(4).flops
    assert sum(times * each.flops for times, each in work.sweep(tree, 2, 9, 4)) == 4 * a_layer + 3 * a_tail
    assert sum(times * each.flops for times, each in work.sweep(tree, 2, 9, 0)) == 4 * a_layer


def test_operations_move_their_operands_and_results_and_hold_results_while_they_are_needed():
    given, weight = torch.ones(4, 8), torch.ones(8, 16)

    def work():
        product = given @ weight  # 256 bytes
        product = product.t().relu()  # 256 more; a view takes nothing
        return (product + product).sum()

    work_done = counted(work)
    size = 4 * 4 * 16
    assert work_done.operations == (
        Operation(2 * 4 * 8 * 16, 4 * (4 * 8 + 8 * 16) + size),
        Operation(0, 2 * size),
        Operation(0, 3 * size),
        Operation(0, size + 4),
    )
    assert work_done.peak == 2 * size + 4


@pytest.mark.parametrize("name", ["gpt2", "bert", "gemma3", "bloom"])
def test_an_outline_has_the_shapes_of_the_model_which_is_left_alone(name):
    """Those of layers whose fused matrices TransformerLens divides, too."""
    model = tiny.bridge(name)
    before = [p.clone() for p in model.original_model.parameters()]
    shape = meta_model_of(model)
    assert is_meta(shape)
    assert [(n, p.shape) for n, p in shape.named_parameters()] == [(n, p.shape) for n, p in model.named_parameters()]
    for one, other in zip(before, model.original_model.parameters(), strict=True):
        assert torch.equal(one, other)


def test_random_weights_are_those_of_one_layer_and_run_like_any_model(folder):
    model = meta_model(folder)
    fill(model, "cpu")
    layers = [dict(block.named_parameters()) for block in model.blocks]
    for name, first in layers[0].items():
        assert {layer[name].data_ptr() for layer in layers} == {first.data_ptr()}, name
    assert [p.shape for p in model.original_model.parameters()] == [
        p.shape for p in mp.load(folder).original_model.parameters()
    ]
    for _, logits in mp.sweep(model, model.to_tokens("The capital"), [Route.of([5, 0], 6), Route.identity(6)]):
        assert logits.isfinite().all()


def test_an_outline_comes_from_a_folder_or_its_configuration_alone(folder, tmp_path):
    assert meta_model(folder).tokenizer is not None
    alone = tmp_path / "alone.json"
    alone.write_text((folder / "config.json").read_text())
    assert meta_model(alone).tokenizer is None
    (tmp_path / "only").mkdir()
    (tmp_path / "only" / "config.json").write_text(alone.read_text())
    model = meta_model(tmp_path / "only", dtype="bfloat16")
    assert model.tokenizer is None
    assert {p.dtype for p in model.original_model.parameters()} == {torch.bfloat16}


@pytest.mark.parametrize("model", ["toy-induction", "no/such/folder"])
def test_what_has_no_outline_is_refused(model, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(LoadError, match=r"expected a model|cannot load the model"):
        meta_model(model)
