"""Killed at any moment and started again, an experiment goes on, and ends in the same table."""

from __future__ import annotations

import random
import subprocess
import sys
import time

import pandas as pd
import pytest

MAIN = [sys.executable, "-c", "from mechpaint.cli import main; main()", "analyze"]
EXPERIMENTS = {
    "birth": ["birth", "--seeds", "1", "--steps", "40", "--freeze-until", "20"],
    "memories": [
        *("memories", "--seeds", "1", "--dims", "128,256", "--lengths", "64,128", "--step-dims", "128"),
        *("--step-sequences", "1024", "--first-sequences", "4096"),
    ],
}
KILLS = 4


def _cells(folder):
    return len(list(folder.glob("*/*/cells/*.parquet")))


@pytest.mark.slow
@pytest.mark.parametrize("arguments", EXPERIMENTS.values(), ids=EXPERIMENTS)
def test_a_killed_run_goes_on(arguments, tmp_path):
    command = [*MAIN, *arguments, "--out"]
    subprocess.run([*command, str(tmp_path / "whole")], check=True, capture_output=True)
    rng, partly = random.Random(0), 0
    for _ in range(KILLS):
        with subprocess.Popen(
            [*command, str(tmp_path / "killed")], stdout=subprocess.PIPE, stderr=subprocess.PIPE
        ) as run:
            before = _cells(tmp_path / "killed")
            while run.poll() is None and _cells(tmp_path / "killed") < before + 2:
                time.sleep(0.05)
            time.sleep(rng.random())
            run.kill()
        partly += not list((tmp_path / "killed").rglob("results.parquet"))
    assert partly == KILLS  # each time there was something left to do
    done = subprocess.run([*command, str(tmp_path / "killed")], check=True, capture_output=True, text=True)
    total = _cells(tmp_path / "whole")
    computed = int(done.stdout.rpartition(" cells computed")[0].split()[-1])
    assert 0 < computed <= total - 2 * KILLS  # what was done before was kept
    whole, killed = (pd.read_parquet(next((tmp_path / name).rglob("results.parquet"))) for name in ("whole", "killed"))
    pd.testing.assert_frame_equal(whole, killed)
    assert not [path for path in (tmp_path / "killed").rglob(".*") if path.name.endswith(".html")]
