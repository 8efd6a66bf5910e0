"""Put another run's activations in the place of this run's."""

from collections.abc import Sequence
from dataclasses import dataclass

from mechpaint.errors import HookSetError
from mechpaint.routes.changes import Taken
from mechpaint.routes.edits import BY_HEAD, Edit, Part
from mechpaint.routes.fields import as_layers
from mechpaint.routes.heads import Heads, HeadSelection
from mechpaint.routes.hookset import HookSet
from mechpaint.routes.visit_cache import VisitCache
from mechpaint.routes.visits import Selection, one_of


@dataclass(frozen=True)
class Patch(HookSet):
    """Put the activations of another run, of another prompt or along another route, in the place of this run's.

    Activation patching, or causal tracing (Vig et al. 2020, arXiv 2004.12265; Meng et al. 2022, arXiv 2202.05262; Wang
    et al. 2022, arXiv 2211.00593). What is taken is that of the same layer for the same time that it runs.

    Args:
        source: What the other run read, `session.cache`, or the path of a `VisitCache` that was saved.
        point: The hook point inside blocks, such as `"hook_out"`, `"attn.hook_z"` or `"mlp.hook_out"`.
        layers: Which layer, or layers, at each of their visits; None for every one.
        visits: In place of layers, which visits: `"5#2"` is layer 5 for the second time.
        positions: At which positions; negative ones count from the last; None for all.
        heads: In place of a point, heads, such as `"5.2"` or `[(5, 2)]`: what they have gathered, `"attn.hook_z"`.
    """

    source: VisitCache | str
    point: str = "hook_out"
    layers: int | Sequence[int] | None = None
    visits: Selection = None
    positions: int | Sequence[int] | None = None
    heads: HeadSelection | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "_source", VisitCache.of(self.source))
        if self.heads is not None and (self.layers is not None or self.visits is not None):
            raise HookSetError(
                "heads name their layers or visits themselves: expected heads alone, such as heads='5#2.0'"
            )
        one_of(self.layers, self.visits)

    def files(self) -> tuple[str, ...]:
        """The saved cache."""
        return (VisitCache.file_of(self.source),)

    def edits(self) -> tuple[Edit, ...]:
        """An edit for all visits, or for each visit's heads."""
        source, positions = vars(self)["_source"], as_layers(self.positions)
        if self.heads is None:
            visits = one_of(self.layers, self.visits)
            return (Edit(self.point, visits, Taken(Part(positions), source=source)),)
        parts = Heads.read(self.heads).parts
        return tuple(Edit(BY_HEAD, visits, Taken(Part(positions, heads), source=source)) for visits, heads in parts)
