"""Encoding of examples as token rows, as in GLUE's scripts."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from jaxtyping import Int
from torch import Tensor
from transformer_lens.model_bridge import TransformerBridge

from mechpaint.errors import TrainingError
from mechpaint.finetuning.benchmarks import Example
from mechpaint.finetuning.model_copies import padding
from mechpaint.models.bridges import stored_tokenizer
from mechpaint.models.loading import require_tokenizer


@dataclass(frozen=True)
class Rows:
    """Token rows by input name (`input_ids`, `token_type_ids`), the padding token, and the number truncated."""

    inputs: dict[str, tuple[tuple[int, ...], ...]]
    pad: int
    truncated: int = 0

    def __len__(self) -> int:
        return len(self.inputs["input_ids"])

    def lengths(self) -> Int[Tensor, " row"]:
        """The length of each row in tokens."""
        return torch.tensor([len(row) for row in self.inputs["input_ids"]])

    def some(self, chosen: Int[Tensor, " example"]) -> Rows:
        """Select rows."""
        numbers: list[int] = cast(Any, chosen).tolist()
        return Rows({name: tuple(rows[i] for i in numbers) for name, rows in self.inputs.items()}, self.pad)

    def batch(self, chosen: Int[Tensor, " example"], device: Any) -> dict[str, Int[Tensor, "example position"]]:
        """Pad rows on the right to equal length, with their attention mask."""
        numbers: list[int] = cast(Any, chosen).tolist()
        made = {
            name: _padded([rows[i] for i in numbers], self.pad if name == "input_ids" else 0)
            for name, rows in self.inputs.items()
        }
        made["attention_mask"] = _padded([(1,) * len(self.inputs["input_ids"][i]) for i in numbers], 0)
        return {name: tensor.to(device) for name, tensor in made.items()}


def encode(model: TransformerBridge, examples: Sequence[Example], max_length: int) -> Rows:
    """Encode examples as token rows, with the tokenizer's special tokens."""
    require_tokenizer(model, "fine-tuning on texts")
    tokenizer: Any = stored_tokenizer(model)
    limit = min(max_length, _context(model))
    given = [list(column) for column in zip(*(example.texts for example in examples), strict=True)]
    whole: Any = tokenizer(*given, truncation=False, verbose=False)
    cut: Any = tokenizer(*given, truncation="longest_first", max_length=limit, verbose=False)
    for example, row in zip(examples, cut["input_ids"], strict=True):
        if not row:
            raise TrainingError(f"example {example.name} has no tokens: {example.texts!r}")
    # tokenizers return token types even for models that do not take them
    taken = inspect.signature(cast(Any, model.original_model).forward).parameters
    names = [name for name in ("input_ids", "token_type_ids") if name in cut and name in taken]
    truncated = sum(len(row) > limit for row in whole["input_ids"])
    return Rows({name: tuple(map(tuple, cut[name])) for name in names}, padding(model), truncated)


def _context(model: TransformerBridge) -> int:
    """The model's context length."""
    config: Any = cast(Any, model.original_model).config
    positions = getattr(config, "max_position_embeddings", None)
    # RoBERTa counts two positions that it cannot use
    return positions - 2 if isinstance(positions, int) and positions > 2 else 2**20


def _padded(rows: Sequence[Sequence[int]], fill: int) -> Int[Tensor, "row position"]:
    made = torch.full((len(rows), max(map(len, rows))), fill, dtype=torch.long)
    for i, row in enumerate(rows):
        made[i, : len(row)] = torch.tensor(row, dtype=torch.long)
    return made
