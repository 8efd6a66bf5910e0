"""What patching measures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor

from mechpaint.errors import InputError
from mechpaint.models.token_text import one_row

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge

Metric: TypeAlias = Callable[[Float[Tensor, "batch vocab"]], Float[Tensor, ""]]
"""From the logits at the last position of each row to a number."""


def logit_difference(
    model: TransformerBridge, right: str | int | Sequence[int], wrong: str | int | Sequence[int]
) -> Metric:
    """The logit of a right token less that of a wrong one, mean over rows (Wang et al. 2022, arXiv 2211.00593, 2.1).

    Args:
        model: The bridge, whose tokenizer reads texts.
        right: The token that is right after the clean prompt: a text of one token, such as `" Mary"`, or its id; a list
            of ids, one a row.
        wrong: The token that is right after the corrupted prompt, likewise.

    Raises:
        InputError: A text of several tokens.
    """
    a, b = _ids(model, right), _ids(model, wrong)

    def difference(logits: Float[Tensor, "batch vocab"]) -> Float[Tensor, ""]:
        rows = torch.arange(len(logits), device=logits.device)
        return (logits[rows, a.to(logits.device)] - logits[rows, b.to(logits.device)]).mean()

    return difference


def _ids(model: TransformerBridge, given: str | int | Sequence[int]) -> Tensor:
    if not isinstance(given, str):
        return torch.as_tensor(given)
    tokens = one_row(model, given)[0]
    plain = (
        tokens[1:] if len(tokens) > 1 and int(tokens[0]) == getattr(model.tokenizer, "bos_token_id", None) else tokens
    )
    if len(plain) != 1:
        raise InputError(f"{given!r} has {len(plain)} tokens: expected one, such as ' Mary' with its space, or its id")
    return plain[0]
