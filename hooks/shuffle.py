"""Run layers in a random order."""

import random
from dataclasses import dataclass

from mechpaint.routes.hookset import HookSet
from mechpaint.routes.route import Route


@dataclass(frozen=True)
class Shuffle(HookSet):
    """Run the steps of layers `first` to `last` in a random order.

    It is the order that Python's `random.Random(seed).shuffle` gives, so the same seed gives the same order as the
    code of arXiv 2407.09298 (section 3.4).

    Args:
        first: The lowest of the layers, from 0.
        last: The highest, itself included.
        seed: Which order.
    """

    first: int
    last: int
    seed: int

    def reroute(self, route: Route) -> Route:
        """The route with that stretch shuffled."""
        span = route.span(self.first, self.last)
        steps = list(route.steps[span])
        random.Random(self.seed).shuffle(steps)
        return route.replace(span, steps)
