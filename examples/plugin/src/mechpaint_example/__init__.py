"""A plugin of mechpaint: a hook set, a task and an analysis.

`mechpaint list` and `mechpaint analyze` import this module, so torch, pandas and matplotlib are imported only inside
functions and for type checkers.
"""

from mechpaint.plugins import Registry
from mechpaint_example.rotate import Rotate
from mechpaint_example.rotations import Rotations
from mechpaint_example.weekdays import Weekdays

__all__ = ["Rotate", "Rotations", "Weekdays"]


def register(registry: Registry) -> None:
    """Register them. mechpaint calls this."""
    registry.add_hook_set(Rotate)
    registry.add_task(Weekdays)
    registry.add_analysis(Rotations)
