"""TransformerLens's own tools under `attach`: what goes by a layer's name is right, or refused.

A name such as `blocks.2.hook_out` means a layer; on a route a layer may run several times, elsewhere, in a group or not
at all. So caches are filled where each layer they name runs once, what adds up a cache layer by layer is right where
the layers run one after another in the model's own order (skipped ones contribute nothing), and the rest is refused.
A user's own hooks are told nothing of this: they fire on every visit.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial, wraps
from itertools import pairwise
from typing import Any, NoReturn, cast

import torch
from torch import Tensor
from transformer_lens import ActivationCache
from transformer_lens.hook_points import HookPoint
from transformer_lens.model_bridge import TransformerBridge
from transformers import PreTrainedModel

from mechpaint.errors import CannotReroute, HookSetError
from mechpaint.routes.route import Route

_ENTERING = ("hook_resid_pre", "hook_in")
_LEAVING = ("hook_resid_post", "hook_out")
_ADDED = ("hook_attn_out", "hook_mlp_out")


class NamedTools:
    """Watches over what TransformerLens's own functions hook or cache by name, on one route."""

    def __init__(self, model: TransformerBridge, route: Route, points: Sequence[Sequence[HookPoint]]) -> None:
        self._model = model
        self._route = route
        self._visits = Counter(visit.layer for visit in route.visits())
        self._points = [(layer, point) for layer, own in enumerate(points) for point in own]

    @contextmanager
    def watching(self) -> Generator[None]:
        """Within this context the model's own methods that take names, or give out a cache, know the route."""
        model = cast(Any, self._model)
        replaced = {
            "run_with_cache": self._caching(model.run_with_cache),
            "run_with_hooks": self._naming(model.run_with_hooks),
            "hooks": self._naming(model.hooks),
            "add_hook": self._naming_one(model.add_hook),
        }
        for name, method in replaced.items():
            vars(self._model)[name] = method
        handle = model.original_model.register_forward_pre_hook(self._check_listed, with_kwargs=True)
        try:
            yield
        finally:
            handle.remove()
            for name in replaced:
                vars(self._model).pop(name, None)

    def check(self) -> None:
        """Look at what is hooked as a forward pass begins."""
        hooked = [(*each, *tool) for each in self._points for tool in _tools(each[1])]
        if any(function == "stop_hook" for *_, function in hooked):
            refuse_bounds()
        for layer, point, module, _ in hooked:
            self._check(layer, point, module)

    def _check(self, layer: int, point: HookPoint, module: str) -> None:
        name, visits = str(point.name), self._visits[layer]
        if visits > 1:
            raise CannotReroute(
                f"{name} means one visit, and layer {layer} runs {visits} times on the route {self._route}: "
                f"{_remedy(self._model, self._route)}"
            )
        if not module.startswith(_TOOLS):
            return
        if visits == 0:
            raise CannotReroute(
                f"{module} hooks {name}, and layer {layer} does not run on the route {self._route}: "
                "hook the layers that do with model.run_with_hooks"
            )
        if module.startswith("transformer_lens.tools") and not in_order(self._route):
            _refuse_order(module, self._model, self._route)

    def _check_listed(self, module: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        """Refuse Hugging Face's list of hidden states: on a route its places are not the layers' numbers."""
        if kwargs.get("output_hidden_states", getattr(getattr(module, "config", None), "output_hidden_states", False)):
            raise CannotReroute(
                f"output_hidden_states lists the residual stream by layer, and the route {self._route} is not the "
                f"model's own order: {_remedy(self._model, self._route)}"
            )

    def _naming(self, method: Callable[..., Any]) -> Callable[..., Any]:
        """A method that takes hooks by name, refusing names of layers that do not run."""

        @wraps(method)
        def call(*args: Any, **kwargs: Any) -> Any:
            if not in_order(self._route) and _is_direct_path():
                _refuse_order("patching a direct path", self._model, self._route)
            listed = [*args, *kwargs.values()]
            for hooks in listed:
                for pair in cast(Sequence[Any], hooks) if isinstance(hooks, list | tuple) else ():
                    if isinstance(pair, tuple) and isinstance(pair[0], str):
                        self._check_runs(pair[0])
            return method(*args, **kwargs)

        return call

    def _naming_one(self, method: Callable[..., Any]) -> Callable[..., Any]:
        """A method that takes one name, or a filter on names."""

        @wraps(method)
        def call(name: Any, *args: Any, **kwargs: Any) -> Any:
            if isinstance(name, str):
                self._check_runs(name)
            return method(name, *args, **kwargs)

        return call

    def _check_caller(self, module: Mapping[str, Any]) -> None:
        """Refuse TransformerLens's own tools for caches where they would take layers for the terms of a sum."""
        name = str(module.get("__name__"))
        if name.startswith("transformer_lens.tools") and not in_order(self._route):
            _refuse_order(name, self._model, self._route)

    def _check_runs(self, name: str) -> None:
        layer = layer_of(name)
        if layer is not None and layer < self._route.n_layers and not self._visits[layer]:
            raise HookSetError(
                f"the hook at {name!r} would never fire: layer {layer} does not run on the route {self._route}"
            )

    def _caching(self, method: Callable[..., Any]) -> Callable[..., Any]:
        """`run_with_cache`, whose cache knows the route."""

        @wraps(method)
        def call(*args: Any, **kwargs: Any) -> Any:
            self._check_caller(sys._getframe(1).f_globals)  # pyright: ignore[reportPrivateUsage]
            output, cache = method(*args, **kwargs)
            return output, RoutedCache.of(cache, self._route) if isinstance(cache, ActivationCache) else cache

        return call


def _adding(name: str) -> Callable[..., Any]:
    """A method of caches that takes layers for the terms of one sum: right for layers in order, or refused."""

    def method(cache: RoutedCache, *args: Any, **kwargs: Any) -> Any:
        if not in_order(cache.route):
            _refuse_order(name, cast(TransformerBridge, cache.model), cache.route)
        return getattr(_whole(cache), name)(*args, **kwargs)

    return method


class RoutedCache(ActivationCache):
    """A cache of a run along a route: by name as ever; what adds up layers is right for it, or refused."""

    route: Route

    @classmethod
    def of(cls, cache: ActivationCache, route: Route) -> RoutedCache:
        """The same cache, of a route."""
        cache.__class__ = cls
        routed = cast(RoutedCache, cache)
        routed.route = route
        return routed

    def __getitem__(self, key: Any) -> Tensor:
        try:
            return super().__getitem__(key)
        except KeyError as error:
            layer = layer_of(str(error.args[0]))
            if layer is None or layer in {visit.layer for visit in self.route.visits()}:
                raise
            raise KeyError(f"{error.args[0]}: layer {layer} does not run on the route {self.route}") from None

    def apply_slice_to_batch_dim(self, batch_slice: Any) -> RoutedCache:
        """The same for some of the batch, of the same route."""
        return RoutedCache.of(super().apply_slice_to_batch_dim(batch_slice), self.route)

    accumulated_resid = _adding("accumulated_resid")
    decompose_resid = _adding("decompose_resid")
    get_full_resid_decomposition = _adding("get_full_resid_decomposition")
    stack_head_results = _adding("stack_head_results")
    stack_neuron_results = _adding("stack_neuron_results")
    logit_lens = _adding("logit_lens")


class _WholeCache(RoutedCache):
    """A cache in which layers that do not run hand on the residual stream and add nothing to it."""

    accumulated_resid = ActivationCache.accumulated_resid
    decompose_resid = ActivationCache.decompose_resid
    get_full_resid_decomposition = ActivationCache.get_full_resid_decomposition
    stack_head_results = ActivationCache.stack_head_results
    stack_neuron_results = ActivationCache.stack_neuron_results
    logit_lens = ActivationCache.logit_lens


def _whole(cache: RoutedCache) -> RoutedCache:
    """The cache with entries for layers that do not run, as far as what they hand on was cached."""
    entries, runs = dict(cache.cache_dict), {visit.layer for visit in cache.route.visits()}
    stream = _cached(entries, max(runs), _LEAVING)
    for layer in reversed(range(cache.route.n_layers)):
        if layer in runs:
            stream = _cached(entries, layer, _ENTERING)
        elif stream is not None:
            entries |= {f"blocks.{layer}.{name}": stream for name in (*_ENTERING, "hook_resid_mid", *_LEAVING)}
            entries |= {f"blocks.{layer}.{name}": torch.zeros_like(stream) for name in _ADDED}
    whole = _WholeCache(entries, cache.model, cache.has_batch_dim)
    whole.route = cache.route
    return whole


def _cached(entries: Mapping[str, Tensor], layer: int, names: Sequence[str]) -> Tensor | None:
    return next((entries[full] for name in names if (full := f"blocks.{layer}.{name}") in entries), None)


def _remedy(model: TransformerBridge, route: Route) -> str:
    """The way to what was asked for: a block for every visit, where the route has such a form, or reading by visit."""
    by_visit = "read by visit: mechpaint.attach(model, hook_set + ReadResidual()), then session['residual']"
    single = all(len(step.layers) == 1 for step in route.steps)
    if single and isinstance(model.original_model, PreTrainedModel):
        return f'use mechpaint.unroll(model, "{route}"), which has a block for every visit, or {by_visit}'
    return by_visit


def in_order(route: Route) -> bool:
    """Tell whether layers run one after another, each at most once, in the model's own order."""
    single = all(len(step.layers) == 1 for step in route.steps)
    return single and all(a.layers[0] < b.layers[0] for a, b in pairwise(route.steps))


def refuse_bounds() -> NoReturn:
    """Refuse `stop_at_layer` and `start_at_layer`."""
    raise CannotReroute(
        "stop_at_layer and start_at_layer count the model's own layers and mean nothing on a route: "
        "end the route where you want to stop, or read the residual stream with ReadResidual"
    )


def _refuse_order(what: str, model: TransformerBridge, route: Route) -> NoReturn:
    raise CannotReroute(
        f"{what} takes layers for terms of one sum, in the model's order, and the route {route} runs them otherwise: "
        f"{_remedy(model, route)}"
    )


def layer_of(name: str) -> int | None:
    """The layer that a name is of."""
    first, _, rest = name.partition(".")
    number = rest.partition(".")[0]
    return int(number) if first == "blocks" and number.isdecimal() else None


def _is_direct_path() -> bool:
    """Tell whether TransformerLens's patching of direct paths is at work: it takes later layers to run later."""
    frame = sys._getframe(1)  # pyright: ignore[reportPrivateUsage]
    while frame is not None:
        name = str(frame.f_globals.get("__name__"))
        if name.startswith("transformer_lens.patching") and "direct_path" in frame.f_code.co_name:
            return True
        frame = frame.f_back
    return False


_CACHES = ("transformer_lens.model_bridge.bridge_core", "transformer_lens.hook_points")
_TOOLS = ("transformer_lens.tools", "transformer_lens.patching")


def _tools(point: HookPoint) -> Iterator[tuple[str, str]]:
    """Module and name of each function at a hook point that TransformerLens's tools, not its components, hooked."""
    for handle in cast(list[Any], [*point.fwd_hooks, *point.bwd_hooks]):
        hook: object = handle.user_hook
        while isinstance(hook, partial):
            hook = cast(partial[Any], hook).func
        module = str(getattr(hook, "__module__", ""))
        if module in _CACHES or module.startswith(_TOOLS):
            yield module, str(getattr(hook, "__name__", ""))
