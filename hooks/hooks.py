"""Anyone's own TransformerLens hooks."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from mechpaint.routes.hookset import HookSet
from mechpaint.routes.readings import Hook, HookFunction


@dataclass(frozen=True)
class Hooks(HookSet):
    """Install plain TransformerLens hooks while a session lasts; they fire on every visit.

    Args:
        functions: Pairs of a hook name, or a filter on names, and a function `(activation, hook) -> None | activation`.
    """

    functions: Sequence[tuple[str | Callable[[str], bool], HookFunction]]

    def hooks(self) -> tuple[Hook, ...]:
        """The hooks as given."""
        return tuple(Hook(where, call) for where, call in self.functions)
