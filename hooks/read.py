"""Keep an activation at every visit of some layers."""

from collections.abc import Sequence
from dataclasses import dataclass

from mechpaint.routes.fields import as_layers
from mechpaint.routes.hookset import HookSet
from mechpaint.routes.readings import Reading


@dataclass(frozen=True)
class Read(HookSet):
    """Keep the activations at a hook point inside layers, as `session[point][visit]`.

    Args:
        point: The hook point inside a block, such as `"mlp.hook_out"` or `"attn.hook_pattern"`.
        layers: Which layer, or layers; None for every layer on the route.
    """

    point: str
    layers: int | Sequence[int] | None = None

    def reads(self) -> tuple[Reading, ...]:
        """The one reading."""
        return (Reading(self.point, self.point, as_layers(self.layers)),)
