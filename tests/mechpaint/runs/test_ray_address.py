"""Clusters that are not there. In a file of its own: a process that is connected uses the cluster it has."""

from __future__ import annotations

import importlib.util

import pytest

from mechpaint.errors import RunError
from mechpaint.runs.execute import run
from mechpaint.runs.ray import Ray
from tests.mechpaint.runs.elsewhere import AskedWaiting


@pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="Ray is not installed")
@pytest.mark.parametrize("address", ["127.0.0.1:1", "ray://127.0.0.1:1", "nowhere.invalid:6379"])
def test_a_cluster_that_does_not_answer_is_told(tmp_path, address):
    asked = AskedWaiting(tmp_path / "seen")
    with pytest.raises(RunError, match=f"cannot use the Ray cluster '{address}': "):
        run(asked(), tmp_path / "runs", "mechpaint analyze waiting", executor=Ray(asked, address=address))
