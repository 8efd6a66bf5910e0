"""What can be wrong with runs that are to be compared."""

from __future__ import annotations

from mechpaint.errors import InputError


class ComparisonError(InputError):
    """Runs that cannot be compared: too few, of different analyses, or without anything in common."""
