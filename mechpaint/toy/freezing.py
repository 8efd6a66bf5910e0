"""Schedules for frozen matrices: `"W_O^2 until 100, W_K^1 until 300, W_E"`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from torch import nn

from mechpaint.errors import TrainingError


@dataclass(frozen=True, slots=True)
class Freeze:
    """A matrix that is frozen, for a while or always.

    Args:
        matrix: The paper's name, such as `W_O^2`.
        until: The first step at which it learns; None for never.
    """

    matrix: str
    until: int | None = None

    def __str__(self) -> str:
        return self.matrix if self.until is None else f"{self.matrix} until {self.until}"


def parse_freezes(text: str) -> tuple[Freeze, ...]:
    """Read a schedule: names, each with an optional `until STEP`, separated by commas.

    Args:
        text: A schedule such as `"W_O^2 until 100, W_K^1 until 300, W_E"`. Without a step, a matrix never learns.

    Raises:
        TrainingError: Text that is not a schedule.
    """
    freezes: list[Freeze] = []
    for part in filter(None, map(str.strip, text.split(","))):
        match = re.fullmatch(r"(\S+)(?:\s+until\s+(\d+))?", part)
        if not match:
            raise TrainingError(f"cannot read {part!r}: expected a matrix and a step, such as 'W_O^2 until 100'")
        freezes.append(Freeze(match[1], int(match[2]) if match[2] else None))
    return tuple(freezes)


class FreezingSchedule:
    """Freezes of one model's parameters; those that never learn stay frozen."""

    def __init__(self, model: nn.Module, freezes: Sequence[Freeze]) -> None:
        known = parameters_by_paper_name(model)
        learned = {name: [p for p in own if p.requires_grad] for name, own in known.items()}
        self._frozen: list[tuple[nn.Parameter, int | None]] = []
        for freeze in freezes:
            if not learned.get(freeze.matrix):
                why = "never learns in this model" if freeze.matrix in known else "names no parameter of this model"
                names = ", ".join(name for name, own in learned.items() if own)
                raise TrainingError(f"{freeze.matrix!r} {why}; what can be frozen: {names}")
            self._frozen += [(parameter, freeze.until) for parameter in learned[freeze.matrix]]

    def apply(self, step: int) -> None:
        """Freeze and thaw parameters for a step, counted from 0."""
        for parameter, until in self._frozen:
            parameter.requires_grad_(until is not None and step >= until)
            if not parameter.requires_grad:
                parameter.grad = None

    def lift(self) -> None:
        """Thaw everything that the schedule froze."""
        for parameter, _ in self._frozen:
            parameter.requires_grad_(True)


_PARTS = {
    r"tok_embed\..*": "W_E",
    r"pos\..*": "P",
    r"head\..*": "W_U",
    r"ln_out\..*": "LN",
    r"layers\.(\d+)\.attn\.q\..*": "W_Q",
    r"layers\.(\d+)\.attn\.k\..*": "W_K",
    r"layers\.(\d+)\.attn\.v\..*": "W_V",
    r"layers\.(\d+)\.attn\.o\..*": "W_O",
    r"layers\.(\d+)\.(?:ff|mlp)\..*": "W_F",
    r"layers\.(\d+)\.ln\d\..*": "LN",
}


def paper_name(parameter: str) -> str:
    """The paper's name of a parameter, layers counted from 1: `layers.1.attn.o.weight` is `W_O^2`."""
    for pattern, name in _PARTS.items():
        match = re.fullmatch(pattern, parameter)
        if match:
            return f"{name}^{int(match[1]) + 1}" if match.groups() else name
    return parameter


def parameters_by_paper_name(model: nn.Module) -> dict[str, list[nn.Parameter]]:
    """All parameters of a toy model, by the paper's names."""
    named: dict[str, list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        named.setdefault(paper_name(name), []).append(parameter)
    return named
