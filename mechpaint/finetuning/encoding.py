"""From examples to the token rows that a model reads, as GLUE's own scripts make them."""

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
from mechpaint.models.loading import require_tokenizer, stored_tokenizer


@dataclass(frozen=True)
class Rows:
    """Token rows of different lengths.

    Attributes:
        inputs: For each name that the model knows (`input_ids`, `token_type_ids`) every row's numbers.
        pad: The token that fills rows up on the right.
        truncated: How many rows were longer than the model, or the settings, allow.
    """

    inputs: dict[str, tuple[tuple[int, ...], ...]]
    pad: int
    truncated: int = 0

    def __len__(self) -> int:
        return len(self.inputs["input_ids"])

    def lengths(self) -> Int[Tensor, " row"]:
        """How many tokens each has."""
        return torch.tensor([len(row) for row in self.inputs["input_ids"]])

    def some(self, chosen: Int[Tensor, " example"]) -> Rows:
        """Only these rows."""
        numbers: list[int] = cast(Any, chosen).tolist()
        return Rows({name: tuple(rows[i] for i in numbers) for name, rows in self.inputs.items()}, self.pad)

    def batch(self, chosen: Int[Tensor, " example"], device: Any) -> dict[str, Int[Tensor, "example position"]]:
        """Some rows, padded on the right to equal length, with their attention mask."""
        numbers: list[int] = cast(Any, chosen).tolist()
        made = {
            name: _padded([rows[i] for i in numbers], self.pad if name == "input_ids" else 0)
            for name, rows in self.inputs.items()
        }
        made["attention_mask"] = _padded([(1,) * len(self.inputs["input_ids"][i]) for i in numbers], 0)
        return {name: tensor.to(device) for name, tensor in made.items()}


def encode(model: TransformerBridge, examples: Sequence[Example], max_length: int) -> Rows:
    """Examples as token rows, with the special tokens that the tokenizer puts around a text or a pair."""
    require_tokenizer(model, "fine-tuning on texts")
    tokenizer: Any = stored_tokenizer(model)
    limit = min(max_length, _context(model))
    given = [list(column) for column in zip(*(example.texts for example in examples), strict=True)]
    whole: Any = tokenizer(*given, truncation=False, verbose=False)
    cut: Any = tokenizer(*given, truncation="longest_first", max_length=limit, verbose=False)
    for example, row in zip(examples, cut["input_ids"], strict=True):
        if not row:
            raise TrainingError(f"example {example.name} has no tokens: {example.texts!r}")
    # tokenizers give token types to models that do not take them
    taken = inspect.signature(cast(Any, model.original_model).forward).parameters
    names = [name for name in ("input_ids", "token_type_ids") if name in cut and name in taken]
    truncated = sum(len(row) > limit for row in whole["input_ids"])
    return Rows({name: tuple(map(tuple, cut[name])) for name in names}, padding(model), truncated)


def _context(model: TransformerBridge) -> int:
    """How many tokens the model takes."""
    config: Any = cast(Any, model.original_model).config
    positions = getattr(config, "max_position_embeddings", None)
    # RoBERTa counts two positions more than it can take
    return positions - 2 if isinstance(positions, int) and positions > 2 else 2**20


def _padded(rows: Sequence[Sequence[int]], fill: int) -> Int[Tensor, "row position"]:
    made = torch.full((len(rows), max(map(len, rows))), fill, dtype=torch.long)
    for i, row in enumerate(rows):
        made[i, : len(row)] = torch.tensor(row, dtype=torch.long)
    return made
