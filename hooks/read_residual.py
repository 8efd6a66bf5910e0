"""Keep the residual stream."""

from collections.abc import Sequence
from dataclasses import dataclass

from mechpaint.routes.hookset import HookSet
from mechpaint.routes.readings import Reading
from mechpaint.routes.visits import Selection, one_of


@dataclass(frozen=True)
class ReadResidual(HookSet):
    """Keep the output of layers, as `session["residual"][visit]`: `[batch, position, d_model]`.

    In a group each member's own output is kept, before merging.

    Args:
        layers: Which layer, or layers, at each of their visits; None for every layer on the route.
        visits: In place of layers, which visits: `"5#2"` is layer 5 for the second time, `"@7"` step 7.
    """

    layers: int | Sequence[int] | None = None
    visits: Selection = None

    def reads(self) -> tuple[Reading, ...]:
        """The one reading."""
        return (Reading("residual", "hook_out", one_of(self.layers, self.visits)),)
