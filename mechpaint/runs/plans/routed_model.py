"""A model, and the hook sets that follow each of an analysis's own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from mechpaint.engine.route_runner import RouteRunner
from mechpaint.errors import HookSetError
from mechpaint.models.loading import digest
from mechpaint.routes.hookset import HookSet

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge


@dataclass(frozen=True)
class RoutedModel:
    """A model to be analysed.

    Args:
        model: The bridge.
        name: What it is called in reports.
        hooks: Hook sets that reroute, applied after each of an analysis's own.

    Raises:
        HookSetError: `hooks` do more than reroute.
        CannotReroute: This model's layers cannot be rerouted.
    """

    model: TransformerBridge
    name: str
    hooks: HookSet = field(default_factory=HookSet)

    def __post_init__(self) -> None:
        if not self.hooks.only_reroutes():
            raise HookSetError(f"an analysis is run under hook sets that reroute; {self.hooks} also reads or hooks")
        _ = self.n_layers

    @cached_property
    def n_layers(self) -> int:
        """The number of layers."""
        return RouteRunner(self.model).n_layers

    @cached_property
    def weights(self) -> str:
        """A SHA-256 of its configuration and parameters."""
        return digest(self.model)

    @property
    def dtype(self) -> str:
        """The dtype that it computes in."""
        return str(self.model.cfg.dtype)

    def hooked(self, hook_sets: Mapping[str, HookSet]) -> dict[str, HookSet]:
        """An analysis's hook sets, each followed by the model's."""
        return {label: hook_set + self.hooks for label, hook_set in hook_sets.items()}

    def details(self) -> list[tuple[str, str]]:
        """Its lines among a report's details."""
        return [
            ("model", f"{self.name} ({self.n_layers} layers)"),
            ("weights", f"SHA-256 {self.weights[:16]}…, {self.dtype}"),
        ]
