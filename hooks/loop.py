"""Run a stretch of layers several times."""

from dataclasses import dataclass

from mechpaint.errors import HookSetError
from mechpaint.routes.hookset import HookSet
from mechpaint.routes.route import Route
from mechpaint.routes.steps import check_length


@dataclass(frozen=True)
class Loop(HookSet):
    """Run the steps of layers `first` to `last` `times` times over.

    After `Average` this is the looped parallel of arXiv 2407.09298, section 3.7; by itself it runs the sequence again
    (appendix A.6).

    Args:
        first: The lowest of the layers, from 0.
        last: The highest, itself included.
        times: How often the stretch runs; 1 changes nothing.

    Raises:
        HookSetError: Less than 1 time.
    """

    first: int
    last: int
    times: int

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.times < 1:
            raise HookSetError(f"a stretch is looped 1 time or more, got {self.times}; to leave it out use Skip")

    def reroute(self, route: Route) -> Route:
        """The route with that stretch looped."""
        span = route.span(self.first, self.last)
        check_length((span.stop - span.start) * self.times)
        return route.replace(span, route.steps[span] * self.times)
