"""Hold attention patterns or norms to another run's."""

from collections.abc import Sequence
from dataclasses import dataclass

from mechpaint.errors import HookSetError
from mechpaint.routes.changes import Taken
from mechpaint.routes.edits import Edit, Part
from mechpaint.routes.fields import as_layers
from mechpaint.routes.hookset import HookSet
from mechpaint.routes.visit_cache import VisitCache
from mechpaint.routes.visits import Selection, one_of

POINTS = {"patterns": ("attn.hook_pattern",), "norms": ("ln1.hook_scale", "ln2.hook_scale")}
"""What can be held, and the hook points that the other run has to read for it."""


@dataclass(frozen=True)
class Freeze(HookSet):
    """Hold attention patterns, or the scales of norms, to what they were in another run.

    With patterns and norms held, what an attention layer does is linear in what it reads (Elhage et al. 2021, "A
    Mathematical Framework for Transformer Circuits"; Wang et al. 2022, arXiv 2211.00593, for path patching). The other
    run reads `"attn.hook_pattern"`, or `"ln1.hook_scale"` and `"ln2.hook_scale"`.

    Args:
        source: What the other run read, `session.cache`, or the path of a `VisitCache` that was saved.
        what: `"patterns"` or `"norms"`.
        layers: Which layer, or layers, at each of their visits; None for every one.
        visits: In place of layers, which visits.
        positions: At which positions (of patterns: which queries); None for all.
    """

    source: VisitCache | str
    what: str = "patterns"
    layers: int | Sequence[int] | None = None
    visits: Selection = None
    positions: int | Sequence[int] | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.what not in POINTS:
            raise HookSetError(f'expected what="patterns" or "norms", got {self.what!r}')
        object.__setattr__(self, "_source", VisitCache.of(self.source))
        one_of(self.layers, self.visits)

    def files(self) -> tuple[str, ...]:
        """The saved cache."""
        return (VisitCache.file_of(self.source),)

    def edits(self) -> tuple[Edit, ...]:
        """An edit for each hook point."""
        visits, part = one_of(self.layers, self.visits), Part(as_layers(self.positions))
        source = vars(self)["_source"]
        return tuple(Edit(point, visits, Taken(part, source=source)) for point in POINTS[self.what])
