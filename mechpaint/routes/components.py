"""Components of layers that an intervention is on: heads, attention, MLPs, whole layers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from mechpaint.errors import HookSetError
from mechpaint.routes.changes import LAYER, PartChange
from mechpaint.routes.edits import BY_HEAD, Edit, Part
from mechpaint.routes.fields import as_layers
from mechpaint.routes.heads import HeadSelection
from mechpaint.routes.hookset import HookSet
from mechpaint.routes.visits import Selection, Visits

ATTENTION_OUT, MLP_OUT = "hook_attn_out", "hook_mlp_out"
"""What a layer's attention and its MLP add to the residual stream: after a norm that follows them, without the residual
connection that some modules of Hugging Face's have within them."""


@dataclass(frozen=True, kw_only=True)
class Components(HookSet):
    """The base of interventions on components.

    Args:
        heads: Heads, such as `"5.2"`, `"9#2.0"` (layer 9 for the second time) or `[(5, 2)]`.
        attention: Layers or visits whose attention output is changed; `"*"` for all.
        mlp: Layers or visits whose MLP output is changed.
        layers: Layers or visits of which everything that they add to the residual stream is changed.
        positions: At which positions; negative ones count from the last; None for all.

    Raises:
        HookSetError: No component is named, or one that cannot be read.
    """

    heads: HeadSelection | None = None
    attention: Selection = None
    mlp: Selection = None
    layers: Selection = None
    positions: int | Sequence[int] | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.heads is None and self.attention is None and self.mlp is None and self.layers is None:
            raise HookSetError(f"{self.text_name()} needs heads, attention, mlp or layers, such as heads='5.2'")

    def edits_with(self, change: Callable[[Part, bool], PartChange]) -> tuple[Edit, ...]:
        """An edit for each component.

        Args:
            change: Makes the change of one part; its second argument says whether it is of what a layer adds.
        """
        from mechpaint.routes.heads import Heads

        positions = as_layers(self.positions)
        parts = () if self.heads is None else Heads.read(self.heads).parts
        edits = [Edit(BY_HEAD, visits, change(Part(positions, heads), False)) for visits, heads in parts]
        for point, visits in ((ATTENTION_OUT, self.attention), (MLP_OUT, self.mlp), (LAYER, self.layers)):
            if visits is not None:
                edits.append(Edit(point, Visits.read(visits), change(Part(positions), point == LAYER)))
        return tuple(edits)
