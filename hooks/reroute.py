"""Run a route given outright."""

from dataclasses import dataclass

from mechpaint.errors import HookSetError
from mechpaint.routes.hookset import HookSet
from mechpaint.routes.route import Route


@dataclass(frozen=True)
class Reroute(HookSet):
    """Run this route, whatever the route was before.

    Args:
        target: A `Route`, or its notation, `"0-3 (4-13)x3 14-17"`.
    """

    target: Route | str

    def reroute(self, route: Route) -> Route:
        """The given route."""
        if isinstance(self.target, str):
            return Route.parse(self.target, route.n_layers)
        if self.target.n_layers != route.n_layers:
            raise HookSetError(
                f"the route {self.target} was made for {self.target.n_layers} layers, the model has {route.n_layers}"
            )
        return self.target
