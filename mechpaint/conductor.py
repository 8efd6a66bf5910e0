"""Runs a TransformerBridge along a route. The only file that knows Hugging Face and TransformerLens internals.

Hugging Face's own forward is kept: it builds masks, rotary embeddings and positions, and hands every layer arguments
of its own. For the time of a run its layer list is replaced by *stand-ins* that only write down what they are handed.
The last stand-in then has the embeddings and every layer's arguments, runs the real layers in the order of the route,
and returns the final residual stream, with which Hugging Face goes on to its norm and unembedding. So no model code
is copied, and a layer that moves keeps its own mask and positions.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, TypeAlias, cast

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from transformer_lens.model_bridge import TransformerBridge
from transformers import Cache

from mechpaint.bare import BareLayers
from mechpaint.errors import InputError
from mechpaint.kvcache import ExactSlots, Layout, VisitCaches, laid_out
from mechpaint.merge import Merger
from mechpaint.positions import PositionCheck
from mechpaint.route import Route, Step, Visit

Residual: TypeAlias = Float[Tensor, "batch position d_model"]
Tokens: TypeAlias = Int[Tensor, "batch position"]


class CannotReroute(InputError):
    """The model's layers cannot be run in another order: what was given and why not."""


@dataclass(frozen=True, slots=True)
class LayerArguments:
    """What Hugging Face hands one layer besides the residual stream."""

    args: tuple[Any, ...]
    kwargs: dict[str, Any]

    def with_cache(self, cache: object | None) -> LayerArguments:
        """The same arguments with any key-value cache among them replaced."""

        def swap(value: object) -> object:
            return cache if isinstance(value, Cache) else value

        return LayerArguments(tuple(map(swap, self.args)), {k: swap(v) for k, v in self.kwargs.items()})

    @property
    def cache(self) -> Cache | None:
        """The key-value cache among the arguments, if there is one."""
        return next((v for v in (*self.args, *self.kwargs.values()) if isinstance(v, Cache)), None)

    def named(self) -> dict[str, Any]:
        """Every argument by its name, or if it has none by its place."""
        return {**{f"argument {i}": value for i, value in enumerate(self.args, start=1)}, **self.kwargs}

    def state(self, residual: Tensor) -> dict[str, list[tuple[int, int]]]:
        """What all of this holds now; it is another after something was written into it."""
        everything = {"residual stream": residual, **self.named()}
        return {name: [(id(leaf), _version(leaf)) for leaf in _leaves(value)] for name, value in everything.items()}


def _leaves(value: object) -> Iterator[object]:
    if isinstance(value, Mapping):
        value = list(cast(Mapping[object, object], value).values())
    if isinstance(value, list | tuple):
        for part in cast(Sequence[object], value):
            yield from _leaves(part)
    else:
        yield value


def _version(value: object) -> int:
    """How often a tensor was written into; torch does not count that in inference mode."""
    return value._version if isinstance(value, Tensor) and not value.is_inference() else 0


@dataclass(slots=True)
class Recording:
    """What one forward pass hands its layers: enough to run any route from the embeddings."""

    embeddings: Residual
    layers: list[LayerArguments] = field(default_factory=list[LayerArguments])

    def without_cache(self) -> Recording:
        """The same, for runs that must not touch the key-value cache."""
        return Recording(self.embeddings, [layer.with_cache(None) for layer in self.layers])


Finish: TypeAlias = Callable[[Recording], Tensor]
"""What the last stand-in does: from a recording to the residual stream that the model's tail gets."""


