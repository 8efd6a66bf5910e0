"""What to do where memory is not enough: the same work in smaller pieces."""

from __future__ import annotations

import torch

_SAID = ("out of memory", "can't allocate memory", "cannot allocate memory")
"""How devices say it that raise no `OutOfMemoryError`: the CPU and Apple's."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that a device has not enough memory.

    Args:
        error: What was raised.
    """
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error).lower() for words in _SAID)


def let_go_of_memory() -> None:
    """Give back what torch keeps of the devices' memory for itself."""
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    if torch.backends.mps.is_available():
        torch.mps.empty_cache()
