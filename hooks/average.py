"""Run layers in parallel and average their outputs. The arithmetic is in `mechpaint/routes/merge.py`."""

from dataclasses import dataclass

from mechpaint.errors import HookSetError
from mechpaint.routes.hookset import HookSet
from mechpaint.routes.route import Route
from mechpaint.routes.steps import Step


@dataclass(frozen=True)
class Average(HookSet):
    """Let layers `first` to `last` read the same residual stream, and average their outputs.

    The parallel layers of arXiv 2407.09298, section 3.5. Each output includes its residual connection.

    Args:
        first: The lowest of the layers, from 0.
        last: The highest, itself included.
    """

    first: int
    last: int

    def reroute(self, route: Route) -> Route:
        """The route with that stretch made one averaged group."""
        span = route.span(self.first, self.last)
        stretch = route.steps[span]
        layers = [layer for step in stretch for layer in step.layers]
        if any(step.merge == "sum" for step in stretch) or len(set(layers)) != len(layers):
            raise HookSetError(
                f"layers {self.first} to {self.last} cannot be averaged on the route {route}: "
                "each must run once there, in no summed group"
            )
        return route.replace(span, [Step(tuple(layers))])