class Conductor:
    """Runs one bridge's layers in any order.

    Args:
        model: The bridge. It is left untouched but for the time of `conducting`.

    Raises:
        CannotReroute: The model is no TransformerBridge, has no single stack of layers, or passes state from layer
            to layer besides the residual stream.
    """

    def __init__(self, model: TransformerBridge) -> None:
        _check_reroutable(model)
        self.model = model
        self.layers: list[nn.Module] = list(model.blocks)
        self.visit: Visit | None = None
        """The visit that is running, for hooks that want to know."""
        self._parent, self._name = _layer_list(model)
        self._real_list()
        self._outputs = _outputs(model, self.layers[0])
        self._check_positions = PositionCheck(model)
        self._bare = BareLayers(model)

    @property
    def n_layers(self) -> int:
        """How many layers the model has."""
        return len(self.layers)

    @contextmanager
    def conducting(self, finish: Finish) -> Generator[None]:
        """Within this context every forward pass of the model ends with `finish` in place of its layers.

        Raises:
            CannotReroute: The model is being conducted already.
        """
        real = self._real_list()
        whole = self.model.original_model
        stand_ins = _StandIns(self.layers, finish, self._outputs, type(whole).__name__)
        hooks = [
            whole.register_forward_pre_hook(self._check_positions, with_kwargs=True),
            whole.register_forward_pre_hook(stand_ins.begin),
            whole.register_forward_hook(stand_ins.end),
        ]
        self._parent.register_module(self._name, stand_ins)
        try:
            yield
        finally:
            self._parent.register_module(self._name, real)
            for hook in hooks:
                hook.remove()
            self.visit = None

    def _real_list(self) -> nn.Module:
        """The model's own list of layers, unless stand-ins are in its place."""
        found = self._parent.get_submodule(self._name)
        if isinstance(found, _StandIns):
            raise CannotReroute(
                "this model is attached already: leave that `with` block first, or add the hook sets: "
                "attach(model, a + b)"
            )
        return found

    def run(self, route: Route, recording: Recording, layout: Layout | None = None) -> Residual:
        """The final residual stream of a route.

        Args:
            route: What runs.
            recording: What the layers are handed.
            layout: How a key-value cache in the recording is filled; by default with one slot for every visit.
        """
        layout = layout or ExactSlots(route)
        cache = recording.layers[0].cache
        tokens = recording.embeddings.shape[1]
        caches = layout.caches(laid_out(cache, layout), tokens) if cache is not None else None
        generates = cache is not None and tokens == 1 and not recording.layers[0].kwargs.get("output_attentions")
        layers = (self._bare.unheard() if generates else None) or self.layers
        residual = recording.embeddings
        for i, step in enumerate(route.steps):
            residual = self._step(i, step, residual, recording, caches, layers)
        return residual

    def _step(
        self,
        i: int,
        step: Step,
        residual: Residual,
        recording: Recording,
        caches: VisitCaches | None,
        layers: Sequence[nn.Module],
    ) -> Residual:
        merger = Merger(step, residual)
        for layer in step.layers:
            self.visit = Visit(i, layer)
            arguments = recording.layers[layer].with_cache(caches(self.visit) if caches else None)
            merger.add(self.call(layer, residual, arguments, layers[layer]))
        self.visit = None
        return merger.merged()

    def call(
        self, layer: int, residual: Residual, arguments: LayerArguments, block: nn.Module | None = None
    ) -> Residual:
        """One layer's output, its residual connection included; of `block`, if it stands for that layer."""
        real = self.layers[layer]
        block = block or real
        bounds = (getattr(real, name, None) for name in ("_stop_at_layer_idx", "_start_at_layer_idx"))
        if any(bound is not None for bound in bounds):
            raise CannotReroute(
                "stop_at_layer and start_at_layer count the model's own layers and mean nothing on a route: "
                "end the route where you want to stop, or read the residual stream with ReadResidual"
            )
        before = arguments.state(residual)
        output: Any = block(residual, *arguments.args, **arguments.kwargs)
        written = [name for name, state in arguments.state(residual).items() if state != before[name]]
        if written:
            raise CannotReroute(
                f"layer {layer} of {type(self.model.original_model).__name__} writes into what it is handed "
                f"({written[0]}), so what others are handed depends on the order that layers run in"
            )
        return cast(Tensor, output[0] if isinstance(output, tuple | list) else output)

    def record(self, tokens: Tokens, attention_mask: Tokens | None = None, **inputs: Any) -> Recording:
        """What a forward pass on these tokens hands its layers. No layer runs, and no logits are computed."""
        recordings: list[Recording] = []

        def stop(recording: Recording) -> Tensor:
            recordings.append(recording)
            raise _Recorded

        with self.conducting(stop), suppress(_Recorded):
            self.model(tokens, attention_mask=attention_mask, return_type=None, **inputs)
        return recordings[0].without_cache()

    @cached_property
    def by_position(self) -> bool:
        """Whether the model's tail treats every position by itself, as an unembedding does.

        A head that classifies whole sequences does not. Seen on two positions, with everybody's hooks silent, if the
        model has no unembedding (which for a large vocabulary would take as long as many layers).
        """
        if "unembed" in (self.model.adapter.component_mapping or {}):
            return True
        weight = next(self.model.parameters())
        rows = torch.zeros((2, self.model.cfg.d_model), dtype=weight.dtype, device=weight.device)
        with _silenced(self.model), torch.no_grad():
            return self._tail(rows).shape[:-1].numel() == len(rows)

    def tail(self, rows: Float[Tensor, "row d_model"]) -> Float[Tensor, "row vocab"]:
        """The logits that the model's own final norm and unembedding make of residual streams, position by position."""
        logits = self._tail(rows)
        if logits.shape[:-1].numel() != len(rows):
            raise CannotReroute(
                f"{type(self.model.original_model).__name__} does not turn residual streams into logits position "
                f"by position: {len(rows)} positions gave logits of shape {tuple(logits.shape)}"
            )
        return logits.reshape(len(rows), -1)

    def _tail(self, rows: Tensor) -> Tensor:
        token = torch.zeros((1, 1), dtype=torch.long, device=rows.device)
        with self.conducting(lambda recording: rows[None]):
            return self.model(token)

    def output(
        self, residual: Residual, tokens: Tokens, attention_mask: Tokens | None = None, **inputs: Any
    ) -> Float[Tensor, "batch *rest"]:
        """What the model's own tail makes of whole residual streams, such as a classification head's logits."""
        with self.conducting(lambda recording: residual):
            return self.model(tokens, attention_mask=attention_mask, **inputs)


