"""Hook sets: what changes a route, or reads what happens along it.

A `HookSet` is a small immutable object with two optional halves. `reroute` turns a route into another; `reads` and
`hooks` say what to look at while a model runs along it. `a + b` applies a's reroute, then b's, and joins the rest.
To write one, copy the shortest file in `mechpaint.hooks`.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from mechpaint.display.summary import Summarized, Summary
from mechpaint.errors import HookSetError, there_is_no
from mechpaint.routes.edits import Edit
from mechpaint.routes.fields import check_fields, is_layers
from mechpaint.routes.heads import Heads
from mechpaint.routes.readings import Hook, HookFunction, Reading, Store
from mechpaint.routes.route import Route
from mechpaint.routes.visits import Visits

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge


@dataclass(frozen=True)
class HookSet(Summarized):
    """The base of every hook set; by itself it changes and reads nothing, and adding it changes nothing.

    Subclasses are frozen dataclasses that override one method or more. Their text form is the class's name in snake
    case with the fields as arguments, `average(4, 13)`. Fields that are annotated as integers, layers
    (`int | Sequence[int] | None`), texts or routes are checked when one is made; a `__post_init__` of your own begins
    with `super().__post_init__()`.

    Raises:
        HookSetError: A field of another type.
    """

    def __post_init__(self) -> None:
        check_fields(self, self.text_name())

    def reroute(self, route: Route) -> Route:
        """The route to run instead of `route`, for the same number of layers.

        Args:
            route: The route to change: the model's own order, or what hook sets before this one made of it.

        Raises:
            RouteError: It names layers that the model does not have, or leaves none.
            HookSetError: It cannot be applied to this route.
        """
        return route

    def reads(self) -> tuple[Reading, ...]:
        """The activations to keep from every run."""
        return ()

    def hooks(self) -> tuple[Hook, ...]:
        """TransformerLens hooks to install for every run."""
        return ()

    def edits(self) -> tuple[Edit, ...]:
        """The changes of activations, at some visits of the route."""
        return ()

    def files(self) -> tuple[str, ...]:
        """The files and folders that what it does depends on, beyond its text form.

        Raises:
            HookSetError: It depends on something in memory, which another session could not be given.
        """
        return ()

    def only_reroutes(self) -> bool:
        """True if its route is all that it does: it keeps nothing, changes no activation and installs no hooks."""
        return self.only_edits() and not self.edits()

    def only_edits(self) -> bool:
        """True if it reroutes and changes activations, and does nothing else: a sweep can run it."""
        return not self.reads() and not self.hooks()

    def parts(self) -> tuple[HookSet, ...]:
        """The hook sets that this one is the sum of: itself, unless it was made with `+` or does nothing."""
        return () if type(self) is HookSet else (self,)

    def actions(self) -> list[Reading | Hook | Edit]:
        """What every part reads, hooks and edits, in the order in which the parts apply; a reading is kept once."""
        seen: set[Reading] = set()
        listed: list[Reading | Hook | Edit] = []
        for part in self.parts():
            listed += [*(reading for reading in part.reads() if reading not in seen), *part.hooks(), *part.edits()]
            seen.update(part.reads())
        return listed

    def __add__(self, other: HookSet) -> HookSet:
        parts = (*self.parts(), *other.parts())
        if len(parts) > 1:
            return Composed(parts)
        return parts[0] if parts else HookSet()

    def route(self, n_layers: int) -> Route:
        """The route that results for a model with `n_layers` layers.

        Args:
            n_layers: How many layers the model has.

        Raises:
            RouteError: It names layers that the model does not have, or leaves none.
            HookSetError: Its parts cannot be applied one after the other.
        """
        return self.reroute(Route.identity(n_layers))

    def fwd_hooks(
        self, model: TransformerBridge, store: Store | None = None
    ) -> list[tuple[str | Callable[[str], bool], HookFunction]]:
        """The same as a plain list for TransformerLens's `run_with_hooks(tokens, fwd_hooks=...)`.

        Works where hook points alone can do it: reads, skipped layers, and groups, without interventions, as long as
        every layer runs at most once and in the model's own order. All layers are computed, so it is slower than
        `mechpaint.attach`.

        Args:
            model: The bridge on which the hooks will run.
            store: Receives what the hook set reads, `store[key][visit]`. Needed if it reads anything.

        Raises:
            HookSetError: A layer would have to run elsewhere or again, an activation is changed, or there is no store
                for what is read.
        """
        from mechpaint.routes.fwd_hooks import fwd_hooks  # needs torch

        return fwd_hooks(self.route(len(model.blocks)), self.actions(), store)

    def _summary(self) -> Summary:
        rows = [(str(part), (type(part).__doc__ or "").strip().split("\n")[0]) for part in self.parts()]
        does = [(f"keeps {reading.key!r}", f"{reading.point} at {reading.where}") for reading in self.reads()]
        does += [(f"changes {edit.point}", f"at visits {edit.visits}") for edit in self.edits()]
        return Summary("Hook set", does, ("part", "what it does"), rows or [("", "changes and reads nothing")])

    @classmethod
    def text_name(cls) -> str:
        """The name in the text form: `ReadAttention` is `read_attention`."""
        return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", cls.__name__).lower()

    def __str__(self) -> str:
        if type(self) is HookSet:
            return ""
        fields = sorted(dataclasses.fields(self), key=lambda field: field.kw_only is True)
        values = (_argument(type(self), field, getattr(self, field.name)) for field in fields)
        return f"{self.text_name()}({', '.join(v for v in values if v)})"


@dataclass(frozen=True, slots=True)
class Composed(HookSet):
    """Hook sets applied one after the other, made by `+`."""

    members: tuple[HookSet, ...]

    def reroute(self, route: Route) -> Route:
        """Each member's reroute, first to last."""
        for member in self.members:
            route = member.reroute(route)
        return route

    def reads(self) -> tuple[Reading, ...]:
        """Every member's reads. The same reading asked for twice is kept once."""
        return tuple(dict.fromkeys(reading for member in self.members for reading in member.reads()))

    def hooks(self) -> tuple[Hook, ...]:
        """Every member's hooks, first to last."""
        return tuple(hook for member in self.members for hook in member.hooks())

    def edits(self) -> tuple[Edit, ...]:
        """Every member's changes, first to last."""
        return tuple(edit for member in self.members for edit in member.edits())

    def files(self) -> tuple[str, ...]:
        """Every member's files."""
        return tuple(dict.fromkeys(file for member in self.members for file in member.files()))

    def parts(self) -> tuple[HookSet, ...]:
        """The members."""
        return self.members

    def __str__(self) -> str:
        return " + ".join(map(str, self.members))


def named(hook_sets: Mapping[str, type[HookSet]], name: str) -> type[HookSet]:
    """The hook set of that text name, or an error that lists what there is."""
    if name not in hook_sets:
        raise HookSetError(there_is_no("hook set", name, sorted(hook_sets)))
    return hook_sets[name]


def _argument(cls: type[HookSet], field: dataclasses.Field[Any], value: object) -> str:
    """One field as an argument: bare where it is required, by name where it differs from its default."""
    if value == field.default:
        return ""
    if isinstance(value, Visits) and value.where is not None:
        text = f"<{value}>"  # a function has no text form
    else:
        text = repr(str(value)) if isinstance(value, (Route, str, Visits, Heads)) else repr(value)
    if is_layers(cls, field.name) and isinstance(value, tuple):
        text = repr(list(cast(tuple[int, ...], value)))
    return text if field.default is dataclasses.MISSING else f"{field.name}={text}"


ATTENTION = "attention"
"""The key of attention patterns: `session[ATTENTION][visit]`, `[batch, head, query, key]`."""


class Patterns(HookSet):
    """Keep the attention pattern of every visit."""

    def reads(self) -> tuple[Reading, ...]:
        """The one reading."""
        return (Reading(ATTENTION, "attn.hook_pattern"),)
