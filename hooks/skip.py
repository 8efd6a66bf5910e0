"""Leave layers out."""

from dataclasses import dataclass

from mechpaint.routes.hookset import HookSet
from mechpaint.routes.route import Route


@dataclass(frozen=True)
class Skip(HookSet):
    """Leave out every visit of the layers `first` to `last` (arXiv 2407.09298, section 3.2).

    Skipped layers cost nothing. Inside a group, the members that remain are merged. Layers that are not on the route
    stay away.

    Args:
        first: The lowest of the layers, from 0.
        last: The highest, itself included.
    """

    first: int
    last: int

    def reroute(self, route: Route) -> Route:
        """The route without these layers."""
        return route.without(self.first, self.last)
