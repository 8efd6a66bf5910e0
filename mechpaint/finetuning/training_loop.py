"""The training loop: AdamW with linear warmup and decay, and separate seeds for all randomness."""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from mechpaint.finetuning.settings import FineTuning
from mechpaint.statistics.results import Advance

_CLIP = 1.0


def descend(
    parameters: Sequence[nn.Parameter],
    examples: int,
    loss: Callable[[Int[Tensor, " example"]], Float[Tensor, ""]],
    settings: FineTuning,
    advance: Advance,
) -> tuple[float, ...]:
    """Train parameters in place, with gradients clipped to norm 1."""
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
    """Group parameters: matrices decay, biases and norms do not."""
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
    """The indices of the examples of each update, shuffled anew every epoch."""
    generator = torch.Generator().manual_seed(seed_of(f"order {settings.seed}"))
    for _ in range(settings.passes):
        yield from torch.randperm(examples, generator=generator).split(settings.batch)


def seed_of(purpose: str) -> int:
    """A seed for one purpose, so that purposes do not share random streams."""
    return zlib.crc32(purpose.encode())


@contextmanager
def own_randomness(purpose: str, device: torch.device) -> Generator[None]:
    """Seed torch's global generators for a purpose, and restore them afterwards."""
    cuda = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=cuda):
        torch.default_generator.manual_seed(seed_of(purpose))
        if cuda:
            with torch.cuda.device(device):
                torch.cuda.manual_seed(seed_of(purpose))
        yield
