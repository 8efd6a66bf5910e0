"""Runs a TransformerBridge along a route.

Hugging Face's own forward is kept: it builds masks, rotary embeddings and positions, and hands every layer arguments
of its own. During a run, *layer proxies* stand in its layer list and only write down what they are handed. The last
proxy then has the embeddings and every layer's arguments, runs the real layers in the order of the route, and returns
the final residual stream, with which Hugging Face goes on to its norm and unembedding. So no model code is copied, and
a layer that moves keeps its own mask and positions.
"""

from __future__ import annotations

import inspect
import threading
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager, suppress
from functools import cached_property
from typing import Any, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn
from transformer_lens.hook_points import HookPoint
from transformer_lens.model_bridge import TransformerBridge

from mechpaint.engine.agreement import agree, check_unchanged, known_to_agree
from mechpaint.engine.by_name import layer_of, refuse_bounds
from mechpaint.engine.compatibility import PositionCheck, check_mask, check_reroutable, layer_list, outputs, silenced
from mechpaint.engine.kv_cache import ExactSlots, Layout, VisitCaches, holds_keys_and_values, laid_out
from mechpaint.engine.layer_inputs import LayerArguments, LayerInputs, Residual, State, Tokens
from mechpaint.engine.layer_proxies import Finish, LayerProxies
from mechpaint.engine.ownership import owned
from mechpaint.engine.unhooked_layers import UnhookedLayers, has_foreign_hooks, unwrapped
from mechpaint.errors import CannotReroute
from mechpaint.routes.edits import Given
from mechpaint.routes.merge import GroupMerge
from mechpaint.routes.route import Route
from mechpaint.routes.stages import EditedRoute
from mechpaint.routes.steps import Step, Visit


