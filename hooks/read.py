"""Keep an activation at every visit of some layers."""

from collections.abc import Sequence
from dataclasses import dataclass

from mechpaint.routes.hookset import HookSet
from mechpaint.routes.readings import Reading
from mechpaint.routes.visits import Selection, one_of


@dataclass(frozen=True)
class Read(HookSet):
    """Keep the activations at a hook point inside layers, as `session[point][visit]`.

    Args:
        point: The hook point inside a block, such as `"mlp.hook_out"` or `"attn.hook_pattern"`.
        layers: Which layer, or layers, at each of their visits; None for every layer on the route.
        visits: In place of layers, which visits: `"5#2"` is layer 5 for the second time, `"@7"` step 7.
    """

    point: str
    layers: int | Sequence[int] | None = None
    visits: Selection = None

    def reads(self) -> tuple[Reading, ...]:
        """The one reading."""
        return (Reading(self.point, self.point, one_of(self.layers, self.visits)),)
