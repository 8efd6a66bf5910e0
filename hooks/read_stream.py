"""Keep the residual stream after each step."""

from dataclasses import dataclass

from mechpaint.routes.hookset import HookSet
from mechpaint.routes.readings import AFTER_STEP, STREAM, Reading


@dataclass(frozen=True)
class ReadStream(HookSet):
    """Keep the residual stream before the first step and after each, as `session.stream`: `[batch, position, d_model]`.

    Where a step is a group it is what the group hands on, its members' outputs averaged or their updates added;
    `ReadResidual` has each member's own output.
    """

    def reads(self) -> tuple[Reading, ...]:
        """The one reading."""
        return (Reading(STREAM, AFTER_STEP),)
