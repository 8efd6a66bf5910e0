"""Anyone's own TransformerLens hooks."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, cast

from mechpaint.display.sanitize import short
from mechpaint.errors import HookSetError
from mechpaint.routes.hookset import HookSet
from mechpaint.routes.readings import Hook, UserHook


@dataclass(frozen=True)
class Hooks(HookSet):
    """Install plain TransformerLens hooks while a session lasts; they fire on every visit.

    Args:
        functions: Pairs of a hook name, or a filter on names, and a function `(activation, hook) -> None | activation`;
            one of three arguments, `(activation, hook, visit)`, is told the visit.
    """

    functions: Sequence[tuple[str | Callable[[str], bool], UserHook]]

    def __post_init__(self) -> None:
        super().__post_init__()
        given: object = self.functions
        pairs = tuple(cast(Sequence[object], given)) if isinstance(given, list | tuple) else (given,)
        if not all(map(_is_hook, pairs)):
            raise HookSetError(
                "expected pairs of a hook name, or a filter on names, and a function, such as "
                f'[("blocks.1.hook_out", function)], got {short(given)}'
            )
        object.__setattr__(self, "functions", pairs)

    def hooks(self) -> tuple[Hook, ...]:
        """The hooks as given."""
        return tuple(Hook(where, call) for where, call in self.functions)


def _is_hook(pair: object) -> bool:
    if not isinstance(pair, list | tuple) or len(cast(Sequence[Any], pair)) != 2:
        return False
    where, call = cast(Sequence[object], pair)
    return (isinstance(where, str) or callable(where)) and callable(call)
