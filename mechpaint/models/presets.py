"""Models that need no hub, by name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from mechpaint.models.encoders import minilm_folder, rxnfp_folder
from mechpaint.models.gemma import gemma_folder


def _random_triggers() -> Path:
    """A toy with an induction head, 2 layers: triggers differ from sequence to sequence. In mechpaint's own package."""
    return Path(__file__).parents[1] / "toy" / "checkpoint" / "toy-induction"


def _fixed_triggers() -> Path:
    """The same for five triggers that are always the same characters."""
    return Path(__file__).parents[1] / "toy" / "checkpoint" / "toy-induction-fixed"


PRESETS: dict[str, Callable[[], Path]] = {
    "gemma-3-270m": gemma_folder,
    "minilm": minilm_folder,
    "rxnfp": rxnfp_folder,
    "toy-induction": _random_triggers,
    "toy-induction-fixed": _fixed_triggers,
}
"""Models that need no hub: from a name to the folder that holds the model."""