class _Recorded(Exception):
    """Ends a forward pass whose recording is complete."""


class _StandIns(nn.ModuleList):
    """Stands where Hugging Face keeps its layers: owns the real ones, and gives out stand-ins."""

    def __init__(self, layers: list[nn.Module], finish: Finish, outputs: int | None, model: str) -> None:
        super().__init__(layers)
        self.model = model
        self.finish = finish
        self.outputs = outputs
        self.recording: Recording | None = None
        self.handed_on: Tensor | None = None
        self.finished = False
        self.stand_ins = [_StandIn(self, i, layer) for i, layer in enumerate(layers)]

    def __iter__(self) -> Iterator[Any]:
        return iter(self.stand_ins)

    def __getitem__(self, index: Any) -> Any:
        return cast(Any, self.stand_ins[index])

    def begin(self, *_: object) -> None:
        """A forward pass of the whole model begins."""
        self.recording, self.handed_on, self.finished = None, None, False

    def end(self, *_: object) -> None:
        """It has ended."""
        if not self.finished:
            raise CannotReroute(
                f"the forward pass of {self.model} does not reach layer {len(self.stand_ins) - 1}, the last that "
                "TransformerLens knows, so that no route can be run there"
            )

    def hand(self, layer: int, residual: Tensor, arguments: LayerArguments) -> Tensor:
        """Write down what a layer is handed; the last one finishes."""
        if self.finished:
            raise CannotReroute(
                f"{self.model} runs its stack of layers several times in a forward pass; routes are of models that run "
                "it once"
            )
        if layer == 0:
            self.recording = Recording(residual)
        elif self.recording is None or residual is not self.handed_on or len(self.recording.layers) != layer:
            raise CannotReroute(
                f"the residual stream of {self.model} changes between layers {layer - 1} and {layer} outside of them, "
                "so they cannot be run in another order"
            )
        for name, value in arguments.named().items():
            if any(leaf is _WITHHELD for leaf in _leaves(value)):
                raise CannotReroute(
                    f"layer {layer} of {self.model} is handed what layer {layer - 1} returns besides the residual "
                    f"stream ({name}), so they cannot be run in another order"
                )
        self.recording.layers.append(arguments)
        self.handed_on = residual
        if layer < len(self.stand_ins) - 1:
            return residual
        self.finished = True
        recording, self.recording, self.handed_on = self.recording, None, None
        return self.finish(recording)


