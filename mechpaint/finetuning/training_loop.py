"""The training loop: AdamW with a learning rate that rises and falls linearly. Everything random has its own seed."""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from mechpaint.errors import FineTuningError
from mechpaint.statistics.results import Advance

_CLIP = 1.0


def descend(
    parameters: Sequence[nn.Parameter],
    examples: int,
    loss: Callable[[Int[Tensor, " example"]], Float[Tensor, ""]],
    settings: FineTuning,
    advance: Advance,
) -> tuple[float, ...]:
    """Change parameters in place so that a loss gets smaller. Gradients longer than 1 are shortened to that.

    Args:
        parameters: What learns. Those that the loss does not reach stay as they are.
        examples: How many training examples there are.
        loss: From the numbers of some of them to their mean loss.
        settings: How.
        advance: Called after each update with the number of its examples.

    Returns:
        The loss before each update. If it is no number, which routes can bring about, it is the last one, and the
        parameters stay as they were then.
    """
    optimizer = torch.optim.AdamW(_groups(parameters, settings.weight_decay), lr=settings.rate)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, _rise_and_fall(settings, settings.updates(examples)))
    losses: list[float] = []
    with own_randomness(f"dropout {settings.seed}", parameters[0].device), torch.enable_grad():
        for chosen in _batches(examples, settings):
            value = loss(chosen)
            losses.append(float(value.detach()))
            if not math.isfinite(losses[-1]):
                break
            optimizer.zero_grad()
            value.backward()
            nn.utils.clip_grad_norm_(parameters, _CLIP)
            optimizer.step()
            schedule.step()
            advance(len(chosen))
    return tuple(losses)


def _groups(parameters: Sequence[nn.Parameter], weight_decay: float) -> list[dict[str, object]]:
    """Matrices decay; biases and norms do not."""
    return [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]


def _rise_and_fall(settings: FineTuning, updates: int) -> Callable[[int], float]:
    rising = round(settings.warmup * updates)

    def factor(update: int) -> float:
        if update < rising:
            return (update + 1) / (rising + 1)
        return (updates - update) / max(1, updates - rising)

    return factor


def _batches(examples: int, settings: FineTuning) -> Iterator[Int[Tensor, " example"]]:
    """The numbers of the examples of each update: every epoch in an order of its own."""
    generator = torch.Generator().manual_seed(seed_of(f"order {settings.seed}"))
    for _ in range(settings.passes):
        yield from torch.randperm(examples, generator=generator).split(settings.batch)


def seed_of(what: str) -> int:
    """A seed for one purpose, so that what one draws does not depend on how much another does."""
    return zlib.crc32(what.encode())


@contextmanager
def own_randomness(what: str, device: torch.device) -> Generator[None]:
    """torch's global generators, which layers draw from, seeded for a purpose; afterwards they are as they were."""
    cuda = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=cuda):
        torch.default_generator.manual_seed(seed_of(what))
        if cuda:
            with torch.cuda.device(device):
                torch.cuda.manual_seed(seed_of(what))
        yield


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
            raise FineTuningError(f"learns is one of {', '.join(LEARNS)}, got {self.learns!r}")
        for name, least in (("epochs", 1), ("batch", 1), ("max_length", 3)):
            value = getattr(self, name)
            if value is not None and value < least:
                raise FineTuningError(f"{name} must be {least} or more, got {value}")
        if (self.lr is not None and not self.lr > 0) or not self.weight_decay >= 0 or not 0 <= self.warmup < 1:
            raise FineTuningError(
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
