"""The number of tokens to send through a model together: as many as pay, if they fit into memory."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import psutil
import torch

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge

_SHARE = 0.5
"""The share of the free memory that a batch is planned for: an estimate it is, and others need some too."""


def tokens_that_pay(device: torch.device) -> int:
    """Tokens beyond which a layer call is no faster per token: measured on a CPU, assumed on accelerators."""
    return 1024 if device.type == "cpu" else 16_384


def optimal_batch_rows(model: TransformerBridge, lengths: Iterable[int]) -> int:
    """Rows to send through a model together: as many as pay, or as fit into half of the free memory; at least one."""
    device, longest = torch.device(str(model.cfg.device)), max(lengths)
    fits = int(_SHARE * free_memory(device)) // (longest * _bytes_a_token(model, longest))
    return max(1, min(tokens_that_pay(device) // longest, fits))


def optimal_tree_rows(model: TransformerBridge, items: Sequence[Sequence[Sequence[int]]]) -> int:
    """Rows to send through a model together, if rows that begin alike run their beginnings once; given each item's."""
    from mechpaint.engine.token_tree import PAIRS_A_TOKEN, alike, best_length, distinct
    from mechpaint.engine.tree_attention import shares_tokens

    every = [tuple(row) for rows in items for row in rows]
    longest = max(map(len, every))
    device = torch.device(str(model.cfg.device))
    shared = alike(min(every), max(every))
    own = max(1.0, *((distinct(rows) - shared) / len(rows) for rows in items))
    positions = max(tokens_that_pay(device), best_length(shared, PAIRS_A_TOKEN * int(model.cfg.d_model)))
    fits = int(_SHARE * free_memory(device)) // _bytes_a_token(model, positions)
    alone, together = optimal_batch_rows(model, [longest]), int((min(positions, fits) - shared) / own)
    if min(together, len(every)) <= alone or not shares_tokens(model, longest, min(positions, distinct(every))):
        return alone
    return together


def free_memory(device: torch.device) -> int:
    """Bytes of memory that are free on a device now."""
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
"""The words of devices that raise no `OutOfMemoryError`: the CPU and Apple's."""


def is_out_of_memory(error: BaseException) -> bool:
    """Recognise errors that say that a device has run out of memory."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error).lower() for words in _SAID)


def clear_device_cache() -> None:
    """Give back what torch keeps of the devices' memory for itself."""
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    if torch.backends.mps.is_available():
        torch.mps.empty_cache()
