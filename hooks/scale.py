"""Multiply what heads, attention, MLPs or whole layers write."""

from dataclasses import dataclass

from mechpaint.routes.changes import PartChange, Scaled
from mechpaint.routes.components import Components
from mechpaint.routes.edits import Edit, Part


@dataclass(frozen=True)
class Scale(Components):
    """Multiply what components write by a factor: 0 ablates them, 1 changes nothing, -1 turns them round.

    Args:
        by: The factor.
        heads: Heads, such as `"5.2"`, `"9#2.0"` (layer 9 for the second time) or `[(5, 2)]`.
        attention: Layers or visits whose attention output is scaled; `"*"` for all.
        mlp: Layers or visits whose MLP output is scaled.
        layers: Layers or visits of which everything that they add to the residual stream is scaled.
        positions: At which positions; negative ones count from the last; None for all.
    """

    by: float

    def edits(self) -> tuple[Edit, ...]:
        """An edit for each component."""
        return self.edits_with(self._change)

    def _change(self, part: Part, added: bool) -> PartChange:
        return Scaled(part, added, self.by)
