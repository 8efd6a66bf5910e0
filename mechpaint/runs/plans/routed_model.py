"""A model, and the hook sets that follow each of an analysis's own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mechpaint.engine.route_runner import RouteRunner
from mechpaint.errors import HookSetError
from mechpaint.models.loading import digest
from mechpaint.routes.hookset import HookSet
from mechpaint.routes.where_present import WherePresent

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge


@dataclass(frozen=True)
class RoutedModel:
    """A model to be analysed.

    Args:
        model: The bridge.
        name: What it is called in reports.
        hooks: Hook sets that reroute or change activations, applied after each of an analysis's own.

    Raises:
        HookSetError: `hooks` read or hook, or hold something in memory that a later session could not be given.
        CannotReroute: This model's layers cannot be rerouted.
    """

    model: TransformerBridge
    name: str
    hooks: HookSet = field(default_factory=HookSet)

    def __post_init__(self) -> None:
        if not self.hooks.only_edits():
            raise HookSetError(
                f"an analysis runs under hook sets that reroute or change activations; {self.hooks} also reads or hooks"
            )
        _ = self.n_layers, self.files

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
        hooks = WherePresent(self.hooks) if self.hooks.edits() else self.hooks
        return {label: hook_set + hooks for label, hook_set in hook_sets.items()}

    @cached_property
    def files(self) -> dict[str, str]:
        """The SHA-256 of each file that the hook sets depend on."""
        return {file: _digest(Path(file)) for file in self.hooks.files()}

    @property
    def settings_of_hooks(self) -> dict[str, Any]:
        """The hook sets' text, and what is in the files that they depend on."""
        return {"hooks": str(self.hooks), **({"files": self.files} if self.files else {})}

    def details(self) -> list[tuple[str, str]]:
        """Its lines among a report's details."""
        return [
            ("model", f"{self.name} ({self.n_layers} layers)"),
            ("weights", f"SHA-256 {self.weights[:16]}…, {self.dtype}"),
        ]


def _digest(place: Path) -> str:
    """Of a file, or of the files in a folder."""
    place = place.expanduser()
    files = sorted(path for path in place.iterdir() if path.is_file()) if place.is_dir() else [place]
    return sha256(b"".join(sha256(file.read_bytes()).digest() for file in files)).hexdigest()
