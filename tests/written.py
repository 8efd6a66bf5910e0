"""What a run has left on disk, but for what is of the machine."""

from __future__ import annotations

import json
from pathlib import Path


def written(run_folder: Path) -> dict[str, bytes]:
    """Every file of a run, without the environment that its `run.json` tells and what killed processes have left."""
    files = [path for path in run_folder.rglob("*") if path.is_file() and not path.name.startswith(".unfinished-")]
    assert all(path.stat().st_size for path in files)
    return {path.relative_to(run_folder).as_posix(): _bytes(path) for path in files}


def _bytes(path: Path) -> bytes:
    if path.name != "run.json":
        return path.read_bytes()
    manifest = json.loads(path.read_text())
    assert manifest.pop("environment")["versions"]["torch"]
    return json.dumps(manifest).encode()
