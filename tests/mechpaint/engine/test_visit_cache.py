"""What was read, by visit: in a session, in a cache, on disk."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch

import mechpaint as mp
from mechpaint.hooks import Hooks, Patch, Read, ReadAttention, ReadResidual, ReadStream, Reroute
from mechpaint.routes.steps import Visit
from mechpaint.routes.visit_cache import VisitCache
from tests import tiny

READS = ReadResidual() + Read("attn.hook_z", visits="3#2") + ReadAttention([1])


def _read(model, hook_set=READS, text="0 3 1 3 (2 4)", tokens=None, mask=None):
    with torch.no_grad(), mp.attach(model, Reroute(text) + hook_set) as session:
        model(tiny.tokens() if tokens is None else tokens, attention_mask=mask)
    return session


def test_sessions_are_asked_by_visit_or_text(llama):
    session = _read(llama)
    residual = session["residual"]
    assert session.at(3) == Visit(1, 3)
    assert session.at(layer=3, nth=2) == session.at(3, -1) == Visit(3, 3)
    assert residual["3#2"] is residual[Visit(3, 3)] is residual["@3"] is residual["3@3"]
    assert list(session["attn.hook_z"]) == [Visit(3, 3)]
    with pytest.raises(mp.HookSetError, match="of layer 3 there are 3@1, 3@3"):
        session.at(3, 3)
    with pytest.raises(mp.HookSetError, match="of layer 3 there are 3@1, 3@3"):
        residual["3#3"]
    with pytest.raises(KeyError, match=r"expected one of 0@0, 3@1"):
        residual["3"]  # two visits
    with pytest.raises(KeyError, match=r"'attn.hook_z' was not read at '3#1': expected one of 3@3"):
        session["attn.hook_z"]["3#1"]


def test_the_stream_is_read_after_each_step(llama):
    session = _read(llama, ReadStream() + ReadResidual())
    stream, residual = session.stream, session["residual"]
    assert len(stream) == 6
    assert torch.equal(stream[4], residual["3#2"])
    assert torch.allclose(stream[5], (residual["2"] + residual["4"]) / 2, atol=1e-6)
    with pytest.raises(KeyError, match="nothing reads 'stream'"):
        _ = _read(llama).stream
    with pytest.raises(KeyError, match="nothing reads at a hook point"):
        _ = _read(llama, ReadStream()).cache


def test_caches_are_asked_by_point_and_visit(llama, as_users_run):
    cache = _read(llama).cache
    assert cache.points == ("hook_out", "attn.hook_z", "attn.hook_pattern")
    assert cache.visits("hook_out") == tuple(cache.route.visits())
    assert cache["hook_out", "3#2"] is cache["hook_out", Visit(3, 3)]
    assert len(cache) == len(list(cache)) == 6 + 1 + 1
    assert ("attn.hook_z", Visit(3, 3)) in cache
    for key, said in (
        ("hook_out", "expected cache\\[point, visit\\]"),
        (("hook_mlp_out", "3"), "the cache has hook_out, attn.hook_z"),
        (("attn.hook_z", "3#1"), "it was at 3@3"),
        (("hook_out", "3"), "are 2 visits"),
    ):
        with pytest.raises(KeyError, match=said):
            cache[key]


def test_a_cache_on_disk_is_read_lazily(llama, tmp_path):
    cache = _read(llama, mask=torch.tensor([[1] * 9, [1] * 7 + [0] * 2])).cache
    path = tmp_path / "cache.safetensors"
    cache.save(path)
    loaded = VisitCache.load(path)
    assert loaded.route == cache.route
    assert set(loaded) == set(cache)
    assert torch.equal(loaded.mask, cache.mask)
    for key in cache:
        assert torch.equal(loaded[key], cache[key])
        assert loaded[key] is not loaded[key]  # read anew: nothing is held
    assert loaded.visits("hook_out") == cache.visits("hook_out")


def test_patching_from_a_file_is_patching_from_the_session(llama, tmp_path):
    cache = _read(llama, ReadResidual(), tokens=tiny.tokens().flip(1)).cache
    cache.save(tmp_path / "other.safetensors")
    results = []
    for source in (cache, str(tmp_path / "other.safetensors")):
        results.append(_read(llama, Patch(source, visits="3#2") + ReadStream()).stream[-1])
    assert torch.equal(*results)
    assert not torch.equal(results[0], _read(llama, ReadStream()).stream[-1])
    text = str(Patch(str(tmp_path / "other.safetensors"), visits="3#2"))
    assert text == f"patch('{tmp_path}/other.safetensors', visits='3#2')"


@pytest.mark.parametrize("written", [b"", b"not safetensors", None])
def test_what_is_no_cache_is_refused(tmp_path, written, as_users_run):
    from safetensors.torch import save_file

    path = tmp_path / "given.safetensors"
    if written is None:
        save_file({"a": torch.ones(2)}, path)
    else:
        path.write_bytes(written)
    with pytest.raises(mp.InputError, match=r"given.safetensors"):
        VisitCache.load(path)
    with pytest.raises(mp.InputError, match="there is no file"):
        Patch(str(tmp_path / "none.safetensors"))
    with pytest.raises(mp.HookSetError, match=r"session.cache"):
        Patch(5)


def test_means_leave_out_padding(as_users_run):
    values = torch.tensor([[[1.0], [2.0], [9.0]], [[3.0], [4.0], [5.0]]])
    mask = torch.tensor([[1, 1, 0], [1, 1, 1]])
    cache = VisitCache(mp.Route.identity(1), {("hook_out", Visit(0, 0)): values}, mask)
    assert cache.mean()["hook_out", "0"].tolist() == [[[3.0]]]
    assert cache.mean("batch")["hook_out", "0"].tolist() == [[[2.0], [3.0], [5.0]]]
    with pytest.raises(mp.InputError, match="padded differently"):
        VisitCache(cache.route, dict(cache.items()), mask.flip(1)).mean("batch")
    with pytest.raises(mp.InputError, match="batch and positions"):
        cache.mean("rows")
    patterns = VisitCache(cache.route, {("attn.hook_pattern", Visit(0, 0)): torch.ones(2, 1, 3, 3)})
    assert patterns.mean("batch")["attn.hook_pattern", "0"].shape == (1, 1, 3, 3)
    with pytest.raises(mp.InputError, match="queries and keys"):
        patterns.mean()


def test_another_route_corresponds_by_layer_and_time(llama):
    cache = _read(llama, ReadResidual()).cache
    other = mp.Route.parse("3 5 3 0", 6)
    assert cache.like("hook_out", other, Visit(2, 3)) is cache["hook_out", "3#2"]
    assert cache.like("hook_out", other, Visit(3, 0)) is cache["hook_out", "0"]
    with pytest.raises(mp.HookSetError, match="layer 5"):
        cache.like("hook_out", other, Visit(1, 5))
    with pytest.raises(mp.HookSetError, match="of layer 3 there are"):
        cache.like("hook_out", mp.Route.parse("3 3 3", 6), Visit(2, 3))


def test_what_is_read_is_not_changed_by_what_comes_after(llama):
    """A hook that writes into the tensor, a second pass, and leaving the block."""
    session = _read(llama, ReadResidual())
    before = {visit: value.clone() for visit, value in session["residual"].items()}
    spoil = Hooks([("blocks.3.hook_out", lambda x, hook: x.zero_())])
    spoiled = _read(llama, ReadResidual() + spoil)
    assert torch.equal(spoiled["residual"]["3#1"], before[Visit(1, 3)])
    assert all(torch.equal(session["residual"][visit], value) for visit, value in before.items())


def test_nothing_is_read_of_a_run_that_failed(llama):
    broken = Hooks([("blocks.2.hook_in", lambda x, hook: 1 / 0)])
    with torch.no_grad(), mp.attach(llama, Reroute("0 3 2") + ReadResidual() + broken) as session:
        with pytest.raises(ZeroDivisionError):
            llama(tiny.tokens())
        with pytest.raises(KeyError, match="did not come to its end"):
            session["residual"]


def test_two_readings_of_one_key_and_visit_are_refused(llama):
    @dataclass(frozen=True)
    class Queries(mp.HookSet):
        point: str

        def reads(self):
            return (mp.Reading("mine", self.point, 3),)

    with (
        pytest.raises(mp.HookSetError, match="'mine' at 3@1"),
        mp.attach(llama, Reroute("0 3") + Queries("attn.hook_q") + Queries("attn.hook_k")),
    ):
        pass
    same = Queries("attn.hook_q")
    with mp.attach(llama, same + same):
        pass
