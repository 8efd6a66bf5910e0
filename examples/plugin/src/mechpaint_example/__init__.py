"""A plugin of mechpaint: a hook set, a task and an analysis.

This module is imported by `mechpaint list` and `mechpaint analyze`: so nothing here imports torch, pandas or matplotlib
where it stands. The files import them inside of functions, and for type checkers only.
"""

from mechpaint.plugins import Registry
from mechpaint_example.rotate import Rotate
from mechpaint_example.rotations import Rotations
from mechpaint_example.weekdays import Weekdays

__all__ = ["Rotate", "Rotations", "Weekdays"]


def register(registry: Registry) -> None:
    """Make them known to mechpaint, which calls this."""
    registry.add_hook_set(Rotate)
    registry.add_task(Weekdays)
    registry.add_analysis(Rotations)
