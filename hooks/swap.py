"""Exchange two layers."""

from dataclasses import dataclass

from mechpaint.routes.hookset import HookSet
from mechpaint.routes.route import Route


@dataclass(frozen=True)
class Swap(HookSet):
    """Run layer `b` wherever `a` would run, and `a` wherever `b` would (arXiv 2407.09298, figure 2).

    Args:
        a: One layer, from 0.
        b: The other.
    """

    a: int
    b: int

    def reroute(self, route: Route) -> Route:
        """The route with the two layers exchanged."""
        route.check_layer(self.a)
        route.check_layer(self.b)
        other = {self.a: self.b, self.b: self.a}
        return route.relabel(lambda layer: other.get(layer, layer))
