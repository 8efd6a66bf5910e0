"""Cut attention from some positions to others."""

from collections.abc import Sequence
from dataclasses import dataclass

from mechpaint.errors import HookSetError
from mechpaint.routes.changes import Unattended
from mechpaint.routes.edits import Edit
from mechpaint.routes.fields import as_layers
from mechpaint.routes.heads import Heads, HeadSelection
from mechpaint.routes.hookset import HookSet
from mechpaint.routes.visits import Selection, one_of


@dataclass(frozen=True)
class Knockout(HookSet):
    """Let some positions not attend to others; what they attend to beside shares the attention.

    Attention knockout (Geva et al. 2023, arXiv 2304.14767).

    Args:
        keys: The positions that are not seen; negative ones count from the last.
        queries: The positions that do not see them; None for all.
        layers: Which layer, or layers, at each of their visits; None for every one.
        visits: In place of layers, which visits: `"5#2"` is layer 5 for the second time.
        heads: In place of layers, heads, such as `"5.2"` or `[(5, 2)]`.
    """

    keys: int | Sequence[int]
    queries: int | Sequence[int] | None = None
    layers: int | Sequence[int] | None = None
    visits: Selection = None
    heads: HeadSelection | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.heads is not None and (self.layers is not None or self.visits is not None):
            raise HookSetError(
                "heads name their layers or visits themselves: expected heads alone, such as heads='5#2.0'"
            )
        one_of(self.layers, self.visits)

    def edits(self) -> tuple[Edit, ...]:
        """An edit for all visits, or for each visit's heads."""
        queries, keys = as_layers(self.queries), as_layers(self.keys) or ()
        point = "attn.hook_attn_scores"
        if self.heads is None:
            return (Edit(point, one_of(self.layers, self.visits), Unattended(queries, keys)),)
        parts = Heads.read(self.heads).parts
        return tuple(Edit(point, visits, Unattended(queries, keys, heads)) for visits, heads in parts)
