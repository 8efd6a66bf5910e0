"""Run layers from last to first."""

from dataclasses import dataclass

from mechpaint.routes.hookset import HookSet
from mechpaint.routes.route import Route


@dataclass(frozen=True)
class Reverse(HookSet):
    """Run the steps of layers `first` to `last` from last to first (arXiv 2407.09298, section 3.4).

    Args:
        first: The lowest of the layers, from 0.
        last: The highest, itself included.
    """

    first: int
    last: int

    def reroute(self, route: Route) -> Route:
        """The route with that stretch reversed."""
        span = route.span(self.first, self.last)
        return route.replace(span, reversed(route.steps[span]))
