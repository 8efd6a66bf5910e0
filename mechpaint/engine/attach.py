"""`attach`: run a model under a hook set, for as long as a `with` block lasts."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from typing import cast

from torch import Tensor
from transformer_lens.hook_points import HookPoint
from transformer_lens.model_bridge import TransformerBridge

from mechpaint.display.sanitize import short
from mechpaint.display.summary import Summarized, Summary
from mechpaint.engine.arguments import Routing, as_hook_set
from mechpaint.engine.by_name import NamedTools
from mechpaint.engine.kv_cache import KV, layout
from mechpaint.engine.layer_inputs import LayerInputs
from mechpaint.engine.route_runner import RouteRunner
from mechpaint.errors import HookSetError
from mechpaint.routes.hookset import HookSet
from mechpaint.routes.readings import Hook, HookFunction, NamedHook, Reading, Store
from mechpaint.routes.route import Route
from mechpaint.routes.steps import Visit


class Session(Summarized):
    """The route that an attached model runs, and what was read in its last forward pass.

    `session["attention"]` maps each `Visit` to what was read there, on the model's device and without gradient; the
    keys are those of the hook sets that read. Reading a key that nothing reads, or before the model ran, is a KeyError.

    Args:
        hook_set: What the model runs under.
        route: The route that it runs.
        store: What was read, `store[key][visit]`.
    """

    def __init__(self, hook_set: HookSet, route: Route, store: Store) -> None:
        self.hook_set = hook_set
        self.route = route
        self.runs = 0
        """How many forward passes went through all of the route."""
        self._store = store
        self._failed = False

    def __getitem__(self, key: str) -> Mapping[Visit, Tensor]:
        if key not in self._store:
            raise KeyError(f"nothing reads {key!r} in this session; it reads: {', '.join(self._store) or 'nothing'}")
        if not self._store[key]:
            raise KeyError(f"{key!r} is empty: {self._why_empty()}")
        return dict(self._store[key])

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
    def pass_through(self) -> Generator[None]:
        """One forward pass along the route: what it reads is kept if it comes to its end."""
        self._clear()
        self._failed = True
        try:
            yield
        except BaseException:
            self._clear()
            raise
        self._failed = False
        self.runs += 1

    def _clear(self) -> None:
        for read in self._store.values():
            read.clear()

    def keys(self) -> tuple[str, ...]:
        """The keys under which this session reads."""
        return tuple(self._store)

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
    store: Store = {reading.key: {} for reading in hook_set.reads()}
    session = Session(hook_set, route, store)
    hooks, watched = _in_order(model, runner, session, store)

    def finish(layer_inputs: LayerInputs) -> Tensor:
        runner.check_bounds(route)
        if named:
            named.check()
        runner.check_recomputing()
        with session.pass_through():
            return runner.run(route, layer_inputs, slots)

    named = None if route.is_identity else NamedTools(model, route, runner.hook_points)
    with model.hooks(fwd_hooks=hooks), named.watching() if named else nullcontext(), runner.intercept(finish):
        yield session
    never = [w for w in watched if session.runs and not w.fired]
    if never:
        raise HookSetError(
            f"the hook at {never[0].hook.where!r} never fired: on the route {route} nothing passes that hook point"
        )


def _in_order(
    model: TransformerBridge, runner: RouteRunner, session: Session, store: Store
) -> tuple[list[NamedHook], list[_Watched]]:
    """The hooks to install, part by part as the hook sets were added: what a part reads, then what it hooks."""
    hooks: list[NamedHook] = []
    watched: list[_Watched] = []
    for reads, added in session.hook_set.reads_and_hooks():
        own = [_Watched(hook, runner) for hook in added]
        _check_names(model, own)
        hooks += [*_readers(model, runner, session.route, reads, store), *((w.hook.where, w) for w in own)]
        watched += own
    return hooks, watched


class _Watched:
    """A user's hook that remembers whether it fired, and does nothing in other threads."""

    def __init__(self, hook: Hook, runner: RouteRunner) -> None:
        self.hook = hook
        self.fired = False
        self._runner = runner

    def __call__(self, tensor: Tensor, hook: HookPoint) -> Tensor | None:
        if not self._runner.in_its_thread():
            return None
        self.fired = True
        changed = cast(object, self.hook.call(tensor, hook))
        if changed is None:
            return None
        if not isinstance(changed, Tensor) or _kind(changed) != _kind(tensor):
            got = _kind(changed) if isinstance(changed, Tensor) else short(changed)
            raise HookSetError(
                f"the hook at {hook.name!r} returned {got}: expected None, or a tensor like the one that it got, "
                f"{_kind(tensor)}"
            )
        return changed


def _kind(tensor: Tensor) -> str:
    return f"{list(tensor.shape)} {str(tensor.dtype).removeprefix('torch.')} on {tensor.device}"


def _check_names(model: TransformerBridge, watched: list[_Watched]) -> None:
    for where in (w.hook.where for w in watched):
        if callable(where):
            if not any(map(where, model.hook_dict)):
                raise HookSetError("a filter on hook names matches none of the model's hook points")
        elif where not in model.hook_dict:
            raise HookSetError(unknown_name(model, where))


def unknown_name(model: TransformerBridge, name: str) -> str:
    """An error message for a hook name that the model does not have, with the names nearest to it."""
    import difflib

    near = difflib.get_close_matches(name, list(model.hook_dict), n=3, cutoff=0.4)
    return f"this model has no hook point {name!r}; the nearest are {', '.join(near) or 'none'}"


def _readers(
    model: TransformerBridge, runner: RouteRunner, route: Route, reads: Sequence[Reading], store: Store
) -> list[NamedHook]:
    hooks: list[NamedHook] = []
    for reading in reads:
        for layer in sorted({visit.layer for visit in reading.visits(route)}):
            name = f"blocks.{layer}.{reading.point}"
            if name not in model.hook_dict:
                raise HookSetError(unknown_name(model, name))
            hooks.append((name, _reader(runner, store[reading.key])))
    return hooks


def _reader(runner: RouteRunner, read: dict[Visit, Tensor]) -> HookFunction:
    def keep(tensor: Tensor, hook: HookPoint) -> None:
        if runner.visit is not None and runner.in_its_thread():
            read[runner.visit] = tensor.detach().clone()  # a hook after this one may write into the tensor

    return keep
