"""Values that shells complete. Nothing here imports torch: a shell waits for them at every press of a key."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

Complete = Callable[[str], list[str]]


def models(incomplete: str) -> list[str]:
    """Presets; a shell completes folders itself where none fits."""
    from mechpaint.models.presets import PRESETS

    return _beginning(incomplete, PRESETS)


def tasks(incomplete: str) -> list[str]:
    """Tasks, without what follows a colon."""
    from mechpaint.tasks import BUILT_IN

    return _beginning(incomplete, (task.name for task in BUILT_IN))


def hook_sets(incomplete: str) -> list[str]:
    """Hook sets, of which the last after a plus is completed."""
    from mechpaint.hooks import BUILT_IN

    before, plus, last = incomplete.rpartition("+")
    return [f"{before}{plus}{name}" for name in _beginning(last, (hook_set.text_name() for hook_set in BUILT_IN))]


def runs(incomplete: str) -> list[str]:
    """Runs in `runs`, the folder that analyses write to by default."""
    return _beginning(incomplete, sorted(f"{path.parent.parent.name}/{path.parent.name}" for path in _manifests()))


def _manifests() -> Iterable[Path]:
    return Path("runs").glob("*/*/run.json")


def _among(*names: str) -> Complete:
    return lambda incomplete: _beginning(incomplete, names)


def _beginning(incomplete: str, names: Iterable[str]) -> list[str]:
    return [name for name in names if name.startswith(incomplete)]


COMPLETIONS: dict[str, Complete] = {
    "model": models,
    "task": tasks,
    "hooks": hook_sets,
    "device": _among("cpu", "cuda", "mps"),
    "dtype": _among("float32", "bfloat16", "float16"),
    "engine": _among("here", "ray"),
}
"""What completes the options of these names."""
