"""The site, built once for all tests that look at it."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.docs.fences import ROOT


@pytest.fixture(scope="session")
def site(tmp_path_factory):
    """The site's folder. Building it is strict: a broken link, an unknown name or parameter fails."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)]
    quiet = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=ROOT, env=quiet, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder
