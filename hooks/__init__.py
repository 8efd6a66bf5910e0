"""The built-in hook sets, one idea a file. To add one, copy the shortest and name it here."""

from mechpaint.hooks.average import Average
from mechpaint.hooks.duplicate import Duplicate
from mechpaint.hooks.fill import Fill
from mechpaint.hooks.hooks import Hooks
from mechpaint.hooks.loop import Loop
from mechpaint.hooks.pair import Pair
from mechpaint.hooks.read import Read
from mechpaint.hooks.read_attention import ReadAttention
from mechpaint.hooks.read_residual import ReadResidual
from mechpaint.hooks.reroute import Reroute
from mechpaint.hooks.reverse import Reverse
from mechpaint.hooks.shuffle import Shuffle
from mechpaint.hooks.skip import Skip
from mechpaint.hooks.swap import Swap

__all__ = [
    "Average",
    "Duplicate",
    "Fill",
    "Hooks",
    "Loop",
    "Pair",
    "Read",
    "ReadAttention",
    "ReadResidual",
    "Reroute",
    "Reverse",
    "Shuffle",
    "Skip",
    "Swap",
]

BUILT_IN = (
    Average,
    Duplicate,
    Fill,
    Loop,
    Pair,
    Read,
    ReadAttention,
    ReadResidual,
    Reroute,
    Reverse,
    Shuffle,
    Skip,
    Swap,
)
"""Those with a text form: `Hooks` takes functions, which have none."""
