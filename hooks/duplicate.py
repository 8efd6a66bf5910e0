"""Run one layer several times in a row."""

from dataclasses import dataclass

from mechpaint.errors import HookSetError
from mechpaint.routes.hookset import HookSet
from mechpaint.routes.route import Route
from mechpaint.routes.steps import Step, check_length


@dataclass(frozen=True)
class Duplicate(HookSet):
    """Run one layer several times in a row wherever it runs once.

    Args:
        layer: Which layer, from 0.
        times: How many times it runs then; 1 changes nothing.

    Raises:
        HookSetError: Less than 1 time.
    """

    layer: int
    times: int

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.times < 1:
            raise HookSetError(f"a layer is repeated 1 time or more, got {self.times}; to leave it out use Skip")

    def reroute(self, route: Route) -> Route:
        """The route with every step that is this layer repeated."""
        route.check_layer(self.layer)
        this = Step((self.layer,))
        if this not in route.steps:
            raise HookSetError(f"layer {self.layer} is no step of its own on the route {route}: nothing to repeat")
        check_length(route.steps.count(this) * self.times)
        steps = (copy for step in route.steps for copy in (step,) * (self.times if step == this else 1))
        return Route(tuple(steps), route.n_layers)
