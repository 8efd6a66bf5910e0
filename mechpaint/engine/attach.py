"""`attach`: run a model under a hook set, for as long as a `with` block lasts."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from contextlib import contextmanager, nullcontext
from typing import Any, cast

from jaxtyping import Float
from torch import Tensor
from transformer_lens.hook_points import HookPoint
from transformer_lens.model_bridge import TransformerBridge

from mechpaint.display.sanitize import short
from mechpaint.display.summary import Summarized, Summary
from mechpaint.engine.arguments import Routing, as_hook_set
from mechpaint.engine.by_name import NamedTools, layer_of
from mechpaint.engine.editing import Editing, check_width, unknown_name
from mechpaint.engine.kv_cache import KV, layout
from mechpaint.engine.layer_inputs import LayerInputs
from mechpaint.engine.route_runner import RouteRunner
from mechpaint.errors import HookSetError
from mechpaint.routes.edits import Edit
from mechpaint.routes.hookset import HookSet
from mechpaint.routes.readings import (
    AFTER_STEP,
    STREAM,
    Hook,
    HookFunction,
    NamedHook,
    Reading,
    Store,
    VisitHook,
    takes_visit,
)
from mechpaint.routes.route import Route
from mechpaint.routes.steps import Visit
from mechpaint.routes.visit_cache import VisitCache
from mechpaint.routes.visits import Visits, visit_of


class Session(Summarized):
    """The route that an attached model runs, and what was read in its last forward pass.

    `session["attention"]` maps each `Visit` to what was read there, on the model's device and without gradient; the
    keys are those of the hook sets that read. Reading a key that nothing reads, or before the model ran, is a KeyError.

    Args:
        hook_set: What the model runs under.
        route: The route that it runs.
    """

    def __init__(self, hook_set: HookSet, route: Route) -> None:
        self.hook_set = hook_set
        self.route = route
        self.runs = 0
        """How many forward passes went through all of the route."""
        self._store: Store = {reading.key: {} for reading in hook_set.reads()}
        self._mask: Tensor | None = None
        self._failed = False

    def __getitem__(self, key: str) -> VisitReads:
        if key not in self._store:
            raise KeyError(f"nothing reads {key!r} in this session; it reads: {', '.join(self._store) or 'nothing'}")
        if not self._store[key]:
            raise KeyError(f"{key!r} is empty: {self._why_empty()}")
        return VisitReads(key, self._store[key], self.route)

    def at(self, layer: int, nth: int = 1) -> Visit:
        """The visit of a layer for the `nth` time.

        Args:
            layer: The layer, from 0.
            nth: Which of its visits, from 1; negative from its last, -1.

        Raises:
            HookSetError: The route has no such visit; the message lists those that it has.
        """
        return visit_of(self.route, layer, nth)

    @property
    def stream(self) -> tuple[Float[Tensor, "batch position d_model"], ...]:
        """The residual stream as `ReadStream` reads it: `stream[i]` after i steps, `stream[0]` before the first.

        Raises:
            KeyError: Nothing reads it, or the model has not run yet.
        """
        read = self[STREAM]
        return tuple(read[step] for step in sorted(read))

    @property
    def cache(self) -> VisitCache:
        """Everything that was read at hook points, by point and visit: to patch from, or to write to a file.

        Raises:
            KeyError: The model has not run yet, or nothing reads.
        """
        points = {r.key: r.point for r in self.hook_set.reads() if r.point != AFTER_STEP and r.of is None}
        if not points:
            raise KeyError("nothing reads at a hook point in this session: add mechpaint.hooks.Read(point)")
        read = {(point, visit): value for key, point in points.items() for visit, value in self[key].items()}
        return VisitCache(self.route, read, self._mask)

    def _why_empty(self) -> str:
        if self._failed:
            return "the last forward pass did not come to its end"
        if not self.runs:
            return "the model has not run yet in this session"
        return (
            "the model ran, and nothing passed its hook point: this model does not use that point, or the hooks were "
            "removed within the block (reset_hooks)"
        )

    @contextmanager
    def pass_through(self, mask: Tensor | None) -> Generator[None]:
        """One forward pass along the route: what it reads is kept if it comes to its end.

        Args:
            mask: `[batch, position]`, 1 at real tokens; None if it was given none.
        """
        self._clear()
        self._failed = True
        try:
            yield
        except BaseException:
            self._clear()
            raise
        self._failed = False
        self._mask = None if mask is None or bool(mask.all()) else mask
        self.runs += 1

    def _clear(self) -> None:
        for read in self._store.values():
            read.clear()

    def keys(self) -> tuple[str, ...]:
        """The keys under which this session reads."""
        return tuple(self._store)

    def reader(self, runner: RouteRunner, reading: Reading) -> HookFunction:
        """A hook that keeps what passes, at the visits of a reading.

        Args:
            runner: Runs the model.
            reading: What to keep.
        """
        read, visits = self._store[reading.key], frozenset(reading.visits(self.route))

        def keep(tensor: Tensor, hook: HookPoint) -> None:
            if runner.visit in visits and runner.in_its_thread():
                # a copy: a hook after this one may write into the tensor
                read[runner.visit] = tensor.detach().clone() if reading.of is None else reading.of(tensor.detach())

        return keep

    def watch_stream(self, runner: RouteRunner) -> None:
        """Keep the residual stream after each step, if something reads it.

        Args:
            runner: Runs the model.
        """
        for reading in self.hook_set.reads():
            if reading.point == AFTER_STEP:
                read = self._store[reading.key]

                def keep(steps: int, residual: Tensor, read: dict[Any, Tensor] = read) -> None:
                    read[steps] = residual.detach().clone()

                runner.after_step = keep

    def _summary(self) -> Summary:
        shown = self.route._summary()  # pyright: ignore[reportPrivateUsage]
        rows = [
            (key, str(len(read)), " ".join(map(str, next(iter(read.values())).shape)) if read else "not run yet")
            for key, read in self._store.items()
        ]
        facts = [("hook set", str(self.hook_set)), *shown.facts]
        return Summary("Session", facts, ("read", "visits", "shape of the first"), rows, shown.picture)

    def __repr__(self) -> str:
        return f'Session("{self.route}", reads: {", ".join(self._store) or "nothing"})'


class VisitReads(dict[Any, Tensor]):
    """What was read under one key, by visit; `reads["5#2"]` is that of layer 5 for the second time."""

    def __init__(self, key: str, read: Mapping[Any, Tensor], route: Route) -> None:
        super().__init__(read)
        self._key, self._route = key, route

    def __missing__(self, wanted: object) -> Tensor:
        visits = [visit for visit in self if isinstance(visit, Visit)]
        if isinstance(wanted, str) and visits:
            chosen = Visits.read(wanted).of(self._route)
            if len(chosen) == 1 and chosen[0] in self:
                return self[chosen[0]]
        known = ", ".join(f"{v.layer}@{v.step}" if isinstance(v, Visit) else str(v) for v in self)
        raise KeyError(f"{self._key!r} was not read at {wanted!r}: expected one of {known}")


@contextmanager
def attach(model: TransformerBridge, hook_set: Routing, *, kv: KV = "exact") -> Generator[Session]:
    """Run `model` under a hook set or along a route, however it is called within the `with` block.

    `model(tokens)`, `run_with_cache`, `run_with_hooks`, `generate` and `generate_stream` all do, and so does Hugging
    Face's own `generate`. Every TransformerLens hook point fires on every visit of its layer. On leaving, also by an
    exception, the model is exactly as it was.

    Args:
        model: A TransformerBridge; `mechpaint.load` makes one.
        hook_set: What to run and read, such as `Average(4, 13) + Loop(4, 13, times=3) + ReadAttention(layers=[5])`; a
            `Route`; or a text of either, such as `"skip(4, 7) + read_attention()"` or `"0-3 8-17"`. Texts name built-in
            hook sets; give others as objects.
        kv: How a key-value cache is filled while generating. `"exact"`: one slot for every visit of a layer, so that
            generating with the cache is generating without it. `"averaged"`: as in the code of "Transformer Layers as
            Painters" (arXiv 2407.09298), one slot for every averaged group, holding the mean of its members' keys
            (after rotary) and of their values; an approximation, which gives other text.

    Yields:
        The session: `session.route`, and `session[key][visit]` for what was read in the last forward pass.

    Raises:
        CannotReroute: This model's layers cannot be rerouted, or it is attached already.
        RouteError: The hook set leaves no route, or names layers that the model does not have; `kv` is not known. In a
            forward pass: a key-value cache that was filled along another route, or of a kind that cannot be laid out.
        HookSetError: A hook set that cannot be read, a route of another number of layers, a hook name that the model
            does not have, a reading that the route never reaches, or, on leaving, a hook that never fired although the
            model ran.
    """
    runner = RouteRunner(model)
    runner.compare_layers()
    hook_set = as_hook_set(hook_set)
    route = hook_set.route(runner.n_layers)
    slots = layout(kv, route)
    session = Session(hook_set, route)
    editing = Editing(runner, route, hook_set.edits())
    hooks, watched = _in_order(runner, session, editing)
    session.watch_stream(runner)

    def finish(layer_inputs: LayerInputs) -> Tensor:
        runner.check_bounds(route)
        if named:
            named.check()
        runner.check_recomputing()
        editing.check(layer_inputs)
        with session.pass_through(runner.mask):
            return runner.run(route, layer_inputs, slots)

    named = None if route.is_identity else NamedTools(model, route, runner.hook_points)
    with model.hooks(fwd_hooks=hooks), named.watching() if named else nullcontext(), runner.intercept(finish):
        yield session
    never = [w for w in watched if session.runs and not w.fired]
    if never:
        raise HookSetError(
            f"the hook at {never[0].hook.where!r} never fired: on the route {route} nothing passes that hook point"
        )


def _in_order(runner: RouteRunner, session: Session, editing: Editing) -> tuple[list[NamedHook], list[_Watched]]:
    """The hooks to install, part by part as the hook sets were added."""
    _check_keys(session)
    hooks: list[NamedHook] = []
    watched: list[_Watched] = []
    for action in session.hook_set.actions():
        if isinstance(action, Reading):
            hooks += _readers(runner, session, action)
        elif isinstance(action, Edit):
            hooks += editing.hooks(action)
        else:
            own = _Watched(action, runner)
            _check_name(runner, action)
            hooks.append((action.where, own))
            watched.append(own)
    return [*hooks, *editing.last_hooks()], watched


def _check_keys(session: Session) -> None:
    """Refuse two readings that would be filed at one place."""
    taken: dict[tuple[str, Visit], Reading] = {}
    for reading in session.hook_set.reads():
        for visit in reading.visits(session.route) if reading.point != AFTER_STEP else ():
            other = taken.setdefault((reading.key, visit), reading)
            if other.what != reading.what:
                raise HookSetError(
                    f"two things are read as {reading.key!r} at {visit.layer}@{visit.step}, {other.point} and "
                    f"{reading.point}: give one of them another key"
                )


class _Watched:
    """A user's hook that remembers whether it fired, and does nothing in other threads."""

    def __init__(self, hook: Hook, runner: RouteRunner) -> None:
        self.hook = hook
        self.fired = False
        self._runner = runner
        self._by_visit = takes_visit(hook.call)

    def __call__(self, tensor: Tensor, hook: HookPoint) -> Tensor | None:
        if not self._runner.in_its_thread():
            return None
        self.fired = True
        changed = self._call(tensor, hook)
        if changed is None:
            return None
        if not isinstance(changed, Tensor) or _kind(changed) != _kind(tensor):
            got = _kind(changed) if isinstance(changed, Tensor) else short(changed)
            raise HookSetError(
                f"the hook at {hook.name!r} returned {got}: expected None, or a tensor like the one that it got, "
                f"{_kind(tensor)}"
            )
        return changed

    def _call(self, tensor: Tensor, hook: HookPoint) -> object:
        if not self._by_visit:
            return cast(HookFunction, self.hook.call)(tensor, hook)
        if self._runner.visit is None:
            raise HookSetError(f"the hook at {hook.name!r} takes a visit, and that point is not in a layer")
        return cast(VisitHook, self.hook.call)(tensor, hook, self._runner.visit)


