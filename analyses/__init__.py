"""The built-in analyses, one question a folder."""

from mechpaint.plugins import Registry


def register(registry: Registry) -> None:
    """Make the built-in analyses known by their names."""
