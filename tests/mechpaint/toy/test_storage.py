"""The checkpoints in the package: they load at once, are small, and have the head they are named after."""

from __future__ import annotations

import json

import pytest
import torch

import mechpaint as mp
from mechpaint.circuits.heads import head_scores, repeated_tokens
from mechpaint.models.presets import PRESETS
from mechpaint.toy.bridge import task_of
from mechpaint.toy.checkpoint.make import STEPS, make


def _accuracy(bridge):
    batch = task_of(bridge).batch(64, 64, seed=9)
    with torch.no_grad():
        right = bridge(batch.tokens).argmax(-1) == batch.targets
    return float(right[batch.occurrences >= 2].double().mean())


@pytest.mark.parametrize("name", STEPS)
def test_a_checkpoint_has_an_induction_head(name):
    bridge = mp.load(name)
    assert _accuracy(bridge) > 0.95
    first, second = head_scores(bridge, repeated_tokens(bridge, 8, 24))
    assert first.previous_token > 0.6
    assert second.copying > 0.95
    assert bridge.to_str_tokens("a b") == ["a", " ", "b"]


def test_together_they_are_under_two_megabytes():
    files = [path for name in STEPS for path in PRESETS[name].folder().iterdir()]
    assert sum(path.stat().st_size for path in files) < 2_000_000


@pytest.mark.slow
@pytest.mark.parametrize("name", STEPS)
def test_the_command_that_made_them_makes_them_again(name, tmp_path):
    """As good ones: other processors round differently, and training makes that grow."""
    make(name, tmp_path)
    assert _accuracy(mp.load(tmp_path / name)) > 0.95
    folders = (tmp_path / name, PRESETS[name].folder())
    made, shipped = (json.loads((folder / "config.json").read_text()) for folder in folders)
    assert made["config"] == shipped["config"]
    assert made["probes"]["accuracy_in_context"] == pytest.approx(shipped["probes"]["accuracy_in_context"], abs=0.03)
