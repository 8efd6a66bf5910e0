"""How long a text a model can take: said before anything runs, where the model itself would fail obscurely."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from transformer_lens.model_bridge import TransformerBridge

from mechpaint.errors import InputError


class TextTooLong(InputError):
    """More tokens than the model has positions for."""


_TABLES_WITHIN = ("GPTJForCausalLM", "CodeGenForCausalLM", "MptForCausalLM")
"""Models that keep a table of positions elsewhere than in an embedding."""


class PositionCheck:
    """A forward pre-hook of a Hugging Face model that refuses texts longer than its table of positions.

    Models without a table, those with rotary positions for one, are asked for nothing: they go beyond the length that
    they were trained on.
    """

    def __init__(self, model: TransformerBridge) -> None:
        self.name = type(model.original_model).__name__
        table = getattr(getattr(model, "pos_embed", None), "original_component", None)
        self._has_table = isinstance(table, nn.Embedding) or self.name in _TABLES_WITHIN
        config = getattr(model.original_model, "config", None)
        self._columns = int(model.cfg.n_ctx)
        self._rows = max(self._columns, getattr(config, "max_position_embeddings", 0) or 0)

    def __call__(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Raise `TextTooLong` if this forward pass needs a position that is not there."""
        given = kwargs.get("input_ids", kwargs.get("inputs_embeds", args[0] if args else None))
        if not self._has_table or not isinstance(given, Tensor) or given.ndim < 2:
            return
        cache = kwargs.get("past_key_values")
        past = 0 if cache is None else int(cache.get_seq_length())
        needed, there = given.shape[1] + past, self._columns
        if needed <= there:
            return
        positions, mask = kwargs.get("position_ids"), kwargs.get("attention_mask")
        if isinstance(positions, Tensor):
            needed, there = int(positions.max()) + 1, self._rows
        elif isinstance(mask, Tensor) and mask.ndim == 2:
            needed = int(mask.sum(-1).max())
        if needed > there:
            held = f" ({past} in the key-value cache, {given.shape[1]} new)" if past else ""
            raise TextTooLong(
                f"{self.name} has {there} positions, and this text needs {needed}{held}: "
                "give a shorter one, or generate fewer tokens"
            )
