"""One kind of argument everywhere: a route, a hook set, or a text of either; tokens, or text."""

from __future__ import annotations

import pytest
import torch

import mechpaint as mp
from mechpaint import circuits
from mechpaint.engine.arguments import as_hook_set, as_route, as_tokens
from mechpaint.errors import HookSetError, InputError, RouteError
from mechpaint.hooks import Fill, ReadAttention, Reroute, Skip
from tests import tiny

ALIKE = {
    "hook set": Skip(2, 3),
    "route": mp.Route.parse("0-1 4-5", 6),
    "text of a hook set": "skip(2, 3)",
    "text of a route": " 0-1 4-5",
    "reroute": Reroute("0-1 4-5"),
    "text of both": "reroute('0-5') + skip(2, 3)",
}


@pytest.fixture(scope="module")
def skipped(llama):
    with mp.attach(llama, Skip(2, 3)):
        return llama(tiny.tokens(2))


@pytest.mark.parametrize("given", ALIKE.values(), ids=ALIKE)
def test_attach_and_sweep_take_any_of_them(llama, skipped, given):
    tokens = tiny.tokens(2)
    with mp.attach(llama, given) as session:
        assert torch.equal(llama(tokens), skipped)
    assert str(session.route) == "0-1 4-5"
    for routes in (given, [given]):
        ((route, logits),) = mp.sweep(llama, tokens, routes)
        assert str(route) == "0-1 4-5"
        torch.testing.assert_close(logits, skipped, atol=1e-5, rtol=1e-5)


def test_a_sweep_takes_them_mixed_and_runs_each_route_once(llama):
    sweep = mp.sweep(llama, tiny.tokens(1), [*ALIKE.values(), "0-5", Fill(1, 4, 2)])
    assert sorted(str(route) for route, _ in sweep) == ["0 2x4 5", "0-1 4-5", "0-5"]


@pytest.mark.parametrize("given", ALIKE.values(), ids=ALIKE)
def test_export_takes_any_of_them(llama, tmp_path, given):
    assert str(mp.export(llama, given, tmp_path / "out").route) == "0-1 4-5"


