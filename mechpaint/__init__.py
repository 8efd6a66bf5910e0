"""Reroute, repeat, average and read the layers of transformers, as hook sets on TransformerLens models.

import mechpaint as mp
from mechpaint.hooks import Average, Loop, ReadAttention

model = mp.load("gemma-3-270m")
with mp.attach(model, Average(4, 13) + Loop(4, 13, times=3) + ReadAttention(layers=[5])) as session:
    logits = model("The capital of France is")
session.route, session["attention"]
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mechpaint.lazy import on_first_use

if TYPE_CHECKING:
    from mechpaint.checkpoint import CannotExport
    from mechpaint.errors import InputError
    from mechpaint.exporting import Exported, export
    from mechpaint.hookset import Hook, HookSet, HookSetError, Reading
    from mechpaint.models import LoadError, load
    from mechpaint.packaged import WeightsError
    from mechpaint.reroutable import CannotReroute
    from mechpaint.route import Route, RouteError, Step, Visit
    from mechpaint.session import Session, attach
    from mechpaint.sweeping import Sweep, sweep

_HOME = {
    "CannotExport": "checkpoint",
    "CannotReroute": "reroutable",
    "Exported": "exporting",
    "Hook": "hookset",
    "HookSet": "hookset",
    "HookSetError": "hookset",
    "InputError": "errors",
    "LoadError": "models",
    "Reading": "hookset",
    "Route": "route",
    "RouteError": "route",
    "Session": "session",
    "Step": "route",
    "Sweep": "sweeping",
    "Visit": "route",
    "WeightsError": "packaged",
    "attach": "session",
    "export": "exporting",
    "load": "models",
    "sweep": "sweeping",
}

__all__ = [
    "CannotExport",
    "CannotReroute",
    "Exported",
    "Hook",
    "HookSet",
    "HookSetError",
    "InputError",
    "LoadError",
    "Reading",
    "Route",
    "RouteError",
    "Session",
    "Step",
    "Sweep",
    "Visit",
    "WeightsError",
    "attach",
    "export",
    "load",
    "sweep",
]

__version__ = "0.1.0"


__getattr__, __dir__ = on_first_use(__name__, _HOME)
