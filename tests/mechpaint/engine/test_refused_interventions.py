"""What an intervention cannot do exactly is refused before any layer runs."""

from __future__ import annotations

import pytest
import torch

import mechpaint as mp
from mechpaint.hooks import Ablate, Freeze, Hooks, Knockout, Patch, Read, ReadResidual, Reroute, Scale, Steer
from mechpaint.routes.steps import Visit
from mechpaint.routes.visit_cache import VisitCache
from tests import tiny

TEXT = "0 3 1 3 (2 4)"
PADDED_AFTER = torch.tensor([[1] * 9, [1] * 7 + [0] * 2])
PADDED_BEFORE = PADDED_AFTER.flip(1)


def _cache(model, point="hook_out", tokens=None, mask=None):
    with torch.no_grad(), mp.attach(model, Reroute(TEXT) + Read(point)) as session:
        model(tiny.tokens() if tokens is None else tokens, attention_mask=mask)
    return session.cache


def _refused(model, hook_set, said, tokens=None, mask=None):
    """It is refused with these words, and from attaching on no layer ran but for finding out about hook points."""
    ran: list[int] = []
    entered: list[bool] = []
    handles = [block.register_forward_hook(lambda *_: ran.append(1)) for block in model.blocks]

    def run():
        with torch.no_grad(), mp.attach(model, Reroute(TEXT) + hook_set):
            ran.clear()  # of what finding out about hook points takes
            entered.append(True)
            model(tiny.tokens() if tokens is None else tokens, attention_mask=mask)
            pytest.fail("the model ran")

    with pytest.raises(mp.HookSetError, match=said):
        run()
    for handle in handles:
        handle.remove()
    assert not (entered and ran)
    with torch.no_grad(), mp.attach(model, TEXT):
        model(tiny.tokens())  # and the model is none the worse


@pytest.mark.parametrize(
    ("hook_set", "said"),
    [
        (Ablate(heads="3.4"), "head 4 does not exist: layer 3 has heads 0 to 3"),
        (Ablate(heads="3#3.1"), "of layer 3 there are 3@1, 3@3"),
        (Ablate(heads="5.1"), "layer 5 never runs"),
        (Ablate(mlp="@9"), "its steps are 0 to 4"),
        (Scale(2.0, layers=Visit(0, 3)), "of layer 3 there are"),
        (Ablate(mlp=3, positions=9), "position 9 does not exist: the rows have positions 0 to 8"),
        (Ablate(mlp=3, positions=-10), "position -10 does not exist"),
        (Knockout(12), "position 12 does not exist"),
        (Knockout(1, queries=12), "position 12 does not exist"),
        (Knockout(1, heads="3.7"), "head 7 does not exist"),
        (Steer(torch.ones(31)), r"the direction has 31 numbers, and what passes 'hook_out' has \[32\]"),
        (Steer(torch.ones(32), point="mlp.hook_post"), r"has \[48\] at each position"),
        (Steer(torch.ones(32), point="attn.hook_z"), r"has \[4, 8\] at each position"),
        (Steer(torch.ones(32), point="hook_nothing"), "nearest are"),
        (Steer(torch.ones(32), point="attn.hook_hidden_states"), "would be lost"),
        (Steer(torch.ones(32), point="hook_mlp_in"), "nothing can be changed at 'blocks.0.hook_mlp_in'"),
        (Hooks([("embed.hook_out", lambda tensor, hook, visit: None)]), "that point is not in a layer"),
    ],
)  # fmt: skip
def test_what_does_not_exist(llama, hook_set, said):
    _refused(llama, hook_set, said)


def test_points_that_are_not_laid_out_by_position():
    """Gemma's queries pass their norm by head: a position would be taken for a head."""
    gemma = tiny.bridge("gemma3")
    _refused(gemma, Steer(torch.ones(8), point="attn.q_norm.hook_out", positions=1), "not laid out as")


def test_a_point_that_the_layer_does_not_use():
    neox = tiny.bridge("gpt_neox")
    _refused(neox, Patch(_cache(neox, "attn.hook_q"), "attn.hook_rot_q"), "would be lost: in this GPTNeoX")


def test_padding(llama):
    after, before = {"mask": PADDED_AFTER}, {"mask": PADDED_BEFORE}
    _refused(llama, Ablate(mlp=3, positions=-1), "position -1 counts from the end, where some rows are padded", **after)
    _refused(llama, Ablate(mlp=3, positions=1), "position 1 counts from the beginning", **before)
    _refused(llama, Knockout(-1, queries=2), "position -1 counts from the end", **after)
    _refused(llama, Ablate("mean", mlp=3), "rows that are padded differently", **after)
    _refused(llama, Ablate("mean", mlp=3), "is that row: give several rows", tokens=tiny.tokens(rows=1))
    for hook_set, mask in ((Ablate(mlp=3, positions=1), PADDED_AFTER), (Ablate(mlp=3, positions=-1), PADDED_BEFORE)):
        with torch.no_grad(), mp.attach(llama, Reroute(TEXT) + hook_set):
            llama(tiny.tokens(), attention_mask=mask)