def _kind(tensor: Tensor) -> str:
    return f"{list(tensor.shape)} {str(tensor.dtype).removeprefix('torch.')} on {tensor.device}"


def _check_name(runner: RouteRunner, hook: Hook) -> None:
    if isinstance(hook.where, str) and takes_visit(hook.call) and layer_of(hook.where) is None:
        raise HookSetError(f"the hook at {hook.where!r} takes a visit, and that point is not in a layer")
    if callable(hook.where):
        if not any(map(hook.where, runner.model.hook_dict)):
            raise HookSetError("a filter on hook names matches none of the model's hook points")
    elif hook.where not in runner.model.hook_dict:
        raise HookSetError(unknown_name(runner, hook.where))


def _readers(runner: RouteRunner, session: Session, reading: Reading) -> list[NamedHook]:
    if reading.point == AFTER_STEP:
        return []
    keep = session.reader(runner, reading)
    layers = sorted({visit.layer for visit in reading.visits(session.route)})
    if reading.width is not None:
        check_width(runner, reading.point, layers, reading.width)
    names = [f"blocks.{layer}.{reading.point}" for layer in layers]
    for name in names:
        if name not in runner.model.hook_dict:
            raise HookSetError(unknown_name(runner, name))
    return [(name, keep) for name in names]
