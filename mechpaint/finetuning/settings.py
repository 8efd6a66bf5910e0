"""How to fine-tune: settings that need no torch."""

from __future__ import annotations

from dataclasses import dataclass

from mechpaint.errors import TrainingError

LEARNS = ("all", "layers", "head")
"""What can learn: everything that the route uses; its layers and the head; the head alone, the body frozen."""


@dataclass(frozen=True)
class FineTuning:
    """How to fine-tune. The defaults are those usual for GLUE.

    Args:
        learns: `"all"`: everything that the route uses, embeddings included; `"layers"`: the layers on the route, and
            the head; `"head"`: the head alone, on a frozen body. Layers that the route skips never change.
        epochs: How many times the training examples are gone through; None for 3, or 30 where only the head learns.
        batch: How many examples an update.
        lr: The learning rate at its highest; None for 5e-5, or 5e-3 where only the head learns.
        warmup: The share of the updates over which the learning rate rises linearly; it then falls linearly to 0.
        weight_decay: Of AdamW, on matrices; biases and norms are left out.
        max_length: How many tokens of an example are read at most. Longer ones are truncated, and counted.
        seed: Of the head's first weights, the order of the examples, and dropout.
    """

    learns: str = "all"
    epochs: int | None = None
    batch: int = 16
    lr: float | None = None
    warmup: float = 0.1
    weight_decay: float = 0.01
    max_length: int = 128
    seed: int = 0

    def __post_init__(self) -> None:
        if self.learns not in LEARNS:
            raise TrainingError(f"learns is one of {', '.join(LEARNS)}, got {self.learns!r}")
        for name, least in (("epochs", 1), ("batch", 1), ("max_length", 3)):
            value = getattr(self, name)
            if value is not None and value < least:
                raise TrainingError(f"{name} must be {least} or more, got {value}")
        if (self.lr is not None and not self.lr > 0) or not self.weight_decay >= 0 or not 0 <= self.warmup < 1:
            raise TrainingError(
                "expected lr above 0, weight_decay of 0 or more and warmup from 0 to below 1, "
                f"got {self.lr}, {self.weight_decay} and {self.warmup}"
            )

    @property
    def rate(self) -> float:
        """The learning rate at its highest."""
        return self.lr if self.lr is not None else 5e-3 if self.learns == "head" else 5e-5

    @property
    def passes(self) -> int:
        """How many times the training examples are gone through."""
        return self.epochs if self.epochs is not None else 30 if self.learns == "head" else 3

    def updates(self, examples: int) -> int:
        """How many updates that is.

        Args:
            examples: How many training examples there are.
        """
        return self.passes * -(-examples // self.batch)