@pytest.mark.parametrize("given", [None, 5, 1.5, ["skip"], Skip, {"skip": 2}], ids=str)
def test_anything_else_is_refused_by_every_entrance(llama, as_users_run, given, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for call in (
        lambda: mp.attach(llama, given).__enter__(),
        lambda: mp.sweep(llama, tiny.tokens(1), [given]),
        lambda: mp.export(llama, given, "out"),
        lambda: mp.analyze("induction", model=llama, hooks=given or 0),
    ):
        with pytest.raises(HookSetError, match="expected a hook set, a route, or a text of either"):
            call()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("given", [5, None])
def test_what_are_no_routes_is_refused(llama, as_users_run, given):
    with pytest.raises(HookSetError, match="expected routes, hook sets or texts"):
        mp.sweep(llama, tiny.tokens(1), given)


@pytest.mark.parametrize("given", [[3], ["text", None], 7], ids=str)
def test_what_are_no_tokens_is_refused(llama, as_users_run, given):
    with pytest.raises(InputError, match="expected tokens"):
        mp.sweep(llama, given, "0-5")


@pytest.mark.parametrize(
    ("given", "error", "words"),
    [
        ("skp(2, 3)", HookSetError, "there is no hook set 'skp' \\(did you mean skip\\?\\); there are: ablate"),
        ("skip(2", HookSetError, "cannot read the hook set"),
        ("0-9", RouteError, "layer 9 does not exist"),
        ("0-1 (", RouteError, "is never closed"),
        (mp.Route.identity(7), ValueError, "7 layers"),
    ],
)
def test_what_does_not_fit_is_said(llama, given, error, words):
    with pytest.raises(error, match=words), mp.attach(llama, given):
        pass
    with pytest.raises(error, match=words):
        mp.sweep(llama, tiny.tokens(1), [given])


@pytest.mark.parametrize("given", [ReadAttention(), "skip(2, 3) + read_attention()"])
def test_where_only_a_route_will_do_readings_are_refused(llama, tmp_path, given):
    with pytest.raises(HookSetError, match=r"also reads or hooks: run it with mechpaint\.attach"):
        mp.sweep(llama, tiny.tokens(1), [given])
    with pytest.raises(mp.CannotExport, match="a checkpoint is a route and has no hooks"):
        mp.export(llama, given, tmp_path / "out")


def test_sweeps_take_texts(speaking):
    texts = ["The capital of France is", "One"]
    for text in texts:
        ((_, logits),) = mp.sweep(speaking, text, "0-5", positions="last")
        torch.testing.assert_close(logits[0], speaking(text)[0, -1], atol=1e-5, rtol=1e-5)
    ((_, both),) = mp.sweep(speaking, texts, "0-5", positions="last")
    for text, logits in zip(texts, both, strict=True):
        torch.testing.assert_close(logits, speaking(text)[0, -1], atol=1e-5, rtol=1e-5)


def test_texts_that_cannot_be_tokens_are_refused(llama, speaking):
    with pytest.raises(InputError, match="no tokenizer: expected tokens"):
        mp.sweep(llama, "text", ["0-5"])
    with pytest.raises(InputError, match="expected tokens"):
        mp.sweep(speaking, [], ["0-5"])
    with pytest.raises(InputError, match="an attention mask of their own"):
        mp.sweep(speaking, ["a", "b"], ["0-5"], attention_mask=torch.ones(2, 2, dtype=torch.long))


def test_texts_are_padded_on_the_right_and_masked(speaking):
    texts = ["The capital of France is", "One"]
    tokens, mask = as_tokens(speaking, texts)
    for text, row, real in zip(texts, tokens, mask, strict=True):
        assert torch.equal(row[real.bool()], speaking.to_tokens(text)[0])
    assert torch.equal(mask, mask.sort(dim=1, descending=True).values)
    assert mask.sum(dim=1).tolist() == [len(speaking.to_tokens(text)[0]) for text in texts]
    assert (tokens[~mask.bool()] == speaking.tokenizer.pad_token_id).all()
    alone, none = as_tokens(speaking, texts[0])
    assert torch.equal(alone, speaking.to_tokens(texts[0]))
    assert none is None
    given, none = as_tokens(speaking, tokens)
    assert given is tokens
    assert none is None


def test_a_text_without_tokens_is_refused(folder):
    model = mp.load(folder)
    model.cfg.default_prepend_bos = False
    with pytest.raises(InputError, match="the text '' has no tokens"):
        as_tokens(model, ["One", ""])


def test_plugins_widen_what_texts_may_name():
    class Turn(Skip):
        """Skip, under another name."""

    assert as_hook_set("turn(2, 3) + skip(1, 1)", {"turn": Turn}) == Turn(2, 3) + Skip(1, 1)
    with pytest.raises(HookSetError, match=r"there are: .*skip, .*swap: .* give a plugin's hook set as an object"):
        as_hook_set("turn(2, 3)")
    with pytest.raises(HookSetError, match=r"there are: .*skip, steer, swap, turn: expected one of these names\n"):
        as_hook_set("trn(2, 3)", {"turn": Turn})


def test_nothing_is_the_models_own_order(llama):
    for given in ("", "  ", mp.HookSet()):
        assert as_route(given, 6) == mp.Route.identity(6)


@pytest.mark.parametrize("given", ALIKE.values(), ids=ALIKE)
def test_circuits_take_any_of_them(speaking, given):
    data = circuits.repeated_tokens(speaking, 2, 5)
    text = "The capital of France is"
    assert circuits.head_scores(speaking, data, given) == circuits.head_scores(speaking, data, Skip(2, 3))
    assert str(circuits.attention(speaking, text, given)) == str(circuits.attention(speaking, text, Skip(2, 3)))
    for tokens in (circuits.token_losses, circuits.token_probabilities):
        assert tokens(speaking, text, given) == tokens(speaking, text, Skip(2, 3))
