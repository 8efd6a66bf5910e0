"""Who reads what, in which order, and who may run an attached model."""

from __future__ import annotations

import copy
import io
import pickle
import threading

import pytest
import torch
from torch.utils.checkpoint import checkpoint

import mechpaint as mp
from mechpaint.hooks import Average, Hooks, Pair, Read, ReadAttention, ReadResidual, Reroute, Reverse, Skip
from tests import plain, tiny

TOKENS = tiny.tokens(2)
POINT = "blocks.1.hook_out"


# ---- order and values ----------------------------------------------------------------------------------------------

RETURNS = Hooks([(POINT, lambda x, hook: x * 0)])
IN_PLACE = Hooks([(POINT, lambda x, hook: x.zero_())])
ENTRANCE = Hooks([("blocks.2.hook_in", lambda x, hook: x.zero_())])
PATTERN = Hooks([("blocks.1.attn.hook_pattern", lambda x, hook: x * 0)])


@pytest.mark.parametrize(
    ("hooks", "reads", "key", "visit"),
    [
        (RETURNS, ReadResidual(), "residual", mp.Visit(1, 1)),
        (IN_PLACE, ReadResidual(), "residual", mp.Visit(1, 1)),
        (ENTRANCE, Read("hook_in"), "hook_in", mp.Visit(2, 2)),
        (PATTERN, ReadAttention(1), "attention", mp.Visit(1, 1)),
    ],
    ids=["returned", "in place", "on entering", "a pattern"],
)
def test_hooks_and_reads_apply_in_the_order_of_their_sum(llama, hooks, reads, key, visit):
    def largest(hook_set):
        with torch.no_grad(), mp.attach(llama, hook_set) as session:
            llama(TOKENS)
        return session[key][visit].abs().max().item()

    assert largest(hooks + reads) == 0
    assert largest(reads + hooks) > 0
    assert largest(hooks + reads + hooks) == 0

    def by_hook_points(hook_set, store):
        with torch.no_grad():
            llama.run_with_hooks(TOKENS, fwd_hooks=hook_set.fwd_hooks(llama, store))
        return store[key][visit].abs().max().item()

    assert by_hook_points(hooks + reads, {}) == 0
    assert by_hook_points(reads + hooks, {}) > 0


@pytest.mark.parametrize("hook_set", [Skip(0, 0), Average(1, 3), Pair(1, 2)], ids=str)
def test_a_hook_on_a_member_is_the_same_by_hook_points(llama, hook_set):
    both = hook_set + Hooks([("blocks.2.hook_out", lambda x, hook: x / 2), ("blocks.2.hook_in", lambda x, hook: x * 3)])
    with torch.no_grad():
        with mp.attach(llama, both):
            expected = llama(TOKENS)
        found = llama.run_with_hooks(TOKENS, fwd_hooks=both.fwd_hooks(llama))
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)


def test_writing_into_what_a_member_of_a_group_is_handed_leaves_the_others_alone(llama):
    def spoil(x, hook):
        x.zero_()

    returned = Hooks([("blocks.1.hook_in", lambda x, hook: torch.zeros_like(x))])
    for group in (Average(1, 3), Pair(1, 2), Reroute("0 (1 2) 3-5")):
        for _ in range(2):
            with torch.no_grad(), mp.attach(llama, group + Hooks([("blocks.1.hook_in", spoil)])):
                found = llama(TOKENS)
        with torch.no_grad(), mp.attach(llama, group + returned):
            torch.testing.assert_close(found, llama(TOKENS))


# ---- half precision ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("merge", ["mean", "sum"])
def test_groups_are_merged_in_float32(dtype, merge):
    from mechpaint.routes.merge import GroupMerge

    step = mp.Step((0, 1, 2, 3), merge)
    incoming = torch.full((1, 2, 3), 20_000.0, dtype=dtype)
    merger = GroupMerge(step, incoming)
    outputs = [incoming + 1000 * i for i in range(4)]
    for output in outputs:
        merger.add(output.clone())
    exact = torch.stack(outputs).double()
    expected = exact.mean(0) if merge == "mean" else exact.sum(0) - 3 * incoming.double()
    merged = merger.merged()
    assert merged.dtype == dtype
    torch.testing.assert_close(merged.double(), expected, rtol=2 * torch.finfo(dtype).eps, atol=0)


# ---- threads -------------------------------------------------------------------------------------------------------


def _in_a_thread(run):
    found = []

    def call():
        try:
            found.append(run())
        except Exception as error:
            found.append(error)

    thread = threading.Thread(target=call)
    thread.start()
    thread.join()
    return found[0]


