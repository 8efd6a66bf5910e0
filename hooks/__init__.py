"""The built-in hook sets, one idea a file. To add one, copy the shortest and name it here."""

from mechpaint.hooks.ablate import Ablate
from mechpaint.hooks.average import Average
from mechpaint.hooks.duplicate import Duplicate
from mechpaint.hooks.fill import Fill
from mechpaint.hooks.freeze import Freeze
from mechpaint.hooks.hooks import Hooks
from mechpaint.hooks.knockout import Knockout
from mechpaint.hooks.loop import Loop
from mechpaint.hooks.pair import Pair
from mechpaint.hooks.patch import Patch
from mechpaint.hooks.read import Read
from mechpaint.hooks.read_attention import ReadAttention
from mechpaint.hooks.read_residual import ReadResidual
from mechpaint.hooks.read_stream import ReadStream
from mechpaint.hooks.reroute import Reroute
from mechpaint.hooks.reverse import Reverse
from mechpaint.hooks.sae import SAE
from mechpaint.hooks.scale import Scale
from mechpaint.hooks.shuffle import Shuffle
from mechpaint.hooks.skip import Skip
from mechpaint.hooks.steer import Steer
from mechpaint.hooks.swap import Swap

__all__ = [
    "SAE",
    "Ablate",
    "Average",
    "Duplicate",
    "Fill",
    "Freeze",
    "Hooks",
    "Knockout",
    "Loop",
    "Pair",
    "Patch",
    "Read",
    "ReadAttention",
    "ReadResidual",
    "ReadStream",
    "Reroute",
    "Reverse",
    "Scale",
    "Shuffle",
    "Skip",
    "Steer",
    "Swap",
]

BUILT_IN = (
    Ablate,
    Average,
    Duplicate,
    Fill,
    Freeze,
    Knockout,
    Loop,
    Pair,
    Patch,
    Read,
    ReadAttention,
    ReadResidual,
    ReadStream,
    Reroute,
    Reverse,
    SAE,
    Scale,
    Shuffle,
    Skip,
    Steer,
    Swap,
)
"""Those with a text form: `Hooks` takes functions, which have none."""
