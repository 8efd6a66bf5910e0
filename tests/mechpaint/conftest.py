"""Commands, run in this process."""

from __future__ import annotations

import sys
from dataclasses import dataclass

import pytest

from mechpaint.cli import main


@dataclass
class Done:
    returncode: int
    stdout: str
    stderr: str


@pytest.fixture
def mechpaint(monkeypatch, capfd):
    """Run a command in this process: importing torch anew for each takes seconds. What it prints is caught."""

    def run(*arguments, cwd=None):
        monkeypatch.setattr(sys, "argv", ["mechpaint", *map(str, arguments)])
        monkeypatch.setenv("COLUMNS", "160")
        monkeypatch.setenv("HF_HUB_OFFLINE", "1")
        if cwd is not None:
            monkeypatch.chdir(cwd)
        capfd.readouterr()
        with pytest.raises(SystemExit) as stopped:
            main()
        return Done(int(stopped.value.code or 0), *capfd.readouterr())

    return run
