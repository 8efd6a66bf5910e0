"""Keep the residual stream."""

from collections.abc import Sequence
from dataclasses import dataclass

from mechpaint.routes.fields import as_layers
from mechpaint.routes.hookset import HookSet
from mechpaint.routes.readings import Reading


@dataclass(frozen=True)
class ReadResidual(HookSet):
    """Keep the output of layers, as `session["residual"][visit]`: `[batch, position, d_model]`.

    In a group each member's own output is kept, before merging.

    Args:
        layers: Which layer, or layers; None for every layer on the route.
    """

    layers: int | Sequence[int] | None = None

    def reads(self) -> tuple[Reading, ...]:
        """The one reading."""
        return (Reading("residual", "hook_out", as_layers(self.layers)),)