_WITHHELD = object()
"""What stand-ins return besides the residual stream: they do not have what a layer would."""


class _StandIn:
    """Stands for one layer in Hugging Face's loop; whatever else is asked of it, the real layer answers."""

    def __init__(self, owner: _StandIns, layer: int, real: nn.Module) -> None:
        self._owner = owner
        self._layer = layer
        self._real = real

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if "hidden_states" in kwargs:
            args = (kwargs.pop("hidden_states"), *args)
        residual = self._owner.hand(self._layer, args[0], LayerArguments(args[1:], kwargs))
        outputs = self._owner.outputs
        if outputs is None:
            return residual
        # some callers unpack exactly what layers return, and some ask for the attention weights in second place
        return (residual, *[_WITHHELD] * (max(outputs, 1 + bool(kwargs.get("output_attentions"))) - 1))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)


def _check_reroutable(model: object) -> None:
    if not isinstance(model, TransformerBridge):
        raise CannotReroute(
            f"expected a TransformerBridge, got {type(model).__name__}: mechpaint.load(model) makes one"
        )
    name = type(model.original_model).__name__
    config = getattr(model.original_model, "config", None)
    if getattr(config, "is_encoder_decoder", False):
        raise CannotReroute(f"{name} is an encoder-decoder: it has two stacks of layers, and routes need one")
    takes = getattr(model.original_model, "main_input_name", "input_ids")
    if takes != "input_ids":
        raise CannotReroute(f"{name} takes {takes}; routes are run on token ids")
    if "blocks" not in (model.adapter.component_mapping or {}):
        raise CannotReroute(f"{name} has no single stack of layers that TransformerLens knows as `blocks`")
    text = getattr(config, "text_config", None) or config
    for setting, what in _STATE_BETWEEN_LAYERS.items():
        if getattr(text, setting, None):
            raise CannotReroute(f"{name} passes {what} from layer to layer ({setting} in its configuration)")


_STATE_BETWEEN_LAYERS = {
    "num_kv_shared_layers": "keys and values",
    "altup_num_inputs": "several residual streams",
}


def layer_path(model: TransformerBridge) -> str:
    """Where Hugging Face keeps the list of layers which its forward iterates, such as `"model.layers"`."""
    return str((model.adapter.component_mapping or {})["blocks"].name)


def _layer_list(model: TransformerBridge) -> tuple[nn.Module, str]:
    """The module that holds the list of layers, and its name there."""
    *parents, name = layer_path(model).split(".")
    parent = model.original_model.get_submodule(".".join(parents))
    return parent, name


class _Seen(Exception):
    """Ends the probing forward pass."""


def _outputs(model: TransformerBridge, layer: nn.Module) -> int | None:
    """How long a tuple layers return, None for no tuple: seen on one token, with everybody's hooks silent."""
    name = type(model.original_model).__name__
    seen: list[Any] = []

    def look(module: nn.Module, args: Any, output: Any) -> None:
        seen.append(output)
        raise _Seen

    with _silenced(model), torch.no_grad():
        handle = layer.register_forward_hook(look)
        try:
            model(torch.zeros((1, 1), dtype=torch.long, device=model.cfg.device), return_type=None)
        except _Seen:
            pass
        finally:
            handle.remove()
    if not seen:
        raise CannotReroute(f"{name} does not run its layers in a forward pass")
    several = isinstance(seen[0], tuple | list)
    residual: Tensor = seen[0][0] if several else seen[0]
    if residual.ndim != 3:
        raise CannotReroute(
            f"the layers of {name} hand on several residual streams, of shape {tuple(residual.shape)} for one token; "
            "routes need one, of shape [batch, position, d_model]"
        )
    return len(seen[0]) if several else None


@contextmanager
def _silenced(model: TransformerBridge) -> Generator[None]:
    # torch has no public way to switch hooks off for a while
    points = {id(point): vars(point) for point in model.hook_dict.values()}.values()
    hooks = [(point, point["_forward_hooks"]) for point in points]
    for point, _ in hooks:
        point["_forward_hooks"] = OrderedDict[int, Any]()
    try:
        yield
    finally:
        for point, forward in hooks:
            point["_forward_hooks"] = forward