class RouteRunner:
    """Runs one bridge's layers in any order; the bridge changes only within `intercept`."""

    def __init__(self, model: TransformerBridge) -> None:
        check_reroutable(model)
        self.model = model
        self.layers: list[nn.Module] = list(model.blocks)
        self.visit: Visit | None = None
        """The visit that is running, for hooks that want to know."""
        self._thread = threading.get_ident()
        self._parent, self._name = layer_list(model)
        self._real_list()
        self._outputs = outputs(model, self.layers[0])
        self._check_positions = PositionCheck(model)
        self._bare = UnhookedLayers(model)
        self.harmless: set[int] = set()
        self.after_step: Callable[[int, Residual], None] = lambda steps, residual: None
        """Told the residual stream after so many steps of a route; does nothing unless it is set."""
        self.tails: dict[tuple[int, str], tuple[int, ...] | None] = {}
        """For edits: the shape of what passes a hook point beyond batch and position, by layer and point."""
        self.mask: Tensor | None = None
        """The mask `[batch, position]` of the forward pass that runs, if it was given one."""
        check_unchanged(self, self._bare)

    @property
    def n_layers(self) -> int:
        """The model's number of layers."""
        return len(self.layers)

    @contextmanager
    def intercept(self, finish: Finish) -> Generator[None]:
        """Within this context every forward pass of the model ends with `finish` in place of its layers."""
        with owned(self.model.original_model):
            yield from self._intercepted(finish)

    def _intercepted(self, finish: Finish) -> Generator[None]:
        real = self._real_list()
        whole = self.model.original_model
        proxies = LayerProxies(self.layers, finish, self._outputs, type(whole).__name__)
        proxies.training = real.training
        hooks = [
            whole.register_forward_pre_hook(self._check_positions, with_kwargs=True),
            whole.register_forward_pre_hook(check_mask, with_kwargs=True),
            whole.register_forward_pre_hook(self._note_mask, with_kwargs=True),
            whole.register_forward_pre_hook(proxies.begin),
            whole.register_forward_hook(proxies.end),
        ]
        self._parent.register_module(self._name, proxies)
        try:
            yield
        finally:
            self._parent.register_module(self._name, real)
            real.training = proxies.training
            for hook in hooks:
                hook.remove()
            self.visit = None

    def _note_mask(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        mask = kwargs.get("attention_mask")
        self.mask = mask if isinstance(mask, Tensor) and mask.ndim == 2 else None

    def given(self, route: Route, layer_inputs: LayerInputs) -> Given:
        """What the forward pass that runs is given."""
        cache = layer_inputs.layers[0].cache
        first = 0 if cache is None else int(cache.get_seq_length())
        return self.given_rows(route, layer_inputs.embeddings.shape[:2], self.mask, first)

    def given_rows(self, route: Route, shape: Sequence[int], mask: Tensor | None, first: int = 0) -> Given:
        """What a forward pass over rows of this shape, `[batch, position]`, is given."""
        rows, positions = shape
        padding = None if mask is None or bool(mask.all()) else mask
        return Given(route, rows, positions, first, padding, self.tails)

    @contextmanager
    def run_along(self, route: Route, layout: Layout | None = None) -> Generator[None]:
        """Within this context every forward pass of the model runs along a route."""

        def finish(layer_inputs: LayerInputs) -> Residual:
            self.check_bounds(route)
            return self.run(route, layer_inputs, layout)

        with self.intercept(finish):
            yield

    def _real_list(self) -> nn.Module:
        """The model's own list of layers, unless layer proxies are in its place."""
        layers = self._parent.get_submodule(self._name)
        if not isinstance(layers, LayerProxies) and [*layers.children()] != self.layers:
            name = type(self.model.original_model).__name__
            raise CannotReroute(
                f"the list of layers of this {name} was changed after it was loaded: load it again, "
                "mechpaint.load(module) of a module that is not wrapped"
            )
        if isinstance(layers, LayerProxies):
            raise CannotReroute(
                "this model is attached already: leave that `with` block first (its thread has to), or add the hook "
                "sets: attach(model, a + b)"
            )
        return layers

    def run(self, route: Route, layer_inputs: LayerInputs, layout: Layout | None = None) -> Residual:
        """The final residual stream of a route."""
        if isinstance(route, EditedRoute):
            raise CannotReroute(
                f"what runs one route at a time (generating, training) does not change activations along it: {route!r}"
            )
        layout = layout or ExactSlots(route)
        cache = layer_inputs.layers[0].cache
        tokens = layer_inputs.embeddings.shape[1]
        caches = layout.caches(laid_out(cache, layout), tokens) if cache is not None else None
        layers = self._layers_for(layer_inputs)
        residual = layer_inputs.embeddings
        self.after_step(0, residual)
        for i, step in enumerate(route.steps):
            residual = self._step(i, step, residual, layer_inputs, caches, layers)
            self.after_step(i + 1, residual)
        return residual

    def in_its_thread(self) -> bool:
        """Tell whether this is the thread that made the runner."""
        return threading.get_ident() == self._thread

    def check_recomputing(self) -> None:
        """Refuse activation checkpointing with hooks: what it runs again after the block runs without them."""
        if not torch.is_grad_enabled():
            return
        if _is_checkpointed() or (self._checkpoints_layers() and self.has_user_hooks()):
            raise CannotReroute(
                "activation checkpointing runs layers again while gradients are computed, perhaps after this `with` "
                "block, without its route and hooks: call model.original_model.gradient_checkpointing_disable()"
            )

    def _checkpoints_layers(self) -> bool:
        """Tell whether Hugging Face's layers will run again for their gradients: they do in training only."""
        whole = self.model.original_model
        return whole.training and any(getattr(part, "gradient_checkpointing", False) for part in whole.modules())

    def check_bounds(self, route: Route | None) -> None:
        """Refuse `stop_at_layer` and `start_at_layer`, which TransformerLens notes in its layers, on other routes."""
        bounds = ("_stop_at_layer_idx", "_start_at_layer_idx")
        bounded = any(getattr(layer, name, None) is not None for layer in self.layers for name in bounds)
        if bounded and not (route and route.is_identity):
            refuse_bounds()

    def _layers_for(self, layer_inputs: LayerInputs) -> Sequence[nn.Module]:
        """The bridge's layers; in a step of generating, and if nobody listens, the bare ones, which are faster."""
        cache = layer_inputs.layers[0].cache
        if cache is None or layer_inputs.embeddings.shape[1] > 1 or not holds_keys_and_values(cache):
            return self.layers
        if layer_inputs.layers[0].kwargs.get("output_attentions"):  # which bridges leave empty, and bare layers do not
            return self.layers
        bare = self._bare.unhooked_or_none()
        return bare if bare and known_to_agree(self.model, self._bare.identity) else self.layers

    @cached_property
    def hook_points(self) -> list[list[HookPoint]]:
        """The hook points of each layer."""
        points: list[dict[int, HookPoint]] = [{} for _ in self.layers]
        for name, point in self.model.hook_dict.items():
            layer = layer_of(name)
            if layer is not None:
                points[layer][id(point)] = point
        return [[*own.values()] for own in points]

    def compare_layers(self) -> None:
        """Find out, once a model, whether generating can use layers without hook points; not while it is attached."""
        if not known_to_agree(self.model, self._bare.identity):
            with torch.no_grad():
                self.fastest()

    @property
    def identity(self) -> int:
        """A number that is another once parts of the layers are changed."""
        return self._bare.identity

    def has_user_hooks(self) -> bool:
        """Look for hooks in the layers that are not TransformerLens's own."""
        return self._bare.has_user_hooks()

    def fastest(self) -> Sequence[nn.Module]:
        """The layers without hook points if running them can make no difference to anyone; else the bridge's."""
        bare = self._bare.unhooked_or_none()
        return bare if bare and agree(self, bare, self._bare.identity) else self.layers

    def _step(
        self,
        i: int,
        step: Step,
        residual: Residual,
        layer_inputs: LayerInputs,
        caches: VisitCaches | None,
        layers: Sequence[nn.Module],
    ) -> Residual:
        merger = GroupMerge(step, residual)
        for layer in step.layers:
            self.visit = Visit(i, layer)
            arguments = layer_inputs.layers[layer].with_cache(caches(self.visit) if caches else None)
            merger.add(self.call(layer, residual, arguments, layers[layer]))
        self.visit = None
        return merger.merged()

    def call(
        self, layer: int, residual: Residual, arguments: LayerArguments, block: nn.Module | None = None
    ) -> Residual:
        """One layer's output, its residual connection included; of `block`, if it stands for that layer."""
        block = block or self.layers[layer]
        hooked = any(point.fwd_hooks for point in self.hook_points[layer])
        if hooked:
            residual = residual.clone()  # a hook may write into it, and others read it too
        before = None if hooked or layer in self.harmless else arguments.state(residual)
        output: Any = block(residual, *arguments.args, **arguments.kwargs)
        if before is not None:
            self._check_unwritten(layer, before, arguments.state(residual))
        return cast(Tensor, output[0] if isinstance(output, tuple | list) else output)

    def _check_unwritten(self, layer: int, before: State, after: State) -> None:
        """Refuse a layer that writes into what it is handed. Seen the first time that each runs."""
        written = [name for name, state in after.items() if state != before[name]]
        if written:
            raise CannotReroute(
                f"layer {layer} of {type(self.model.original_model).__name__} writes into what it is handed "
                f"({written[0]}), so what others are handed depends on the order that layers run in"
            )
        self.harmless.add(layer)

    def record(self, tokens: Tokens, attention_mask: Tokens | None = None, **inputs: Any) -> LayerInputs:
        """Record what a forward pass hands its layers, to be kept by none of them; no layer runs, nor does the tail."""
        recordings: list[LayerInputs] = []

        def stop(layer_inputs: LayerInputs) -> Tensor:
            self.check_bounds(None)
            recordings.append(layer_inputs)
            raise _Recorded

        with self.intercept(stop), suppress(_Recorded):
            self.model(tokens, attention_mask=attention_mask, return_type=None, **inputs)
        _, *names = inspect.signature(unwrapped(self.layers[0]).forward).parameters
        return recordings[0].keeping_nothing(names)

    @property
    def tail_is_hooked(self) -> bool:
        """Tell whether there are hooks after the layers, which may expect whole rows: the model's own, or a user's."""
        mapping = self.model.adapter.component_mapping or {}
        parts = [getattr(self.model, name, None) for name in mapping if name not in ("blocks", "embed", "pos_embed")]
        return any(has_foreign_hooks(part) for part in parts if isinstance(part, nn.Module))

    @cached_property
    def by_position(self) -> bool:
        """True if the model's tail treats every position by itself, as an unembedding does.

        A head that classifies whole sequences does not. Seen on two positions, with all hooks silenced, if the
        model has no unembedding (which for a large vocabulary would take as long as many layers).
        """
        if "unembed" in (self.model.adapter.component_mapping or {}):
            return True
        weight = next(self.model.parameters())
        rows = torch.zeros((2, self.model.cfg.d_model), dtype=weight.dtype, device=weight.device)
        with silenced(self.model), torch.no_grad():
            return self._tail(rows[None]).shape[:-1].numel() == len(rows)

    def tail(self, rows: Float[Tensor, "row d_model"]) -> Float[Tensor, "row vocab"]:
        """The logits that the model's own final norm and unembedding make of residual streams, position by position."""
        logits = self._tail(rows[:, None])
        if logits.shape[:-1].numel() != len(rows):
            raise CannotReroute(
                f"{type(self.model.original_model).__name__} does not turn residual streams into logits position "
                f"by position: {len(rows)} positions gave logits of shape {tuple(logits.shape)}"
            )
        return logits.reshape(len(rows), -1)

    def _tail(self, residual: Residual) -> Tensor:
        tokens = torch.zeros(residual.shape[:2], dtype=torch.long, device=residual.device)
        return self.output(residual, tokens)

    def output(
        self, residual: Residual, tokens: Tokens, attention_mask: Tokens | None = None, **inputs: Any
    ) -> Float[Tensor, "batch *rest"]:
        """The output of the model's own tail for whole residual streams, such as a classification head's logits."""
        with self.intercept(lambda layer_inputs: residual):
            return self.model(tokens, attention_mask=attention_mask, **inputs)


def _is_checkpointed() -> bool:
    """Tell whether torch.utils.checkpoint will run what runs now again; torch has no public way to ask."""
    autograd: Any = getattr(torch, "_C")._autograd  # noqa: B009
    top = autograd._top_saved_tensors_default_hooks(True)
    return top is not None and "checkpoint" in str(getattr(top[0], "__qualname__", ""))


class _Recorded(Exception):
    """Ends a forward pass whose recording is complete."""
