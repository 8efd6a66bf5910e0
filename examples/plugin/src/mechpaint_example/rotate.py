"""Begin a stretch of layers somewhere else."""

from dataclasses import dataclass

from mechpaint.routes.hookset import HookSet
from mechpaint.routes.route import Route


@dataclass(frozen=True)
class Rotate(HookSet):
    """Run the steps of layers `first` to `last` from the one after `by` on, and those `by` that were left out last.

    `rotate(4, 7)` makes `4 5 6 7` into `5 6 7 4`. All but one layer have the same neighbour before them as ever.
    """

    first: int
    last: int
    by: int = 1

    def reroute(self, route: Route) -> Route:
        """The route with that stretch rotated."""
        span = route.span(self.first, self.last)
        steps = route.steps[span]
        by = self.by % len(steps)
        return route.replace(span, (*steps[by:], *steps[:by]))