def test_other_runs(llama):
    cache = _cache(llama)
    _refused(
        llama, Patch(_cache(llama, tokens=tiny.tokens(length=8))), "2 rows of 8 positions, and this run has 2 of 9"
    )
    _refused(llama, Patch(_cache(llama, tokens=tiny.tokens(rows=3))), "3 rows of 9 positions, and this run has 2 of 9")
    _refused(llama, Patch(cache), "padding at the same places", mask=PADDED_AFTER)
    _refused(llama, Patch(_cache(llama, mask=PADDED_BEFORE)), "padding at the same places", mask=PADDED_AFTER)
    _refused(llama, Patch(cache, "hook_mlp_out"), "the cache has hook_out")
    _refused(llama, Reroute("3x3") + Patch(cache, visits="3#3"), "of layer 3 there are 3@1, 3@3")
    _refused(llama, Reroute("5") + Patch(cache), "layer 5")
    other = mp.load(_wider())
    _refused(llama, Patch(_cache(other)), r"\[2, 9, 64\] of float32, and this run has \[32\] there")
    values = {key: value.long() for key, value in cache.items()}
    _refused(llama, Patch(VisitCache(cache.route, values)), "of int64: not what a run of this model reads")
    flat = {key: value[0] for key, value in cache.items()}
    _refused(llama, Patch(VisitCache(cache.route, flat)), r"is \[9, 32\] of float32")
    patterns = _cache(llama, "attn.hook_pattern", tokens=tiny.tokens(length=8))
    _refused(llama, Freeze(patterns), "positions, and this run has")
    with torch.no_grad(), mp.attach(llama, Reroute(TEXT) + Patch(cache.mean())) as session:
        llama(tiny.tokens(), attention_mask=PADDED_AFTER)  # a mean over positions has no place of its own
    assert session.runs == 1


def _wider():
    import transformers as hf

    from tests.architectures.recipes import LLAMA

    return hf.LlamaForCausalLM(hf.LlamaConfig(**{**LLAMA, "hidden_size": 64})).eval()


def test_a_position_that_would_see_nothing(llama):
    with torch.no_grad(), mp.attach(llama, Knockout(0, layers=3)), pytest.raises(mp.HookSetError, match="sees nothing"):
        llama(tiny.tokens())
    with torch.no_grad(), mp.attach(llama, Knockout(-2, queries=-1, layers=3)):
        llama(tiny.tokens(), attention_mask=PADDED_BEFORE)  # rows of padding see nothing anyway, and nobody sees them


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Ablate(), "needs heads, attention, mlp or layers"),
        (lambda: Ablate("none", mlp=3), "there is no file 'none'"),
        (lambda: Scale("x", mlp=3), "'by' of scale must be a number"),
        (lambda: Scale(float("nan"), mlp=3), "'by' of scale must be a number"),
        (lambda: Ablate(mlp="3#0"), "from #1"),
        (lambda: Steer(torch.ones(2, 2)), r"expected a direction \[d_model\]"),
        (lambda: Steer(torch.tensor([1, 2])), r"expected a direction \[d_model\]"),
        (lambda: Steer(torch.tensor([1.0, float("inf")])), "not finite"),
        (lambda: Steer("/none"), "there is no file"),
        (lambda: Steer(torch.ones(4), layers=1, visits="2"), "not both"),
        (lambda: ReadResidual(layers=1, visits="2").reads(), "not both"),
        (lambda: Knockout(1, layers=1, heads="2.0"), "heads name their layers"),
        (lambda: Knockout(None), "'keys' of knockout"),
        (lambda: Freeze("/none", "patterns"), "there is no file"),
        (lambda: Freeze("/none", "everything"), 'what="patterns" or "norms"'),
    ],
)  # fmt: skip
def test_what_is_no_intervention(make, said, as_users_run):
    with pytest.raises(mp.InputError, match=said):
        make()


def test_a_cache_has_what_layers_hand_on_not_what_they_add(llama):
    with pytest.raises(mp.HookSetError, match="patch 'hook_out'"):
        Ablate(_cache(llama), layers=3)


def test_finding_out_about_a_hook_point_fires_no_hook_of_a_user(llama):
    seen = []
    llama.add_hook("blocks.4.hook_in", lambda x, hook: seen.append(tuple(x.shape)))
    try:
        with torch.no_grad(), mp.attach(llama, Scale(2.0, attention=4) + Steer(torch.ones(32), point="mlp.hook_in")):
            llama(tiny.tokens())
    finally:
        llama.reset_hooks()
    assert seen == [(2, 9, 32)]
