"""How many tokens should go through a model together: as many as pay, if they fit into memory."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import psutil
import torch

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge

_SHARE = 0.5
"""The share of the free memory that a batch is planned for: an estimate it is, and others need some too."""


def tokens_that_pay(device: torch.device) -> int:
    """How many tokens a layer call takes before more of them make it no faster by the token.

    Measured on a CPU (Speed, in the documentation). On accelerators it is an assumption: that matrices of so many rows
    fill them."""
    return 1024 if device.type == "cpu" else 16_384


def optimal_batch_rows(model: TransformerBridge, lengths: Iterable[int]) -> int:
    """How many rows of tokens should go through a model together, at least one.

    As many as pay, or if that is less as fit into half of the memory that is free now. Should they not fit after all,
    scoring goes on with half of them."""
    device, longest = torch.device(str(model.cfg.device)), max(lengths)
    fits = int(_SHARE * free_memory(device)) // (longest * _bytes_a_token(model, longest))
    return max(1, min(tokens_that_pay(device) // longest, fits))


def free_memory(device: torch.device) -> int:
    """How many bytes of memory are free on a device now."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    if device.type == "mps":
        return torch.mps.recommended_max_memory() - torch.mps.driver_allocated_memory()
    return psutil.virtual_memory().available


def _bytes_a_token(model: TransformerBridge, longest: int) -> int:
    """About what one token takes while its layer runs: copies of the stream, the feed-forward part, and attention."""
    width, hidden = int(model.cfg.d_model), int(model.cfg.d_mlp or 4 * model.cfg.d_model)
    attention = 3 * int(model.cfg.n_heads) * longest  # scores, masked, and as probabilities
    return 4 * (24 * width + 3 * hidden + attention)


_SAID = ("out of memory", "can't allocate memory", "cannot allocate memory")
"""How devices say it that raise no `OutOfMemoryError`: the CPU and Apple's."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that a device has not enough memory."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error).lower() for words in _SAID)


def clear_device_cache() -> None:
    """Give back what torch keeps of the devices' memory for itself."""
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    if torch.backends.mps.is_available():
        torch.mps.empty_cache()
