"""Run layers in parallel two by two and add their updates."""

from dataclasses import dataclass

from mechpaint.errors import HookSetError
from mechpaint.routes.hookset import HookSet
from mechpaint.routes.route import Route
from mechpaint.routes.steps import Step


@dataclass(frozen=True)
class Pair(HookSet):
    """Let consecutive pairs of layers read the same residual stream and add both updates: x + f(x) + g(x).

    Layer Parallelism (arXiv 2502.02790), from layer `first` to `last`. If their number is odd the last one runs alone.

    Args:
        first: The lowest of the layers, from 0.
        last: The highest, itself included.
    """

    first: int
    last: int

    def reroute(self, route: Route) -> Route:
        """The route with that stretch paired."""
        span = route.span(self.first, self.last)
        stretch = route.steps[span]
        pairs = [stretch[i : i + 2] for i in range(0, len(stretch), 2)]
        if any(len(step.layers) > 1 for step in stretch) or any(len(set(pair)) != len(pair) for pair in pairs):
            raise HookSetError(
                f"layers {self.first} to {self.last} cannot be paired on the route {route}: "
                "each must be a step of its own, different from its partner"
            )
        return route.replace(span, [Step(tuple(s.layers[0] for s in pair), "sum") for pair in pairs])
