"""What can be wrong with a search."""

from __future__ import annotations

from mechpaint.errors import InputError


class ParetoError(InputError):
    """A search that cannot be: no budget, nothing to look for, no task that the model can do."""
