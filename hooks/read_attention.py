"""Keep attention patterns."""

from collections.abc import Sequence
from dataclasses import dataclass

from mechpaint.routes.fields import as_layers
from mechpaint.routes.hookset import HookSet
from mechpaint.routes.readings import Reading


@dataclass(frozen=True)
class ReadAttention(HookSet):
    """Keep attention patterns, as `session["attention"][visit]`: `[batch, head, query, key]`.

    Args:
        layers: Which layer, or layers; None for every layer on the route.
    """

    layers: int | Sequence[int] | None = None

    def reads(self) -> tuple[Reading, ...]:
        """The one reading."""
        return (Reading("attention", "attn.hook_pattern", as_layers(self.layers)),)
