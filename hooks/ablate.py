"""Take out heads, attention, MLPs or whole layers."""

from dataclasses import dataclass

from mechpaint.errors import HookSetError
from mechpaint.routes.changes import BatchMean, PartChange, Taken, Zero
from mechpaint.routes.components import Components
from mechpaint.routes.edits import Edit, Part
from mechpaint.routes.visit_cache import VisitCache


@dataclass(frozen=True)
class Ablate(Components):
    """Put nothing, a mean, or another prompt's activation in the place of what components write.

    Zero ablation is `by="zero"`. Mean ablation is `by="mean"`, over the rows of the batch position by position, or
    `by=session.cache.mean()`, over texts that ran before. Resample ablation is `by=session.cache`, of another prompt
    of the same length. (Olsson et al. 2022, arXiv 2209.11895; Wang et al. 2022, arXiv 2211.00593; Chan et al. 2022,
    "Causal scrubbing".) A whole layer that is ablated by zero hands on the residual stream as it came.

    Args:
        by: `"zero"`, `"mean"`, a `VisitCache`, or the path of one that was saved.
        heads: Heads, such as `"5.2"`, `"9#2.0"` (layer 9 for the second time) or `[(5, 2)]`.
        attention: Layers or visits whose attention output is ablated; `"*"` for all.
        mlp: Layers or visits whose MLP output is ablated.
        layers: Layers or visits of which everything that they add to the residual stream is ablated.
        positions: At which positions; negative ones count from the last; None for all.
    """

    by: str | VisitCache = "zero"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.by not in ("zero", "mean"):
            object.__setattr__(self, "_source", VisitCache.of(self.by))
        if self.layers is not None and self.by not in ("zero", "mean"):
            raise HookSetError(
                "a cache has what layers hand on, not what they add: ablate the attention and the MLP of these layers "
                "by it, or patch 'hook_out'"
            )

    def files(self) -> tuple[str, ...]:
        """The saved cache, if it is ablated by one."""
        return () if self.by in ("zero", "mean") else (VisitCache.file_of(self.by),)

    def edits(self) -> tuple[Edit, ...]:
        """An edit for each component."""
        return self.edits_with(self._change)

    def _change(self, part: Part, added: bool) -> PartChange:
        if self.by == "zero":
            return Zero(part, added)
        if self.by == "mean":
            return BatchMean(part, added)
        return Taken(part, source=vars(self)["_source"])
