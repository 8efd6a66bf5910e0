"""The site, built once for all tests that look at it."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys

import pytest

from tests.docs.fences import ROOT


@pytest.fixture(scope="session")
def site(tmp_path_factory):
    """The site's folder. Building it is strict: a broken link, an unknown name or parameter fails."""
    folder = tmp_path_factory.mktemp("site")
    shutil.copytree(ROOT / "docs", folder / "docs")
    shutil.copy(ROOT / "mkdocs.yml", folder)
    (folder / "mechpaint").symlink_to(ROOT / "mechpaint")
    command = [sys.executable, "-m", "zensical", "build", "--strict"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, re.sub(r"\x1b\[[\d;]*m", "", done.stdout + done.stderr)
    return folder / "build" / "site"
