"""Sparse autoencoders from folders in SAELens' layout, against their formulas written out in numpy."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

import mechpaint as mp
from mechpaint.engine.arguments import as_hook_set
from mechpaint.hooks import SAE, ReadResidual, ReadStream, Reroute, Steer
from mechpaint.routes.edits import Moment
from mechpaint.routes.steps import Visit
from tests import tiny

TEXT = "0 3 1 3 (2 4)"
OLD = {
    "architecture": "standard", "d_in": 32, "d_sae": 48, "hook_name": "blocks.3.hook_resid_post", "hook_layer": 3,
    "hook_head_index": None, "activation_fn_str": "relu", "apply_b_dec_to_input": True,
    "finetuning_scaling_factor": False, "normalize_activations": "none", "model_from_pretrained_kwargs": {},
}  # fmt: skip
NEW = {
    "architecture": "jumprelu", "d_in": 32, "d_sae": 48, "apply_b_dec_to_input": False, "normalize_activations": "none",
    "reshape_activations": "none",
    "metadata": {
        "hook_name": "blocks.3.hook_resid_post", "hook_head_index": None,
        "model_from_pretrained_kwargs": {"center_writing_weights": False},
    },
}  # fmt: skip
TOPK = {**NEW, "architecture": "topk", "k": 5, "rescale_acts_by_decoder_norm": True}
KINDS = {
    "standard": OLD,
    "standard, uncentred": {**OLD, "apply_b_dec_to_input": False},
    "older topk": {**OLD, "activation_fn_str": "topk", "activation_fn_kwargs": {"k": 5}},
    "jumprelu": NEW,
    "topk": {**TOPK, "rescale_acts_by_decoder_norm": False},
    "topk, rescaled": TOPK,
}


def _folder(path, cfg, left_out=(), **more):
    draw = np.random.default_rng(0).normal
    wide, many = cfg["d_in"], cfg["d_sae"]
    shapes = {"W_enc": (wide, many), "b_enc": (many,), "W_dec": (many, wide), "b_dec": (wide,)}
    weights = {name: draw(size=shape).astype(np.float32) for name, shape in shapes.items()}
    if cfg["architecture"] == "jumprelu":
        weights["threshold"] = np.abs(draw(size=many)).astype(np.float32) * 5
    weights = {name: weight for name, weight in {**weights, **more}.items() if name not in left_out}
    path.mkdir(exist_ok=True)
    (path / "cfg.json").write_text(json.dumps(cfg))
    save_file(weights, path / "sae_weights.safetensors")
    return str(path), weights


def _formula(x, cfg, w):
    """Features and reconstruction of `x [..., d_in]`."""
    pre = (x - w["b_dec"] if cfg["apply_b_dec_to_input"] else x) @ w["W_enc"] + w["b_enc"]
    norms = np.linalg.norm(w["W_dec"], axis=1) if cfg.get("rescale_acts_by_decoder_norm") else np.ones(len(w["W_dec"]))
    k = cfg.get("k") or cfg.get("activation_fn_kwargs", {}).get("k")
    if cfg["architecture"] == "jumprelu":
        features = np.where(pre > w["threshold"], np.maximum(pre, 0), 0)
    elif k:
        pre = pre * norms
        features = np.where(pre >= np.sort(pre, axis=-1)[..., -k, None], np.maximum(pre, 0), 0)
    else:
        features = np.maximum(pre, 0)
    return features, (features / norms) @ w["W_dec"] + w["b_dec"]


@pytest.fixture(scope="module")
def clean(llama):
    return _run(llama, ReadResidual())


def _run(model, hook_set):
    with torch.no_grad(), mp.attach(model, Reroute(TEXT) + hook_set + ReadStream()) as session:
        model(tiny.tokens())
    return session


@pytest.mark.parametrize("kind", KINDS)
def test_features_and_reconstructions(llama, clean, tmp_path, kind):
    folder, weights = _folder(tmp_path / "sae", KINDS[kind])
    read = _run(llama, SAE(folder, mode="read"))["sae"]
    assert list(read) == [Visit(1, 3), Visit(3, 3)]  # of the layer that it was trained on, each time
    for visit, features in read.items():
        expected, _ = _formula(clean["residual"][visit].numpy(), KINDS[kind], weights)
        assert features.shape == (2, 9, 48)
        assert np.abs(features.numpy() - expected).max() < 1e-3
        assert 0 < (expected > 0).mean() < 1
    spliced = _run(llama, SAE(folder, visits="3#2") + ReadResidual())
    _, expected = _formula(clean["residual"]["3#2"].numpy(), KINDS[kind], weights)
    assert np.abs(spliced["residual"]["3#2"].numpy() - expected).max() < 1e-3
    assert torch.equal(spliced["residual"]["3#1"], clean["residual"]["3#1"])


def test_positions_and_another_layer(llama, clean, tmp_path):
    folder, weights = _folder(tmp_path / "sae", OLD)
    spliced = _run(llama, SAE(folder, layers=1, positions=[2, -1]) + ReadResidual())["residual"][Visit(2, 1)]
    before = clean["residual"][Visit(2, 1)].numpy()
    expected = before.copy()
    expected[:, [2, 8]] = _formula(before, OLD, weights)[1][:, [2, 8]]
    assert np.abs(spliced.numpy() - expected).max() < 1e-3


def test_by_head(llama, tmp_path):
    """An autoencoder of what all heads gathered, one after the other."""
    cfg = {**NEW, "reshape_activations": "hook_z", "metadata": {"hook_name": "blocks.3.attn.hook_z"}}
    folder, weights = _folder(tmp_path / "sae", cfg)
    with_z = mp.hooks.Read("attn.hook_z", visits="3#1")
    read = _run(llama, with_z + SAE(folder, visits="3#1", mode="read"))
    z = read["attn.hook_z"]["3#1"]
    features, rebuilt = _formula(z.flatten(2).numpy(), cfg, weights)
    assert np.abs(read["sae"]["3#1"].numpy() - features).max() < 1e-3
    spliced = _run(llama, SAE(folder, visits="3#1") + with_z)["attn.hook_z"]["3#1"]
    assert np.abs(spliced.flatten(2).numpy() - rebuilt).max() < 1e-3


def test_with_its_error_the_output_is_the_models_and_gradients_pass_the_features(llama, clean, tmp_path, as_users_run):
    folder, weights = _folder(tmp_path / "sae", OLD)
    kept = _run(llama, SAE(folder, error=True))
    assert (kept.stream[-1] - clean.stream[-1]).abs().max() < 1e-3
    assert (_run(llama, SAE(folder)).stream[-1] - clean.stream[-1]).abs().max() > 0.1

    direction = torch.zeros(32, requires_grad=True)
    edit = SAE(folder, visits="3#1", error=True).edits()[0]
    x = clean["residual"]["3#1"] + direction
    moment = Moment("hook_out", Visit(1, 3), None)
    edit.change.value(x, moment)[0, 4].sum().backward()
    features, _ = _formula(clean["residual"]["3#1"][0, 4].numpy(), OLD, weights)
    expected = (weights["W_enc"] * (features > 0)) @ weights["W_dec"].sum(1)
    assert np.abs(direction.grad.numpy() - expected).max() < 1e-3


def test_the_order_of_the_sum(llama, clean, tmp_path):
    folder, weights = _folder(tmp_path / "sae", OLD)
    steer = Steer(torch.ones(32), visits="3#1")
    read = SAE(folder, visits="3#1", mode="read")
    before, after = (_run(llama, both)["sae"]["3#1"] for both in (read + steer, steer + read))
    x = clean["residual"]["3#1"].numpy()
    assert np.abs(before.numpy() - _formula(x, OLD, weights)[0]).max() < 1e-3
    assert np.abs(after.numpy() - _formula(x + 1, OLD, weights)[0]).max() < 1e-3


def test_features_are_no_activation_to_patch_with(llama, tmp_path):
    folder, _ = _folder(tmp_path / "sae", OLD)
    session = _run(llama, SAE(folder, mode="read") + ReadResidual())
    assert session.cache.points == ("hook_out",)
    two = SAE(folder, mode="read") + SAE(folder, mode="read", key="again")
    assert set(_run(llama, two).keys()) == {"sae", "again", "stream"}


def test_text_form(tmp_path):
    folder, _ = _folder(tmp_path / "sae", OLD)
    made = SAE(folder, visits="3#2", mode="read")
    assert str(made) == f"sae('{folder}', visits='3#2', mode='read')"
    assert str(as_hook_set(str(made))) == str(made)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"architecture": "gated"}, "has architecture 'gated': expected standard, jumprelu or topk"),
        ({"activation_fn_str": "tanh-relu"}, "has activation_fn 'tanh-relu'"),
        ({"normalize_activations": "layer_norm"}, "has normalize_activations 'layer_norm': expected none"),
        ({"normalize_activations": "expected_average_only_in"}, "fold it into the weights"),
        ({"finetuning_scaling_factor": True}, "has finetuning_scaling_factor True"),
        ({"hook_head_index": 2}, "has hook_head_index 2"),
        ({"hook_name": "model.layers.3"}, "has hook_name 'model.layers.3'"),
        ({"hook_name_out": "blocks.4.hook_mlp_out"}, "has hook_name_out"),
        ({"model_from_pretrained_kwargs": {"center_writing_weights": True}}, "weights were processed"),
        ({"apply_b_dec_to_input": None}, "has apply_b_dec_to_input None"),
        ({"d_sae": "many"}, "has d_sae 'many': expected a whole number above 0"),
        ({"architecture": "topk"}, "has k None"),
        ({"architecture": "topk", "k": 49}, "has k 49: expected at most d_sae"),
    ],
)
def test_settings_that_would_be_computed_otherwise_are_refused_by_name(tmp_path, changes, said):
    folder, _ = _folder(tmp_path / "sae", OLD)
    (tmp_path / "sae" / "cfg.json").write_text(json.dumps({**OLD, **changes}))
    with pytest.raises(mp.HookSetError, match=said):
        SAE(folder)


def test_damaged_folders_are_refused(tmp_path):
    wrong = np.ones((3, 3), dtype=np.float32)
    for change, said in (
        ({"left_out": ("b_enc",)}, "holds W_dec, W_enc, b_dec: expected W_enc, b_enc"),
        ({"r_mag": wrong}, "holds W_dec, W_enc, b_dec, b_enc, r_mag"),
        ({"W_dec": wrong}, r"W_dec in .* has the shape \[3, 3\]: expected \[48, 32\]"),
        ({"b_dec": np.full(32, np.nan, dtype=np.float32)}, "b_dec in .* not finite"),
    ):
        with pytest.raises(mp.HookSetError, match=said):
            SAE(_folder(tmp_path / "sae", OLD, **change)[0])
    SAE(_folder(tmp_path / "sae", OLD, scaling_factor=np.ones(48, dtype=np.float32))[0])  # which older folders have
    (tmp_path / "sae" / "sae_weights.safetensors").write_bytes(b"no")
    with pytest.raises(mp.HookSetError, match="is no safetensors file"):
        SAE(str(tmp_path / "sae"))
    (tmp_path / "sae" / "cfg.json").write_text("[1")
    with pytest.raises(mp.HookSetError, match="is no JSON"):
        SAE(str(tmp_path / "sae"))
    with pytest.raises(mp.HookSetError, match=r"expected a folder with cfg\.json"):
        SAE(str(tmp_path))


def test_what_does_not_fit_the_model_is_refused_before_it_runs(llama, tmp_path):
    narrow, _ = _folder(tmp_path / "narrow", {**OLD, "d_in": 16})
    elsewhere, _ = _folder(tmp_path / "elsewhere", {**OLD, "hook_name": "blocks.3.hook_resid_nowhere"})
    beyond, _ = _folder(tmp_path / "beyond", {**OLD, "hook_name": "blocks.5.hook_resid_post"})
    ran: list[int] = []
    for mode in ("splice", "read"):
        for folder, said in (
            (narrow, r"expected 16 numbers at each position of 'hook_resid_post', and in this model there are \[32\]"),
            (elsewhere, "no hook point 'blocks.3.hook_resid_nowhere'; the nearest are"),
            (beyond, "layer 5 never runs"),
        ):
            with pytest.raises(mp.HookSetError, match=said):
                _counted(llama, SAE(folder, mode=mode), ran)
    assert not ran
    with pytest.raises(mp.HookSetError, match='mode="splice" or "read"'):
        SAE(narrow, mode="both")
    with pytest.raises(mp.HookSetError, match="read at every position"):
        SAE(narrow, mode="read", positions=1)


def _counted(model, hook_set, ran):
    with torch.no_grad(), mp.attach(model, Reroute(TEXT) + hook_set):
        handles = [block.register_forward_hook(lambda *_: ran.append(1)) for block in model.blocks]
        try:
            model(tiny.tokens())
        finally:
            for handle in handles:
                handle.remove()
