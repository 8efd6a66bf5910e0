"""A hook set on many routes: it changes activations where a route has the visits, and elsewhere nothing."""

from __future__ import annotations

from dataclasses import dataclass, replace

from mechpaint.routes.edits import Edit
from mechpaint.routes.hookset import HookSet
from mechpaint.routes.readings import Hook, Reading
from mechpaint.routes.route import Route


@dataclass(frozen=True)
class WherePresent(HookSet):
    """Another hook set, whose visits a route need not make.

    Args:
        hook_set: The other.
    """

    hook_set: HookSet

    def reroute(self, route: Route) -> Route:
        """The other's route."""
        return self.hook_set.reroute(route)

    def reads(self) -> tuple[Reading, ...]:
        """What the other reads."""
        return self.hook_set.reads()

    def hooks(self) -> tuple[Hook, ...]:
        """What the other hooks."""
        return self.hook_set.hooks()

    def edits(self) -> tuple[Edit, ...]:
        """What the other changes, where it can."""
        edits = self.hook_set.edits()
        return tuple(Edit(edit.point, replace(edit.visits, optional=True), edit.change) for edit in edits)

    def files(self) -> tuple[str, ...]:
        """The other's files."""
        return self.hook_set.files()

    def __str__(self) -> str:
        return str(self.hook_set)
