"""Settings of fine-tuning, without torch."""

from __future__ import annotations

from dataclasses import dataclass

from mechpaint.errors import TrainingError

LEARNS = ("all", "layers", "head")
"""The parts that learn: all that the route uses; its layers and the head; the head alone."""


@dataclass(frozen=True)
class FineTuning:
    """Settings of fine-tuning; the defaults are the usual ones for GLUE.

    Args:
        learns: `"all"`: everything that the route uses, embeddings included; `"layers"`: the layers on the route and
            the head; `"head"`: the head alone, on a frozen body. Skipped layers never change.
        epochs: Passes over the training examples; None for 3, or 30 if only the head learns.
        batch: Examples per update.
        lr: Peak learning rate; None for 5e-5, or 5e-3 if only the head learns.
        warmup: The share of updates over which the learning rate rises linearly; it then falls linearly to 0.
        weight_decay: AdamW's weight decay, on matrices but not on biases and norms.
        max_length: The most tokens read of an example. Longer examples are truncated, and counted.
        seed: Random seed of the head's initial weights, the order of examples, and dropout.

    Raises:
        TrainingError: A setting out of range.
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
        """The peak learning rate."""
        return self.lr if self.lr is not None else 5e-3 if self.learns == "head" else 5e-5

    @property
    def passes(self) -> int:
        """The number of passes over the training examples."""
        return self.epochs if self.epochs is not None else 30 if self.learns == "head" else 3

    def updates(self, examples: int) -> int:
        """The number of updates.

        Args:
            examples: The number of training examples.
        """
        return self.passes * -(-examples // self.batch)
