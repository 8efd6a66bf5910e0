"""The built-in analyses, one question a folder."""

from mechpaint.analyses.painters import Painters
from mechpaint.plugins import Registry

__all__ = ["Painters"]


def register(registry: Registry) -> None:
    """Make the built-in analyses known by their names."""
    registry.add_analysis(Painters)
