"""Rotate a stretch of layers."""

from dataclasses import dataclass

from mechpaint.routes.hookset import HookSet
from mechpaint.routes.route import Route


@dataclass(frozen=True)
class Rotate(HookSet):
    """Rotate layers `first` to `last`, so that the first `by` of them run last.

    `rotate(4, 7)` turns `4 5 6 7` into `5 6 7 4`. Inside the stretch, all but one layer still follow the same layer.
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
