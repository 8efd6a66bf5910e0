"""Models that need no hub, by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from mechpaint.errors import LoadError, nearest, there_is_no
from mechpaint.files import is_folder
from mechpaint.models.presets.encoders import MINILM, RXNFP
from mechpaint.models.presets.gemma import GEMMA
from mechpaint.models.presets.packaged import PackagedModel
from mechpaint.models.presets.smollm2 import SMOLLM2

_TOYS = Path(__file__).parents[2] / "toy" / "checkpoint"


@dataclass(frozen=True, slots=True)
class Preset:
    """A model by name.

    Attributes:
        about: What it is, in a line.
        folder: Gives the folder that holds it; a packaged model is converted on first use.
        packaged: Where it comes from, if not with mechpaint.
    """

    about: str
    folder: Callable[[], Path]
    packaged: PackagedModel | None = None


def _of(model: PackagedModel, about: str) -> Preset:
    return Preset(f"{about}, {model.size / 1e6:.0f} MB", model.folder, model)


PRESETS: dict[str, Preset] = {
    "smollm2-135m": _of(SMOLLM2, "SmolLM2-135M-Instruct: 30 layers, 135 million parameters, Llama's architecture"),
    "gemma-3-270m": _of(GEMMA, "Gemma-3-270M: 18 layers, 268 million parameters"),
    "minilm": _of(MINILM, "all-MiniLM-L6-v2, English sentences: a BERT body, 6 layers, 23 million parameters"),
    "rxnfp": _of(RXNFP, "BERT of chemical reactions with its MLM head: 12 layers, 6.7 million parameters"),
    "toy-induction": Preset(
        "A toy with an induction head, 2 layers: triggers differ from sequence to sequence. Comes with mechpaint",
        lambda: _TOYS / "toy-induction",
    ),
    "toy-induction-fixed": Preset(
        "The same for five triggers that are always the same characters. Comes with mechpaint",
        lambda: _TOYS / "toy-induction-fixed",
    ),
}
"""All presets. `get` fetches the packaged ones."""


def check_name(name: str) -> None:
    """Refuse what is nearly a preset, and neither a folder nor an owner's on the hub: `gemma`, `smolm2-135m`."""
    if name not in PRESETS and "/" not in name and nearest(name, PRESETS) and not is_folder(Path(name)):
        raise LoadError(f"{there_is_no('model', name, PRESETS)}, folders, and names on the hub, such as owner/name")
