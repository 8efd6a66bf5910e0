"""Run one layer in place of others."""

from dataclasses import dataclass

from mechpaint.routes.hookset import HookSet
from mechpaint.routes.route import Route
from mechpaint.routes.steps import Step


@dataclass(frozen=True)
class Fill(HookSet):
    """Run `layer` in place of every step of layers `first` to `last`.

    With the centre layer this is the middle repeat of arXiv 2407.09298, section 3.3.

    Args:
        first: The lowest of the layers, from 0.
        last: The highest, itself included.
        layer: What runs instead, from 0; any layer of the model.
    """

    first: int
    last: int
    layer: int

    def reroute(self, route: Route) -> Route:
        """The route with that stretch filled."""
        route.check_layer(self.layer)
        span = route.span(self.first, self.last)
        return route.replace(span, [Step((self.layer,))] * (span.stop - span.start))
