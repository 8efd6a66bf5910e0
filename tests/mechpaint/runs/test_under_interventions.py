"""Analyses under interventions give what they give of a model whose weights say the same."""

from __future__ import annotations

import pandas as pd
import pytest
import torch
from safetensors.torch import load_file, save_file

import mechpaint as mp
from mechpaint.errors import HookSetError
from mechpaint.hooks import Patch, Read, Steer
from tests import tiny

HEAD = "ablate(heads='2.1')"
MLP = "ablate(mlp='3')"


def _changed(folder, change):
    """The tiny Llama of a folder, its weights changed."""
    at = folder / "model.safetensors"
    weights = load_file(at)
    change(weights)
    save_file(weights, at, metadata={"format": "pt"})
    return str(folder)


def _without_head(weights):
    width = tiny.LLAMA["hidden_size"] // tiny.LLAMA["num_attention_heads"]
    weights["model.layers.2.self_attn.o_proj.weight"][:, width : 2 * width] = 0


def _without_mlp(weights):
    weights["model.layers.3.mlp.down_proj.weight"].zero_()


@pytest.fixture
def folders(tmp_path):
    (tmp_path / "as it is").mkdir()
    (tmp_path / "changed").mkdir()
    return tiny.folder(tmp_path / "as it is"), tiny.folder(tmp_path / "changed")


def _table(run):
    table = run.table
    if "name" in table:  # copying is a score of a head's weights
        table = table[table["name"] != "copying"]
    return table.drop(columns=[name for name in ("route", "hook_set") if name in table])


@pytest.mark.parametrize(
    ("hooks", "change"), [(HEAD, _without_head), pytest.param(MLP, _without_mlp, marks=pytest.mark.slow)]
)
@pytest.mark.parametrize(
    ("analysis", "options"),
    [
        ("painters", {"tasks": ["induction"], "limit": 4, "start_layers": (1, 2), "seeds": 1}),
        pytest.param("induction", {"sequences": 2, "period": 6, "layers": (1, 2)}, marks=pytest.mark.slow),
        ("similarity", {"windows": 2, "window": 16}),
    ],
)
def test_an_ablation_is_the_model_without_these_weights(folders, tmp_path, analysis, options, hooks, change):
    plain, changed = folders
    under = mp.analyze(analysis, model=str(plain), hooks=hooks, out=tmp_path / "under", **options)
    other = mp.analyze(analysis, model=_changed(changed, change), out=tmp_path / "other", **options)
    numbers = [_table(run).select_dtypes("number").reset_index(drop=True) for run in (under, other)]
    pd.testing.assert_frame_equal(*numbers, check_exact=False, atol=1e-4, rtol=1e-4)
    without = mp.analyze(analysis, model=str(plain), out=tmp_path / "without", **options)
    assert not _table(without).select_dtypes("number").reset_index(drop=True).equals(numbers[0])
    assert hooks in (under.path / "report.md").read_text()


def test_a_head_that_no_route_runs_is_refused_and_one_that_some_run_is_not(folders, tmp_path):
    options = {"tasks": ["induction"], "limit": 2, "start_layers": (2,), "seeds": 1, "out": tmp_path / "runs"}
    with pytest.raises(HookSetError, match="no route of painters makes a visit"):
        mp.analyze("painters", model=str(folders[0]), hooks="skip(2, 2) + ablate(heads='2.1')", **options)
    with pytest.raises(HookSetError, match="head 9 does not exist"):
        mp.analyze("painters", model=str(folders[0]), hooks="ablate(heads='2.9')", **options)


def test_a_run_is_of_the_files_that_its_hooks_name(folders, tmp_path):
    """Another direction under the same name is another run; what is only in memory is refused."""
    model = mp.load(str(folders[0]))
    width, at = model.cfg.d_model, tmp_path / "direction.safetensors"
    options = {"windows": 2, "window": 16, "out": tmp_path / "runs"}
    save_file({"direction": torch.ones(width)}, at)
    one = mp.analyze("similarity", model=model, hooks=f"steer('{at}', layers=2)", **options)
    save_file({"direction": -torch.ones(width)}, at)
    two = mp.analyze("similarity", model=model, hooks=f"steer('{at}', layers=2)", **options)
    assert one.path != two.path
    assert not one.table.equals(two.table)
    with mp.attach(model, Read("hook_out")) as session, torch.no_grad():
        model(tiny.tokens())
    for hooks in (Steer(torch.ones(width)), Patch(session.cache)):
        with pytest.raises(HookSetError, match="in memory cannot be part of a run"):
            mp.analyze("similarity", model=model, hooks=hooks, **options)