def test_other_threads_are_refused_while_a_model_is_attached(llama):
    def attach():
        with mp.attach(llama, Skip(1, 1)):
            return llama(TOKENS)

    calls = [
        lambda: llama(TOKENS),
        lambda: llama.generate(TOKENS, max_new_tokens=1, verbose=False),
        lambda: llama.run_with_cache(TOKENS),
        lambda: llama.original_model(TOKENS),
        lambda: list(mp.sweep(llama, TOKENS, ["0-5"])),
        attach,
    ]
    with torch.no_grad():
        before = llama(TOKENS)
        with mp.attach(llama, Reverse(1, 4) + ReadResidual()) as session:
            routed = llama(TOKENS)
            for call in calls:
                assert isinstance(_in_a_thread(call), mp.CannotReroute)
            assert torch.equal(llama(TOKENS), routed)
            assert len(session["residual"]) == 6
        assert torch.equal(_in_a_thread(lambda: llama(TOKENS)), before)


def test_a_sweep_is_not_broken_by_another_thread(llama):
    routes = ["0-5", "5-0", "0-1 4-5"]
    with torch.no_grad():
        expected = {str(route): logits for route, logits in mp.sweep(llama, TOKENS, routes)}
        stop, found = threading.Event(), []

        def others():
            while not stop.is_set():
                try:
                    with torch.no_grad():
                        found.append(llama(TOKENS))
                except mp.CannotReroute as error:
                    found.append(error)

        before = llama(TOKENS)
        thread = threading.Thread(target=others)
        thread.start()
        try:
            for _ in range(5):
                for route, logits in mp.sweep(llama, TOKENS, routes):
                    torch.testing.assert_close(logits, expected[str(route)], atol=1e-5, rtol=1e-5)
        finally:
            stop.set()
            thread.join()
    assert all(isinstance(one, mp.CannotReroute) or torch.allclose(one, before, atol=1e-4) for one in found)


# ---- copies and work that outlives the block -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "copied",
    [
        copy.deepcopy,
        lambda model: copy.deepcopy(model.original_model),
        lambda model: copy.copy(model.original_model.model.layers),
        lambda model: pickle.dumps(model.original_model),
        lambda model: torch.save(model.original_model, io.BytesIO()),
    ],
    ids=["bridge", "module", "list of layers", "pickle", "torch.save"],
)
def test_an_attached_model_cannot_be_copied(copied):
    model = tiny.bridge("llama")
    with mp.attach(model, Reverse(0, 3)), pytest.raises(mp.CannotReroute, match="copy it outside of the `with` block"):
        copied(model)
    copy.deepcopy(model)


def test_what_is_set_on_a_layer_stays_there(llama):
    with mp.attach(llama, Reverse(0, 3)):
        llama.original_model.model.layers[1].mark = 1
        llama.original_model.model.layers[2].other = 1
        del llama.original_model.model.layers[2].other
    layers = llama.original_model.model.layers
    assert layers[1].mark == 1
    assert not hasattr(layers[2], "other")
    del layers[1].mark


def _gradient(run):
    model = tiny.bridge("llama")
    model.train()
    run(model)
    return {name: p.grad for name, p in model.original_model.named_parameters() if p.grad is not None}


HALVED = Reverse(1, 4) + Hooks([("blocks.2.ln2.hook_out", lambda x, hook: x * 1.5)])


def test_activation_checkpointing_with_hooks_is_refused():
    model = tiny.bridge("llama")
    model.original_model.gradient_checkpointing_enable()
    model.train()
    with mp.attach(model, HALVED), pytest.raises(mp.CannotReroute, match="activation checkpointing"):
        model(TOKENS)
    with mp.attach(model, Reverse(1, 4)), pytest.raises(mp.CannotReroute, match="activation checkpointing"):
        model.run_with_hooks(TOKENS, fwd_hooks=[("blocks.2.hook_out", lambda x, hook: x * 2)])
    with torch.no_grad(), mp.attach(model, HALVED):
        model(TOKENS)


def test_activation_checkpointing_of_routes_alone_is_exact():
    def run(model, checkpointing, after):
        if checkpointing:
            model.original_model.gradient_checkpointing_enable()
        with mp.attach(model, Reverse(1, 4)):
            loss = model(TOKENS).pow(2).mean()
            if not after:
                loss.backward()
        if after:
            loss.backward()

    expected = _gradient(lambda model: run(model, False, False))
    for after in (False, True):
        found = _gradient(lambda model, after=after: run(model, True, after))
        assert found.keys() == expected.keys()
        for name, gradient in found.items():
            torch.testing.assert_close(gradient, expected[name], atol=1e-6, rtol=1e-4)


def test_a_checkpoint_around_the_whole_model_is_refused():
    model = tiny.bridge("llama")
    with mp.attach(model, Reverse(1, 4)), pytest.raises(mp.CannotReroute, match="activation checkpointing"):
        checkpoint(lambda tokens: model(tokens), TOKENS, use_reentrant=False)


def test_routes_are_still_exact(llama):
    with torch.no_grad(), mp.attach(llama, Reverse(0, 5)):
        found = llama(TOKENS)
    torch.testing.assert_close(found, plain.logits(tiny.module("llama"), TOKENS, [5, 4, 3, 2, 1, 0]))
